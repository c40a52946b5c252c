"""Pause and resume: a queued WpsJob waits aside, a launched one is frozen and keeps its slot."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from wpsjobs.api.phases import LAUNCHED, Phase, Reason
from wpsjobs.api.times import parse_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.actions import PatchStatus
from wpsjobs.controller.transitions import Transition, transit


def of_queued(job: WpsJob, now: datetime) -> PatchStatus | None:
    """The transition that ``spec.suspend`` asks of a WpsJob in the queue, if it does."""
    if job.spec.suspend and job.status.phase is Phase.ACCEPTED:
        message = "Paused while it was waiting; it keeps its place in the queue"
        return transit(job, Transition(Phase.PAUSED, Reason.SUSPENDED, message), now)
    if not job.spec.suspend and job.status.phase is Phase.PAUSED:
        message = f"Resumed; waiting in the queue {job.spec.queue!r}"
        return transit(job, Transition(Phase.ACCEPTED, Reason.RESUMED, message, {}, "Resumed"), now)
    return None


def of_launched(job: WpsJob, now: datetime) -> PatchStatus | None:
    """The transition that ``spec.suspend`` asks of a WpsJob with an attempt, if it does.

    Its worker sees ``spec.suspend`` itself and freezes the process.
    """
    if job.spec.suspend and job.status.phase in LAUNCHED:
        message = f"Attempt {job.status.attempt} is frozen; it keeps its slot"
        return transit(job, Transition(Phase.PAUSED, Reason.SUSPENDED, message), now)
    if not job.spec.suspend and job.status.phase is Phase.PAUSED:
        started = job.status.started_at is not None
        fields: dict[str, Any] = {}
        if started:
            fields["pausedSeconds"] = paused_seconds(job, now)
        phase = Phase.STARTED if started else Phase.SCHEDULED
        message = f"Attempt {job.status.attempt} goes on"
        return transit(job, Transition(phase, Reason.RESUMED, message, fields, "Resumed"), now)
    return None


def paused_seconds(job: WpsJob, now: datetime) -> float:
    """``status.pausedSeconds`` of a paused WpsJob that goes on *now*."""
    return round(job.status.paused_seconds + _paused_for(job, now), 6)


def _paused_for(job: WpsJob, now: datetime) -> float:
    """Seconds since the pause began, as the history has it."""
    for entry in reversed(job.status.history):
        if entry.get("phase") == Phase.PAUSED:
            try:
                return max(0.0, (now - parse_time(str(entry.get("time")))).total_seconds())
            except ValueError:
                return 0.0
    return 0.0
