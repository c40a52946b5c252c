"""Where waiting jobs stand in their queue, for clients that poll: asked for, never written."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from wpsjobs.api.names import GROUP, VERSION, WPSQUEUE_PLURAL
from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.api.queueing import Place, place
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.eoxserver.client import Cluster, ClusterError

logger = logging.getLogger(__name__)

FRESH_SECONDS = 2.0
"""How long what was read is told again, to however many clients."""
SAMPLE_SECONDS = 60.0
"""How long the usual length of jobs is taken from the same finished ones."""
SAMPLE_JOBS = 100
READ_SECONDS = 1.0
"""For a request to the API server: a client that polls is not to wait for more than its file."""

_UNFINISHED = ",".join(f"status.phase!={phase}" for phase in sorted(FINISHED))


@dataclass(frozen=True)
class Snapshot:
    """The queue at one moment."""

    at: float
    """Of the monotonic clock."""
    jobs: tuple[WpsJob, ...]
    queue: WpsQueue | None

    def place(self, job_id: str, now: datetime) -> Place | None:
        """The place of that job; None where it does not wait in this queue."""
        for job in self.jobs:
            if job.id == job_id:
                return place(job, self.jobs, self.queue, now)
        return None


class Places:
    """The queue of this instance, read at most every ``FRESH_SECONDS``. Safe for threads."""

    def __init__(
        self, cluster: Cluster, queue: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster, self._queue, self._clock = cluster, queue, clock
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._sample: tuple[float, tuple[WpsJob, ...]] | None = None

    def close(self) -> None:
        """Close the connections to the API server."""
        self._cluster.close()

    def of(self, job_id: str) -> Place | None:
        """Where the job stands; None where it does not wait, or nobody knows."""
        snapshot = self._snapshot
        is_old = snapshot is None or self._clock() - snapshot.at >= FRESH_SECONDS
        # One thread reads, the others tell what was known: it is seconds old.
        if is_old and self._lock.acquire(blocking=snapshot is None):
            try:
                snapshot = self._refreshed()
            finally:
                self._lock.release()
        return snapshot.place(job_id, datetime.now(UTC)) if snapshot is not None else None

    def _refreshed(self) -> Snapshot:
        now = self._clock()
        if self._snapshot is not None and now - self._snapshot.at < FRESH_SECONDS:
            return self._snapshot
        try:
            jobs = (*self._read(_UNFINISHED), *self._finished(now))
            path = f"/apis/{GROUP}/{VERSION}/namespaces/{self._cluster.namespace}"
            raw = self._cluster.raw_get(
                f"{path}/{WPSQUEUE_PLURAL}/{self._queue}", timeout=READ_SECONDS
            )
            self._snapshot = Snapshot(now, jobs, WpsQueue.from_raw(raw))
        except ClusterError as error:
            logger.info("places in the queue are not known: %s", error)
            self._snapshot = Snapshot(now, (), None)
        return self._snapshot

    def _finished(self, now: float) -> tuple[WpsJob, ...]:
        if self._sample is None or now - self._sample[0] >= SAMPLE_SECONDS:
            self._sample = (now, self._read(f"status.phase={Phase.SUCCEEDED}", SAMPLE_JOBS))
        return self._sample[1]

    def _read(self, selector: str, most: int | None = None) -> tuple[WpsJob, ...]:
        listed = self._cluster.list_jobs(selector, most=most, timeout=READ_SECONDS)
        jobs = (WpsJob.from_raw(raw) for raw in listed.items)
        return tuple(job for job in jobs if job.spec.queue == self._queue)


def in_words(found: Place) -> str:
    """For a client."""
    words = f"Position in the queue: {found.position}."
    if found.expected_start is not None:
        start = found.expected_start.astimezone(UTC).replace(microsecond=0)
        words += f" Expected start: {start.isoformat().replace('+00:00', 'Z')}."
    return words
