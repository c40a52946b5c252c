"""Kubernetes Events: the milestones of a WpsJob, for people."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog
from aiolimiter import AsyncLimiter

from wpsjobs.api.metadata import Metadata
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.actions import Milestone
from wpsjobs.controller.cluster import Cluster, ClusterError

logger = structlog.get_logger(__name__)

MOST_WAITING = 1000
"""Events that wait to be posted; of more, the oldest are dropped. Each takes a kilobyte."""
BURST, BURST_SECONDS = 100, 20.0
"""As many are posted in each period while the operator is busy; otherwise all, one after another.

Each costs the API server as much as a step of a WpsJob, and four of them come to a WpsJob. In a
storm they can wait: what an Event tells stands in the WpsJob's history, too.
"""
BUSY_REQUESTS = 2
"""So many requests under way at once mean that there is more to do than Events."""


class Announcer:
    """Posts Events behind everything else, with the times of what they tell; none twice."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        # Not the whole WpsJobs: thousands may wait.
        self._events: asyncio.Queue[tuple[Metadata, Milestone, datetime]] = asyncio.Queue(
            MOST_WAITING
        )
        self._pace = AsyncLimiter(BURST, BURST_SECONDS)

    def tell(self, job: WpsJob, milestone: Milestone) -> None:
        """Have *milestone* logged now, and posted when there is time."""
        logger.info(
            milestone.reason.lower(),
            job=job.metadata.key,
            process=job.spec.process,
            attempt=job.status.attempt,
            message=milestone.message,
        )
        if self._events.full():
            metadata, dropped, _ = self._events.get_nowait()
            logger.warning(
                "Event dropped, too many at once", job=metadata.key, reason=dropped.reason
            )
        self._events.put_nowait((job.metadata, milestone, datetime.now(UTC)))

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            metadata, milestone, at = await self._events.get()
            if self._cluster.under_way >= BUSY_REQUESTS:
                await self._pace.acquire()
            try:
                await self._cluster.post_event(metadata, milestone, at)
            except ClusterError as error:
                logger.warning("Event not posted", job=metadata.key, error=str(error))
