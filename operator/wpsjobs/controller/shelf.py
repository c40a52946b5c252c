"""Finished WpsJobs: kept lean, and out of the decisions until there is something to decide."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime

from wpsjobs.api.fields import Raw
from wpsjobs.api.phases import Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.controller.lifecycle import expiry
from wpsjobs.controller.view import View


def lean(raw: Raw) -> WpsJob:
    """The WpsJob in *raw*, without what nobody asks of a finished one that is not to be retried.

    Raises KeyError or ValueError where *raw* is no object of an API server.
    """
    job = WpsJob.from_raw(raw)
    if not job.finished or _to_retry(job):
        return job
    spec = replace(job.spec, execute=None, parts=(), response_url=None, submission=None)
    status = replace(
        job.status, message=None, progress=None, attempts=(), history=(), conditions=()
    )
    return replace(job, spec=spec, status=status)


class Shelf:
    """Which WpsJobs the next decision has to look at.

    All unfinished ones; and finished ones once after each change of theirs or of the lifetimes
    that queues and processes set, and when they expire. So a decision costs the same however many
    finished ones are kept.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """WpsJobs of each process, by identifier."""
        self._out: dict[str, WpsJob] = {}
        """By name."""
        self._expiries: list[tuple[datetime, str]] = []
        """A heap of the names of those on the shelf; some may have changed or gone since."""
        self._lifetimes: dict[tuple[type, str], object] = {}

    def changed(self, old: WpsJob | None, new: WpsJob | None) -> None:
        """Take note of a change of a WpsJob."""
        if old is not None:
            self.counts[old.spec.process] -= 1
            self._out.pop(old.metadata.name, None)
        if new is not None:
            self.counts[new.spec.process] += 1
            self._out[new.metadata.name] = new

    def out(self) -> Collection[WpsJob]:
        """Those to look at."""
        return self._out.values()

    def take_out(
        self,
        now: datetime,
        known: Iterable[WpsJob],
        queues: Iterable[WpsQueue],
        processes: Iterable[WpsProcess],
    ) -> None:
        """Add those that expire by *now*; and all that are *known* where lifetimes have changed."""
        lifetimes: dict[tuple[type, str], object] = {
            (WpsQueue, queue.metadata.name): queue.defaults for queue in queues
        }
        lifetimes |= {(WpsProcess, one.identifier): one.lifetimes for one in processes}
        every = {job.metadata.name: job for job in known} if lifetimes != self._lifetimes else None
        if every is not None:
            self._lifetimes, self._out, self._expiries = lifetimes, every, []
            return
        due = set()
        while self._expiries and self._expiries[0][0] <= now:
            due.add(heapq.heappop(self._expiries)[1])
        if due:
            self._out |= {job.metadata.name: job for job in known if job.metadata.name in due}

    def put_back(self, view: View, now: datetime) -> datetime | None:
        """Shelve what needs no second look; when the next one on the shelf expires."""
        for job in list(self._out.values()):
            if not job.finished or _to_retry(job):
                continue
            end = expiry(job, view.policy(job))
            if end != job.status.expires_at or (end is not None and end <= now):
                continue  # its expiry is to be told, or it is to be deleted
            del self._out[job.metadata.name]
            if end is not None:
                heapq.heappush(self._expiries, (end, job.metadata.name))
        return self._expiries[0][0] if self._expiries else None


def _to_retry(job: WpsJob) -> bool:
    return job.spec.retries > job.status.retries_seen and job.status.phase is not Phase.REJECTED
