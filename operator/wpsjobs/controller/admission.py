"""Which WpsJobs of a queue get a slot, which may wait, and which are refused (invariants 1, 2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from wpsjobs.api.phases import Phase
from wpsjobs.api.policy import Policy
from wpsjobs.api.queueing import order
from wpsjobs.api.times import later, parse_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import Executor, Limits, WpsQueue
from wpsjobs.controller.fanout import Turn, total_wanted
from wpsjobs.controller.view import Holder, View, is_queued


@dataclass
class Verdicts:
    """The answer to one look at a queue."""

    admitted: list[WpsJob] = field(default_factory=list)
    accepted: list[WpsJob] = field(default_factory=list)
    rejected: list[tuple[WpsJob, str]] = field(default_factory=list)
    """With the reason in words."""
    slots: Counter[str] = field(default_factory=Counter)
    """How many each fan-out gets, by its name."""
    alone: bool = False
    """Whether no more than one WpsJob waits for slots."""
    wake_in: float | None = None
    """Seconds until the pause before a relaunch ends."""


def judge(
    view: View,
    queue: WpsQueue,
    new: Sequence[WpsJob],
    now: datetime,
    *,
    turns: Sequence[Turn] = (),
    arriving: Sequence[WpsJob] = (),
    settling: bool,
) -> Verdicts:
    """The verdicts on the queued WpsJobs of *queue* and on *new* ones of it.

    Where consumers serve the queue, none is admitted: they take what waits by themselves.

    Everything that is decided here counts at both places, still waiting and already holding a
    slot, for the writes can fail one by one; the next round counts what has become of them. While
    room is being made (*settling* says so, or something leaves the queue now), nobody is refused:
    the verdict is left to the next round. Those *arriving* are on their way into the queue.
    *turns* are those of the fan-outs that have left it.
    """
    verdicts = Verdicts()
    queued = [job for job in view.of_queue(queue.metadata.name) if is_queued(job)]
    line: list[WpsJob] = []
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
        elif not job.spec.suspend and job.metadata.name not in view.able_to_run:
            line.append(job)
    if is_ours and not queue.suspend:
        _share(verdicts, _Slots(view, queue), line, turns, now)
    settling = settling or any(job.status.phase is not None for job in verdicts.admitted)
    _admit_to_queue(verdicts, queue, [*queued, *arriving], new, settling=settling)
    return verdicts


def _share(
    verdicts: Verdicts, slots: _Slots, line: list[WpsJob], turns: Sequence[Turn], now: datetime
) -> None:
    """Give slots to the WpsJobs in *line*, which hold none, and to fan-outs in their *turns*.

    Where several fan-outs wait, one part is launched in a round: the next one's turn comes from
    what has been written down.
    """
    turns = [turn for turn in turns if turn.wanted]
    verdicts.alone = len(line) + len(turns) <= 1
    for turn in turns:
        # The slot of the last part passes on to the merge step, in one write.
        if turn.merge and slots.take(turn.job, turn.freed):
            verdicts.slots[turn.job.metadata.name] += 1
    waiting = sorted((turn for turn in turns if not turn.merge), key=_turn)
    several = len(waiting) + sum(not job.parts_done for job in line) > 1
    launched = False
    while line or waiting:
        if waiting and (not line or _goes_first(waiting[0], line[0], now)):
            turn = waiting.pop(0)
        else:
            job = line.pop(0)
            turn = Turn(job, 1 if job.parts_done else total_wanted(job))
        job, is_fanout = turn.job, not turn.job.parts_done
        if is_fanout and several and launched:
            return
        if not slots.take(job, turn.freed if verdicts.alone else 0):
            continue
        if not job.in_parts and job.metadata.name not in verdicts.slots:
            verdicts.admitted.append(job)
        verdicts.slots[job.metadata.name] += 1
        if is_fanout:
            launched = True
        if turn.wanted > 1 and not several:
            waiting.append(replace(turn, wanted=turn.wanted - 1, holds=turn.holds + 1))


def _turn(turn: Turn) -> tuple[int, datetime, int]:
    """Whose turn it is among fan-outs: by priority, then who was served the longest ago."""
    never = datetime.min.replace(tzinfo=UTC)
    return -turn.job.spec.priority, turn.launched_at or never, turn.job.sequence


def _goes_first(turn: Turn, job: WpsJob, now: datetime) -> bool:
    """Whether the next part of a fan-out goes before *job*, which waits in the queue.

    One that holds a slot lets it go first. One that holds none stands where a WpsJob would that
    came when the fan-out was last served; else it could wait for ever behind new ones.
    """
    if turn.job.spec.priority != job.spec.priority:
        return turn.job.spec.priority > job.spec.priority
    if turn.holds or turn.launched_at is None or job.status.attempt:
        return False
    return turn.launched_at < (job.status.accepted_at or now)


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

    def __init__(self, holders: Iterable[Holder]) -> None:
        self.total = 0
        self.of_process: Counter[str] = Counter()
        self.of_owner: Counter[str] = Counter()
        for holder in holders:
            self.add(holder)

    def add(self, holder: Holder) -> None:
        self.total += 1
        self.of_process[holder.process] += 1
        if holder.owner:
            self.of_owner[holder.owner] += 1

    def exceeded(
        self,
        job: WpsJob,
        limit: Callable[[Limits], int | None],
        queue: WpsQueue,
        credit: int = 0,
    ) -> str | None:
        """Which of the queue's limits per process and owner *job* would exceed.

        Of what it has itself, as much as *credit* does not count.
        """
        most = limit(queue.per_process)
        if most is not None and self.of_process[job.spec.process] - credit >= most:
            return f"{most} for the process {job.spec.process}"
        most, owner = limit(queue.per_owner), job.spec.owner.identity
        if most is not None and owner and self.of_owner[owner] - credit >= most:
            return f"{most} for the owner {owner}"
        return None


class _Slots:
    """The slots of a queue while verdicts are given."""

    def __init__(self, view: View, queue: WpsQueue) -> None:
        self._counts = _Counts(view.held_slots(queue.metadata.name).values())
        self._queue = queue
        self._processes = view.processes

    def take(self, job: WpsJob, credit: int = 0) -> bool:
        """Give *job* a slot if there is one for it; another one does not wait behind it.

        *credit* is how many slots the write gives back that takes this one.
        """
        process: WpsProcess | None = self._processes.get(job.spec.process)
        most = process.parallelism if process else None
        if (
            self._counts.total - credit >= self._queue.parallelism
            or self._counts.exceeded(job, lambda limits: limits.parallelism, self._queue, credit)
            or (most is not None and self._counts.of_process[job.spec.process] - credit >= most)
        ):
            return False
        self._counts.add(Holder.of(job))
        return True


class _Waiting:
    """The places in a queue while verdicts are given."""

    def __init__(self, queue: WpsQueue, queued: Sequence[WpsJob]) -> None:
        self._queue = queue
        self._counts = _Counts(Holder.of(job) for job in queued)

    def enter(self, job: WpsJob) -> str | None:
        """Give *job* a place; the reason in words where there is none."""
        name, most = self._queue.metadata.name, self._queue.max_queued
        if self._counts.total >= most:
            return f"The queue {name!r} is full: {self._counts.total} of at most {most} are waiting"
        exceeded = self._counts.exceeded(job, lambda limits: limits.max_queued, self._queue)
        if exceeded:
            return f"The queue {name!r} is full: as many are waiting as it allows ({exceeded})"
        self._counts.add(Holder.of(job))
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
