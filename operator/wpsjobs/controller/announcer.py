"""Kubernetes Events: the milestones of a WpsJob, for people."""

from __future__ import annotations

import asyncio

import structlog

from wpsjobs.api.resources import WpsJob
from wpsjobs.controller.actions import Milestone
from wpsjobs.controller.cluster import Cluster, ClusterError

logger = structlog.get_logger(__name__)

MOST_WAITING = 5000
"""Events that wait to be posted; more are dropped."""


class Announcer:
    """Posts Events behind everything else; none is tried twice."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._events: asyncio.Queue[tuple[WpsJob, Milestone]] = asyncio.Queue(MOST_WAITING)

    def tell(self, job: WpsJob, milestone: Milestone) -> None:
        """Have *milestone* logged now, and posted when there is time."""
        logger.info(
            milestone.reason.lower(),
            job=job.metadata.key,
            process=job.spec.process,
            attempt=job.status.attempt,
            message=milestone.message,
        )
        try:
            self._events.put_nowait((job, milestone))
        except asyncio.QueueFull:
            logger.warning("Event dropped, too many at once", job=job.metadata.key)

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            job, milestone = await self._events.get()
            try:
                await self._cluster.post_event(job, milestone)
            except ClusterError as error:
                logger.warning("Event not posted", job=job.metadata.key, error=str(error))
