"""What follows from the end of an attempt: the end of its WpsJob, or another attempt."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wpsjobs.api.phases import FINISHED, Cause, Phase, Reason
from wpsjobs.api.policy import Policy
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller import lifecycle
from wpsjobs.controller.actions import PatchStatus
from wpsjobs.controller.outcome import NEVER_REPEATED, Outcome
from wpsjobs.controller.overdue import MAX_UNCOUNTED
from wpsjobs.controller.transitions import Passed, Transition, transit
from wpsjobs.controller.view import View


def conclude(
    view: View,
    job: WpsJob,
    end: Outcome,
    fields: Mapping[str, Any],
    now: datetime,
    *,
    dismissed: str,
    passed: Passed = (),
) -> PatchStatus:
    """End or relaunch a WpsJob whose attempt came to its *end*.

    *fields* of the status change, too; *dismissed* are the words for one that is cancelled.
    """
    fields = dict(fields)
    if end.succeeded:
        return lifecycle.finish(
            view, job, Phase.SUCCEEDED, end.reason, end.message, now, passed, **fields
        )
    if job.cancelled:
        return lifecycle.finish(
            view, job, Phase.DISMISSED, Reason.DISMISSED, dismissed, now, passed, **fields
        )
    relaunch = _relaunch(view.policy(job), job, end)
    if relaunch is None:
        message = _final_words(view.policy(job), job, end)
        return lifecycle.finish(view, job, Phase.FAILED, end.reason, message, now, passed, **fields)
    counted, message = relaunch
    fields["restarts"] = job.status.restarts + (1 if counted else 0)
    # Progress is that of an attempt, and a worker checks that the current one is its own.
    fields |= {"jobName": None, "scheduledAt": None, "startedAt": None, "progress": None}
    fields["pausedSeconds"] = None
    if job.spec.parts:
        fields["progress"] = lifecycle.progress_of_parts(job, now)
    if job.status.claim is not None:
        fields["claim"] = None  # it is free for another one
    to = Transition(Phase.ACCEPTED, Reason.RELAUNCH, message, fields, "Relaunched", passed)
    return transit(job, to, now)


def _relaunch(policy: Policy, job: WpsJob, end: Outcome) -> tuple[bool, str] | None:
    """Whether the failed attempt is repeated: (does it count, words), or None if it is not."""
    number = job.status.attempt
    if end.reason in NEVER_REPEATED:
        return None
    if not end.counted and uncounted(job) < MAX_UNCOUNTED:
        return False, f"Attempt {number} is repeated, uncounted: {end.message}"
    if (end.cause or Cause.CRASH) not in policy.restart_on:
        return None
    if job.status.restarts >= policy.restart_limit:
        return None
    restarts = job.status.restarts + 1
    return True, (
        f"Attempt {number} is repeated (restart {restarts} of at most {policy.restart_limit}): "
        f"{end.message}"
    )


def uncounted(job: WpsJob) -> int:
    """How many relaunches of *job* did not count, since it was last retried.

    ``attempts`` has the last ten alone, the current one among them: too few to tell.
    """
    launches = 0
    for entry in reversed(job.status.history):
        if entry.get("phase") in list(FINISHED):
            break
        launches += entry.get("phase") == Phase.SCHEDULED
    else:
        launches = job.status.attempt
    return max(0, launches - 1 - job.status.restarts)


def _final_words(policy: Policy, job: WpsJob, end: Outcome) -> str:
    if end.reason in NEVER_REPEATED | {Reason.PROCESS_ERROR}:
        return end.message
    if policy.restart_limit and job.status.restarts >= policy.restart_limit:
        return f"{end.message} (given up after {job.status.restarts} restarts)"
    return end.message
