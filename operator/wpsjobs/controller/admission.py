"""Which WpsJobs of a queue get a slot, which may wait, and which are refused (invariants 1, 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from wpsjobs.api.phases import Phase
from wpsjobs.api.queueing import order
from wpsjobs.api.resources import Executor, Limits, Policy, WpsJob, WpsProcess, WpsQueue
from wpsjobs.api.times import later, parse_time
from wpsjobs.controller.view import View, is_queued


@dataclass
class Verdicts:
    """The answer to one look at a queue."""

    admitted: list[WpsJob] = field(default_factory=list)
    accepted: list[WpsJob] = field(default_factory=list)
    rejected: list[tuple[WpsJob, str]] = field(default_factory=list)
    """With the reason in words."""
    wake_in: float | None = None
    """Seconds until the pause before a relaunch ends."""


def judge(
    view: View,
    queue: WpsQueue,
    new: Sequence[WpsJob],
    now: datetime,
    *,
    arriving: Sequence[WpsJob] = (),
    settling: bool,
) -> Verdicts:
    """The verdicts on the queued WpsJobs of *queue* and on *new* ones of it.

    Where consumers serve the queue, none is admitted: they take what waits by themselves.

    Everything that is decided here counts at both places, still waiting and already holding a
    slot, for the writes can fail one by one; the next round counts what has become of them. While
    room is being made (*settling* says so, or something leaves the queue now), nobody is refused:
    the verdict is left to the next round. Those *arriving* are on their way into the queue.
    """
    verdicts = Verdicts()
    queued = [job for job in view.of_queue(queue.metadata.name) if is_queued(job)]
    slots = _Slots(view, queue)
    is_ours = queue.executor is Executor.JOBS
    for job in sorted([*queued, *new], key=order) if is_ours else []:
        is_new = job.status.phase is None
        if job.status.phase is Phase.PAUSED or job.cancelled or job.metadata.deleting:
            continue
        if job.spec.process not in view.processes:
            continue  # it was deleted by force meanwhile; decisions says so in the status
        pause = 0.0 if is_new else _pause(job, view.policy(job), now)
        if pause > 0:
            verdicts.wake_in = min(pause, verdicts.wake_in or pause)
        elif (
            not queue.suspend
            and not job.spec.suspend
            and job.metadata.name not in view.able_to_run
            and slots.take(job)
        ):
            verdicts.admitted.append(job)
            settling = settling or not is_new
    _admit_to_queue(verdicts, queue, [*queued, *arriving], new, settling=settling)
    return verdicts


def _admit_to_queue(
    verdicts: Verdicts,
    queue: WpsQueue,
    queued: Sequence[WpsJob],
    new: Sequence[WpsJob],
    *,
    settling: bool,
) -> None:
    waiting = _Waiting(queue, queued)
    admitted = {job.metadata.uid for job in verdicts.admitted}
    for job in sorted(new, key=lambda job: job.sequence):
        if job.metadata.uid in admitted:
            continue
        refusal = waiting.enter(job)
        if refusal is None:
            verdicts.accepted.append(job)
        elif not settling:
            verdicts.rejected.append((job, refusal))


class _Counts:
    """How many WpsJobs there are in all, for each process and for each owner."""

    def __init__(self, jobs: Iterable[WpsJob]) -> None:
        self.total = 0
        self.of_process: Counter[str] = Counter()
        self.of_owner: Counter[str] = Counter()
        for job in jobs:
            self.add(job)

    def add(self, job: WpsJob) -> None:
        self.total += 1
        self.of_process[job.spec.process] += 1
        if job.spec.owner.identity:
            self.of_owner[job.spec.owner.identity] += 1

    def exceeded(
        self, job: WpsJob, limit: Callable[[Limits], int | None], queue: WpsQueue
    ) -> str | None:
        """Which of the queue's limits per process and owner *job* would exceed."""
        most = limit(queue.per_process)
        if most is not None and self.of_process[job.spec.process] >= most:
            return f"{most} for the process {job.spec.process}"
        most, owner = limit(queue.per_owner), job.spec.owner.identity
        if most is not None and owner and self.of_owner[owner] >= most:
            return f"{most} for the owner {owner}"
        return None


class _Slots:
    """The slots of a queue while verdicts are given."""

    def __init__(self, view: View, queue: WpsQueue) -> None:
        held = view.held_slots(queue.metadata.name)
        holders = [job for job in view.of_queue(queue.metadata.name) if job.metadata.name in held]
        self._counts = _Counts(holders)
        # A pod of a WpsJob that is deleted holds a slot, too, though whose it was is forgotten.
        self._counts.total = len(held)
        self._queue = queue
        self._processes = view.processes

    def take(self, job: WpsJob) -> bool:
        """Give *job* a slot if there is one for it; another one does not wait behind it."""
        process: WpsProcess | None = self._processes.get(job.spec.process)
        most = process.parallelism if process else None
        if (
            self._counts.total >= self._queue.parallelism
            or self._counts.exceeded(job, lambda limits: limits.parallelism, self._queue)
            or (most is not None and self._counts.of_process[job.spec.process] >= most)
        ):
            return False
        self._counts.add(job)
        return True


class _Waiting:
    """The places in a queue while verdicts are given."""

    def __init__(self, queue: WpsQueue, queued: Sequence[WpsJob]) -> None:
        self._queue = queue
        self._counts = _Counts(queued)

    def enter(self, job: WpsJob) -> str | None:
        """Give *job* a place; the reason in words where there is none."""
        name, most = self._queue.metadata.name, self._queue.max_queued
        if self._counts.total >= most:
            return f"The queue {name!r} is full: {self._counts.total} of at most {most} are waiting"
        exceeded = self._counts.exceeded(job, lambda limits: limits.max_queued, self._queue)
        if exceeded:
            return f"The queue {name!r} is full: as many are waiting as it allows ({exceeded})"
        self._counts.add(job)
        return None


def _pause(job: WpsJob, policy: Policy, now: datetime) -> float:
    """Seconds that *job* has still to wait before its relaunch."""
    if not job.status.restarts or not job.status.attempts:
        return 0.0
    ended = job.status.attempts[-1].get("finishedAt")
    try:
        end = parse_time(str(ended))
    except ValueError:
        return 0.0
    return (later(end, policy.backoff.seconds(job.status.restarts)) - now).total_seconds()
