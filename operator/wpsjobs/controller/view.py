"""What the decisions look at: one namespace as it is known at one moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from wpsjobs.api.origin import Origin, Unit
from wpsjobs.api.phases import LAUNCHED, Phase
from wpsjobs.api.policy import Policy
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.controller.children import Attempt, Children


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a slot or a place in the queue is, as the limits per process and owner count it."""

    process: str
    owner: str | None

    @classmethod
    def of(cls, job: WpsJob) -> Holder:
        """As *job* holds one."""
        return cls(job.spec.process, job.spec.owner.identity)


@dataclass(frozen=True)
class View:
    """One namespace, read only."""

    jobs: Collection[WpsJob]
    """All unfinished WpsJobs, and those finished ones with something to do."""
    queues: Mapping[str, WpsQueue]
    """By name."""
    processes: Mapping[str, WpsProcess]
    """By identifier."""
    children: Children
    worker_service_account: str
    job_counts: Mapping[str, int] | None
    """How many WpsJobs each process has, by identifier; None while it is not known."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """By UID of the WpsJob: why the API server does not take its Kubernetes Job."""
    heard: Mapping[str, datetime] = field(default_factory=dict)
    """By UID of the WpsJob: when the last heartbeat of its consumer was seen."""
    names_listed_at: float = float("inf")
    """The resourceVersion at which the queues and processes were complete."""
    next_expiry: datetime | None = None
    """When the next one of the finished WpsJobs expires that are not among *jobs*."""

    def policy(self, job: WpsJob) -> Policy:
        """Timeout, restarts and retention of *job*."""
        return Policy.resolve(
            job, self.processes.get(job.spec.process), self.queues.get(job.spec.queue)
        )

    def attempt(self, job: WpsJob) -> Attempt:
        """What there is of the current attempt of *job*."""
        return self.children.attempt(job.metadata.uid, job.status.attempt)

    def part(self, job: WpsJob, index: int) -> Attempt:
        """What there is of the current launch of part *index* of *job*."""
        parts = job.status.parts
        if parts is None:
            return Attempt(None, ())
        return self.children.attempt(job.metadata.uid, parts.attempt, index, parts.tries(index))

    @cached_property
    def able_to_run(self) -> Mapping[str, str]:
        """The queue of each WpsJob, by name, of which a pod runs or may still be made."""
        return {name: origin.queue for (name, _), origin in self._units_able_to_run.items()}

    @cached_property
    def _units_able_to_run(self) -> Mapping[Unit, Origin]:
        return {origin.unit: origin for origin in self.children.able_to_run()}

    @cached_property
    def under_way(self) -> int:
        """How many WpsJobs have left the queue and not ended."""
        return sum(map(is_admitted, self.jobs))

    def held_slots(self, queue: str) -> Mapping[Unit, Holder]:
        """What holds a slot of *queue* each: WpsJobs and parts of them (invariant 2).

        By the status, or by a pod that can run, be it of a WpsJob that is deleted.
        """
        held = {
            unit: Holder(origin.process, origin.owner)
            for unit, origin in self._units_able_to_run.items()
            if origin.queue == queue
        }
        for job in self.of_queue(queue):
            held |= dict.fromkeys(units(job), Holder.of(job))
        return held

    def of_queue(self, queue: str) -> Sequence[WpsJob]:
        """The WpsJobs of *queue*."""
        return self._by_queue.get(queue, [])

    @cached_property
    def _by_queue(self) -> Mapping[str, list[WpsJob]]:
        by_queue: dict[str, list[WpsJob]] = {}
        for job in self.jobs:
            by_queue.setdefault(job.spec.queue, []).append(job)
        return by_queue


def units(job: WpsJob) -> set[Unit]:
    """For what the status of *job* says that slots are held; what is frozen keeps its own."""
    if job.in_parts and job.status.parts is not None:
        return {(job.metadata.name, index) for index in job.status.parts.running}
    return {(job.metadata.name, None)} if is_admitted(job) else set()


def is_admitted(job: WpsJob) -> bool:
    """Whether the status of *job* says that it has left the queue and not ended."""
    return job.status.phase in LAUNCHED or (job.status.phase is Phase.PAUSED and job.has_attempt)


def is_queued(job: WpsJob) -> bool:
    """Whether *job* counts to ``maxQueued``; one that is paused before its start does."""
    return job.status.phase is Phase.ACCEPTED or (
        job.status.phase is Phase.PAUSED and not job.has_attempt
    )
