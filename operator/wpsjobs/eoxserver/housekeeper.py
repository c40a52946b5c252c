"""The housekeeper: what only Django can do for jobs whose pods are gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import close_old_connections

from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver import callbacks, processes, sweep
from wpsjobs.eoxserver.client import (
    Cluster,
    ClusterError,
    ConflictError,
    ExpiredError,
    NotFoundError,
)
from wpsjobs.eoxserver.config import Config
from wpsjobs.eoxserver.context import JobContext
from wpsjobs.eoxserver.files import StorageError
from wpsjobs.eoxserver.finisher import Finisher
from wpsjobs.eoxserver.storage import Marker, Storage

logger = logging.getLogger(__name__)

INTERVAL = 30.0
"""Seconds between two full passes; a watch makes the usual case prompt."""
RETRY_SECONDS = 5.0
"""Pause after a pass that failed."""
REJECTED_GRACE = timedelta(seconds=60)
"""After ``acceptBefore``, until which the plugin deletes what was rejected by itself."""


@dataclass(frozen=True)
class _Done:
    """An end that has been dealt with; raised retries or another end are another one."""

    uid: str
    retries: int
    phase: Phase | None


class Housekeeper:
    """One instance of EOxServer's; a second one beside it does no harm."""

    def __init__(
        self,
        config: Config,
        cluster: Cluster,
        *,
        allow_mass: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._storage = Storage(config.path_temp, config.path_perm, config.path_task)
        self._config = config
        self._allow_mass = allow_mass
        self._now = now
        self._namespace_uid = ""
        self._done: set[_Done] = set()
        self._phases: dict[str, Phase | None] = {}
        self._expiries: dict[str, datetime] = {}
        self._absent: frozenset[str] = frozenset()
        self._prompt_removals = 0
        self._refusal: str | None = None

    def run(self) -> None:
        """Work until the process is ended."""
        while True:
            try:
                version = self.full_pass()
                self._follow(version, INTERVAL)
            except ExpiredError:
                continue
            except (ClusterError, StorageError) as error:
                logger.warning("the pass is broken off: %s", error)
                time.sleep(RETRY_SECONDS)

    def full_pass(self) -> str:
        """Look at every job and at every directory; the result is the list's resourceVersion.

        Raises ClusterError and StorageError, with nothing half-done that the next pass minds.
        """
        close_old_connections()
        self._namespace_uid = self._cluster.namespace_uid()
        listed = self._cluster.list_jobs()
        jobs = [WpsJob.from_raw(raw) for raw in listed.items]
        for job in jobs:
            self._look_at(job)
        self._forget_gone({job.metadata.uid for job in jobs})
        self._sweep(jobs)
        self._storage.remove_hidden(sweep.GRACE_SECONDS, self._now().timestamp())
        self._prompt_removals = 0
        return listed.resource_version

    def _follow(self, version: str, seconds: float) -> None:
        """Act on changes as they come, for *seconds*."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for kind, raw in self._cluster.watch_jobs(version, left):
                version = raw["metadata"]["resourceVersion"]
                job = WpsJob.from_raw(raw)
                if kind == "DELETED":
                    self._remove_promptly(job)
                else:
                    self._look_at(job)

    def _look_at(self, job: WpsJob) -> None:
        uid, phase = job.metadata.uid, job.status.phase
        before = self._phases.get(uid)
        self._phases[uid] = phase
        try:
            if phase is Phase.PAUSED and before not in {None, Phase.PAUSED}:
                self._finisher().note_paused(job)
            if phase not in FINISHED:
                return
            self._note_expiry(job)
            done = _Done(uid, job.status.retries_seen, phase)
            if done in self._done:
                return
            if phase is Phase.REJECTED:
                self._delete_rejected(job)
                return
            self._finisher().finish(job)
            self._done.add(done)
        except StorageError as error:
            logger.warning("%s: not finished yet: %s", job.id, error)

    def _finisher(self) -> Finisher:
        return Finisher(self._config, self._storage, self._namespace_uid)

    def _note_expiry(self, job: WpsJob) -> None:
        """Keep on the volume when the job will be deleted: it tells expiry from loss later."""
        expires = job.status.expires_at
        if expires is not None and self._expiries.get(job.metadata.uid) != expires:
            if self._storage.marker(job.id) is not None:
                self._storage.write_expiry(job.id, expires)
            self._expiries[job.metadata.uid] = expires

    def _delete_rejected(self, job: WpsJob) -> None:
        """Delete what a web server, gone meanwhile, could not; the sweep does the rest."""
        limit = job.spec.accept_before
        if limit is not None and self._now() >= limit + REJECTED_GRACE:
            self._delete(job, "it was rejected and its client is gone")

    def _delete(self, job: WpsJob, why: str) -> None:
        try:
            self._cluster.delete_job(job.metadata.name, uid=job.metadata.uid)
            logger.info("%s: deleted, for %s", job.id, why)
        except (NotFoundError, ConflictError):
            pass
        except ClusterError as error:
            logger.warning("%s: not deleted, though %s: %s", job.id, why, error)

    def _forget_gone(self, uids: set[str]) -> None:
        self._done = {done for done in self._done if done.uid in uids}
        self._phases = {uid: phase for uid, phase in self._phases.items() if uid in uids}
        self._expiries = {uid: at for uid, at in self._expiries.items() if uid in uids}

    # Removal

    def _sweep(self, jobs: list[WpsJob]) -> None:
        now = self._now()
        found = [
            sweep.Found(
                marker,
                now.timestamp() - written,
                sweep.is_expired(self._storage.expiry(marker.id), now),
            )
            for marker, written in self._storage.markers()
        ]
        present = {job.metadata.name: job.spec.submission for job in jobs}
        refused = {item.marker.submission for item in found if item.marker.refused} - {None}
        for job in jobs:
            if job.spec.submission in refused:
                self._delete(job, "its client was told that the server is busy")
        decision = sweep.decide(
            found, present, self._absent, self._namespace_uid, allow_mass=self._allow_mass
        )
        self._absent = decision.absent
        if decision.refusal != self._refusal:
            self._refusal = decision.refusal
            if decision.refusal:
                logger.error("%s", decision.refusal)
        for marker in decision.remove:
            self._remove(marker)

    def _remove_promptly(self, job: WpsJob) -> None:
        """Remove what belonged to a WpsJob that was just deleted, unless too many are at once."""
        marker = self._storage.marker(job.id)
        if marker is None or marker.namespace_uid != self._namespace_uid:
            return
        if marker.name != job.metadata.name or marker.submission != job.spec.submission:
            return
        if not sweep.is_expired(job.status.expires_at, self._now() + timedelta(seconds=5)):
            # The full pass decides on them, with a view of the whole.
            if sweep.is_mass(self._prompt_removals + 1, len(self._phases)):
                return
            self._prompt_removals += 1
        self._remove(marker)

    def _remove(self, marker: Marker) -> None:
        """Remove the directories of a job, once the API server has said that it is gone."""
        try:
            self._cluster.get_job(marker.name)
        except NotFoundError:
            pass
        except ClusterError as error:
            logger.warning("%s: not removed: %s", marker.id, error)
            return
        else:
            return
        try:
            if not self._storage.claim_discard(marker.id):
                return  # a web server purges it, or takes back what was refused
            logger.info("%s: the job is gone, removing its directories", marker.id)
            process = processes.find(marker.process)
            if process is not None:
                callbacks.notify(process, "discard", JobContext(marker.id))
            self._storage.remove(marker.id)
        except StorageError as error:
            logger.warning("%s: not all is removed yet: %s", marker.id, error)


def make(config: Config, **options: Any) -> Housekeeper:
    """A housekeeper for this instance."""
    return Housekeeper(config, Cluster(config.namespace, config.context), **options)
