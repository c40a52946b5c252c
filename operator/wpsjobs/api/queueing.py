"""The order of a queue as the operator admits it, and what it tells those who wait.

Positions are computed where somebody asks; written to the WpsJobs, each admission would be a patch
of all that wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from wpsjobs.api.phases import LAUNCHED, Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import Executor, WpsQueue

HEARTBEAT_SECONDS = 5.0
"""A consumer that says that it is at work says so as often."""
SILENCE_SECONDS = 60.0
"""One that has said so, and has not for as long, is taken for dead."""
SAMPLE = 50
"""Of as many finished WpsJobs, the newest, the usual length is taken."""


@dataclass(frozen=True)
class Place:
    """Where a WpsJob stands in its queue."""

    position: int
    """From 1, the next to start; paused ones are not counted."""
    expected_start: datetime | None
    """At the usual length of WpsJobs of late; None where none has ended, or the queue is held."""


def order(job: WpsJob) -> tuple[int, int, int]:
    """The place of *job* in its queue: by priority, relaunches first, then as created."""
    return (-job.spec.priority, 0 if job.status.attempt else 1, job.sequence)


def is_free(job: WpsJob) -> bool:
    """Whether *job* waits for a consumer to claim it; its queue may be held all the same."""
    claim = job.status.claim
    return (
        job.status.phase is Phase.ACCEPTED
        and not (job.spec.suspend or job.cancelled or job.metadata.deleting)
        and (claim is None or claim.attempt <= job.status.attempt)
    )


def place(
    job: WpsJob, jobs: Iterable[WpsJob], queue: WpsQueue | None, now: datetime
) -> Place | None:
    """The place of *job* among *jobs*, all WpsJobs of its queue; None where it does not wait."""
    if job.status.phase is not Phase.ACCEPTED:
        return None
    jobs = list(jobs)
    waiting = sorted((one for one in jobs if one.status.phase is Phase.ACCEPTED), key=order)
    names = [one.metadata.name for one in waiting]
    if job.metadata.name not in names:
        return None
    position = names.index(job.metadata.name) + 1
    return Place(position, _expected_start(position, jobs, queue, now))


def _expected_start(
    position: int, jobs: Sequence[WpsJob], queue: WpsQueue | None, now: datetime
) -> datetime | None:
    """When *position* slots will have become free, if each WpsJob takes the usual time.

    Nobody knows how many consumers there are.
    """
    if queue is not None and queue.executor is Executor.CONSUMERS:
        return None
    usual = _usual_seconds(jobs)
    if queue is None or queue.suspend or queue.parallelism < 1 or usual is None:
        return None
    running = [one for one in jobs if one.status.phase in LAUNCHED]
    free_at = [now] * max(0, queue.parallelism - len(running))
    for one in running:
        since = one.status.started_at or one.status.scheduled_at or now
        free_at.append(max(now, since + timedelta(seconds=usual)))
    free_at.sort()
    for _ in range(position - 1):
        free_at.append(free_at.pop(0) + timedelta(seconds=usual))
        free_at.sort()
    return free_at[0]


def _usual_seconds(jobs: Iterable[WpsJob]) -> float | None:
    """The median length of the attempts that ended last, from slot to end."""
    ends = sorted(
        (
            (one.status.finished_at, one.status.scheduled_at)
            for one in jobs
            if one.status.phase is Phase.SUCCEEDED
            and one.status.finished_at is not None
            and one.status.scheduled_at is not None
        ),
        reverse=True,
    )[:SAMPLE]
    if not ends:
        return None
    return median((finished - scheduled).total_seconds() for finished, scheduled in ends)
