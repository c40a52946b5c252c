"""Status patches: how a WpsJob's status tells that it goes from one phase to another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wpsjobs.api.fields import Raw
from wpsjobs.api.phases import FINISHED, LAUNCHED, Condition, Phase, Reason
from wpsjobs.api.times import format_seconds, format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.actions import Milestone, PatchStatus

MAX_MESSAGE = 4096
"""Characters of ``status.message``, by the schema."""
HISTORY_ENDS = 100
"""Of a longer history, as many of the first and of the last transitions are kept."""
MAX_ATTEMPTS = 10

_MILESTONES = {
    Phase.ACCEPTED: "Accepted",
    Phase.SCHEDULED: "Scheduled",
    Phase.STARTED: "Started",
    Phase.PAUSED: "Paused",
    Phase.SUCCEEDED: "Succeeded",
    Phase.FAILED: "Failed",
    Phase.DISMISSED: "Dismissed",
    Phase.REJECTED: "Rejected",
}


Passed = Sequence[tuple[Phase, str]]
"""Phases, with words, that a WpsJob went through before the operator could write each down."""


@dataclass(frozen=True)
class Transition:
    """To which phase, why (one word for programs, a sentence for people), and what else changes."""

    phase: Phase
    reason: Reason
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of the status, as JSON; None removes one."""
    milestone: str | None = None
    """Reason of the Kubernetes Event, where it is not the phase."""
    passed: Passed = ()
    """For the history."""


def transit(job: WpsJob, to: Transition, now: datetime) -> PatchStatus:
    """The status patch that takes *job* to the phase of *to*."""
    message = shorten(to.message, MAX_MESSAGE)
    patch: dict[str, Any] = {
        "phase": to.phase,
        "reason": to.reason,
        "message": message,
        "history": _history(job.status.history, [*to.passed, (to.phase, message)], now),
        "conditions": _conditions(job, to, message, now),
        **to.fields,
    }
    if job.status.sequence is None:
        # An unmodified object's resourceVersion is the order of creation (invariant 1).
        patch["sequence"] = job.metadata.resource_version
    if job.status.phase is None:
        patch.setdefault("restarts", 0)
        patch.setdefault("retriesSeen", job.spec.retries)
    warning = to.phase in FINISHED - {Phase.SUCCEEDED} or to.reason is Reason.RELAUNCH
    milestone = Milestone(to.milestone or _MILESTONES[to.phase], message, warning)
    return PatchStatus(job, patch, milestone)


def attempt_entry(
    attempts: Sequence[Raw], number: int, fields: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """``status.attempts`` with *fields* set in the entry of attempt *number*, made if missing."""
    entries = [dict(entry) for entry in attempts]
    for entry in entries:
        if entry.get("number") == number:
            entry.update(fields)
            break
    else:
        entries.append({"number": number, **fields})
    return entries[-MAX_ATTEMPTS:]


def shorten(text: str, length: int) -> str:
    """*text*, its middle left out where it is longer than *length* characters."""
    if len(text) <= length:
        return text
    half = (length - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


def _history(history: Sequence[Raw], steps: Passed, now: datetime) -> list[Mapping[str, Any]]:
    time = format_time(now)
    entries = [*history, *({"time": time, "phase": p, "message": words} for p, words in steps)]
    if len(entries) > 2 * HISTORY_ENDS:
        entries = entries[:HISTORY_ENDS] + entries[-HISTORY_ENDS:]
    return entries


def _conditions(job: WpsJob, to: Transition, message: str, now: datetime) -> list[dict[str, Any]]:
    """All conditions after the transition; one that stays as it is keeps its time and words."""
    old = {condition.get("type"): condition for condition in job.status.conditions}
    states = {
        Condition.ACCEPTED: _accepted(job, to.phase),
        Condition.ADMITTED: _admitted(job, to.phase),
        Condition.SUSPENDED: to.phase is Phase.PAUSED,
        Condition.COMPLETE: to.phase is Phase.SUCCEEDED,
        Condition.FAILED: to.phase in FINISHED - {Phase.SUCCEEDED},
    }
    conditions = []
    for kind, state in states.items():
        status = "True" if state else "False"
        before = old.get(kind)
        if before is None and not state and kind is not Condition.ACCEPTED:
            continue  # what never was need not be denied
        if before is not None and before.get("status") == status:
            conditions.append(dict(before))
            continue
        conditions.append(
            {
                "type": str(kind),
                "status": status,
                "observedGeneration": job.metadata.generation,
                "lastTransitionTime": format_seconds(now),
                "reason": str(to.reason),
                "message": message,
            }
        )
    return conditions


def _accepted(job: WpsJob, phase: Phase) -> bool:
    """Once in the queue, accepted for good; one that was refused or failed at sight never was."""
    return phase in {Phase.ACCEPTED, Phase.PAUSED} | LAUNCHED or job.status.accepted_at is not None


def _admitted(job: WpsJob, phase: Phase) -> bool:
    if phase is Phase.PAUSED:
        paused_before = job.status.phase is Phase.PAUSED and job.status.scheduled_at is not None
        return job.status.phase in LAUNCHED or paused_before
    return phase in LAUNCHED
