"""What is told of WpsJobs and queues: plain mappings, the same for tables, JSON and YAML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wpsjobs.api.phases import LAUNCHED, Phase
from wpsjobs.api.queueing import Place, order, place
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import WpsQueue

Record = dict[str, Any]


@dataclass(frozen=True)
class Queues:
    """What is known of queues at one moment."""

    queues: Mapping[str, WpsQueue]
    """By name."""
    jobs: Sequence[WpsJob]
    """All unfinished WpsJobs, and some of those that succeeded last."""
    now: datetime

    def place(self, job: WpsJob) -> Place | None:
        """Where *job* waits; None where it does not."""
        own = [one for one in self.jobs if one.spec.queue == job.spec.queue]
        return place(job, own, self.queues.get(job.spec.queue), self.now)

    def waiting(self, queue: str) -> list[WpsJob]:
        """Those that wait in *queue*, the next one first."""
        waiting = (
            job
            for job in self.jobs
            if job.spec.queue == queue and job.status.phase is Phase.ACCEPTED
        )
        return sorted(waiting, key=order)

    def running(self, queue: str) -> list[WpsJob]:
        """Those that hold a slot of *queue*."""
        return [
            job
            for job in self.jobs
            if job.spec.queue == queue
            and (
                job.status.phase in LAUNCHED
                or (job.status.phase is Phase.PAUSED and job.has_attempt)
            )
        ]


def job_record(job: WpsJob, queues: Queues) -> Record:
    """A line of ``list``; what is unknown is left out."""
    status, found = job.status, queues.place(job)
    return _present(
        {
            "job": job.id,
            "name": job.metadata.name,
            "process": job.spec.process,
            "phase": status.phase,
            "reason": status.reason,
            "progress": status.progress.percent if status.progress else None,
            "progressMessage": status.progress.message if status.progress else None,
            "queue": job.spec.queue,
            "position": found.position if found else None,
            "expectedStart": _time(found.expected_start) if found else None,
            "owner": job.spec.owner.identity,
            "priority": job.spec.priority or None,
            "restarts": status.restarts,
            "createdAt": _time(job.metadata.created_at),
            "startedAt": _time(status.started_at),
            "finishedAt": _time(status.finished_at),
        }
    )


def status_record(job: WpsJob, queues: Queues) -> Record:
    """All that ``status`` tells."""
    status = job.status
    return job_record(job, queues) | _present(
        {
            "message": status.message,
            "attempt": status.attempt or None,
            "kubernetesJob": status.job_name,
            "responseUrl": job.spec.response_url,
            "expiresAt": _time(status.expires_at),
            "pausedSeconds": status.paused_seconds or None,
            "attempts": [dict(entry) for entry in status.attempts] or None,
            "history": [dict(entry) for entry in status.history] or None,
        }
    )


def queue_record(queue: WpsQueue, queues: Queues) -> Record:
    """A line of ``queue``, counted from the WpsJobs: the queue's own status lags behind."""
    name = queue.metadata.name
    waiting = queues.waiting(name)
    paused = [
        job
        for job in queues.jobs
        if job.spec.queue == name and job.status.phase is Phase.PAUSED and not job.has_attempt
    ]
    return {
        "name": name,
        "held": queue.suspend,
        "running": len(queues.running(name)),
        "parallelism": queue.parallelism,
        # A paused WpsJob that has not started keeps its place.
        "queued": len(waiting) + len(paused),
        "maxQueued": queue.max_queued,
        "paused": len(paused),
        "waiting": [job.id for job in waiting],
    }


def chosen(
    jobs: Iterable[WpsJob],
    phases: Sequence[Phase] = (),
    process: str | None = None,
    queue: str | None = None,
    owner: str | None = None,
) -> list[WpsJob]:
    """Those of *jobs* that pass all filters, in the order of their creation."""
    return sorted(
        (
            job
            for job in jobs
            if (not phases or job.status.phase in phases)
            and process in {None, job.spec.process}
            and queue in {None, job.spec.queue}
            and owner in {None, job.spec.owner.user, job.spec.owner.remote_address}
        ),
        key=lambda job: job.sequence,
    )


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _present(record: Record) -> Record:
    return {key: value for key, value in record.items() if value is not None}
