"""What becomes of one WpsJob but for its attempts: first sight, waiting, launch, end, expiry."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from wpsjobs.api.names import kubernetes_job_name
from wpsjobs.api.phases import FINISHED, Phase, Reason
from wpsjobs.api.policy import Policy
from wpsjobs.api.times import format_time, later
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import Executor
from wpsjobs.controller import suspension
from wpsjobs.controller.actions import Action, DeleteWpsJob, Launch, PatchStatus, Plan
from wpsjobs.controller.manifests import Assignment, kubernetes_job
from wpsjobs.controller.transitions import Passed, Transition, attempt_entry, transit
from wpsjobs.controller.view import View


def refuse_at_sight(view: View, job: WpsJob, now: datetime) -> PatchStatus | None:
    """The verdict on a new WpsJob that no queue needs to be asked about, if there is one."""
    if job.cancelled:
        message = "Dismissed before it began"
        return finish(view, job, Phase.DISMISSED, Reason.DISMISSED, message, now)
    if job.spec.accept_before is not None and now > job.spec.accept_before:
        message = (
            "Seen too late: its client was told at "
            f"{format_time(job.spec.accept_before)} that the service is busy"
        )
        return finish(view, job, Phase.REJECTED, Reason.TOO_LATE, message, now)
    return refuse_unknown(view, job, now) or _refuse_parts(view, job, now)


def _refuse_parts(view: View, job: WpsJob, now: datetime) -> PatchStatus | None:
    """The end of a fan-out in a queue of consumers, each of which takes a WpsJob as a whole."""
    if not job.spec.parts or view.queues[job.spec.queue].executor is Executor.JOBS:
        return None
    message = (
        f"The WpsQueue {job.spec.queue!r} is served by consumers, which take no spec.parts; "
        "name a queue whose executor is Jobs"
    )
    return finish(view, job, Phase.FAILED, Reason.BAD_REQUEST, message, now)


def refuse_unknown(view: View, job: WpsJob, now: datetime) -> PatchStatus | None:
    """The end of a WpsJob of a queue or a process that is not there."""
    if job.spec.queue not in view.queues:
        message = f"There is no WpsQueue {job.spec.queue!r} in this namespace; " + _choice(
            "WpsQueues", view.queues
        )
        return finish(view, job, Phase.FAILED, Reason.UNKNOWN_QUEUE, message, now)
    if job.spec.process not in view.processes:
        message = f"There is no process {job.spec.process!r}; " + _choice(
            "processes", view.processes
        )
        return finish(view, job, Phase.FAILED, Reason.UNKNOWN_PROCESS, message, now)
    return None


def accept(job: WpsJob, now: datetime) -> PatchStatus:
    """Let a new WpsJob into its queue."""
    fields = {"acceptedAt": format_time(now), "attempt": 0}
    if job.spec.suspend:
        to = Transition(Phase.PAUSED, Reason.SUSPENDED, "Paused before its start", fields)
    else:
        message = f"Waiting in the queue {job.spec.queue!r}"
        to = Transition(Phase.ACCEPTED, Reason.QUEUED, message, fields)
    return transit(job, to, now)


def wait(view: View, job: WpsJob, now: datetime) -> list[Action]:
    """What a WpsJob in the queue needs apart from a slot."""
    if job.cancelled:
        message = "Dismissed while it was waiting"
        return [finish(view, job, Phase.DISMISSED, Reason.DISMISSED, message, now)]
    paused = suspension.of_queued(job, now)
    if paused is not None:
        return [paused]
    if job.status.phase is Phase.PAUSED:
        return []
    return _tell_what_is_missing(view, job)


def _tell_what_is_missing(view: View, job: WpsJob) -> list[Action]:
    """Say so where a queued WpsJob waits for a queue or a process that is not there any more."""
    words, reason = f"Waiting in the queue {job.spec.queue!r}", Reason.QUEUED
    if job.spec.queue not in view.queues:
        words, reason = f"{words}, which is not there any more", Reason.UNKNOWN_QUEUE
    elif job.spec.process not in view.processes:
        words = f"{words}; the process {job.spec.process!r} is not there any more"
        reason = Reason.UNKNOWN_PROCESS
    missing = (Reason.UNKNOWN_QUEUE, Reason.UNKNOWN_PROCESS)
    if job.status.reason == reason or (
        reason is Reason.QUEUED and job.status.reason not in missing
    ):
        return []
    return [PatchStatus(job, {"reason": reason, "message": words})]


def launch(view: View, job: WpsJob, now: datetime) -> Launch:
    """Give *job* a slot and make the Kubernetes Job of its next attempt (a fan-out's merge)."""
    number = job.status.attempt + 1
    name = kubernetes_job_name(job.metadata.name, number)
    fields: dict[str, Any] = {
        "attempt": number,
        "jobName": name,
        "scheduledAt": format_time(now),
        "startedAt": None,
        "progress": None,
        "pausedSeconds": None,
        "attempts": attempt_entry(job.status.attempts, number, {"jobName": name}),
    }
    if job.spec.parts:
        fields["progress"] = progress_of_parts(job, now)
    if job.status.accepted_at is None:
        fields["acceptedAt"] = format_time(now)
    message = f"Attempt {number} is being started as Kubernetes Job {name!r}"
    admission = transit(job, Transition(Phase.SCHEDULED, Reason.ADMITTED, message, fields), now)
    return Launch(job, [manifest(view, job, number)], admission)


def retry(job: WpsJob, now: datetime) -> PatchStatus:
    """Put a finished WpsJob, whose ``spec.retries`` was raised, back into its queue."""
    fields: dict[str, Any] = {
        "restarts": 0,
        "retriesSeen": job.spec.retries,
        "jobName": None,
        "scheduledAt": None,
        "startedAt": None,
        "finishedAt": None,
        "expiresAt": None,
        "progress": None,
        # What the parts left on the volume was removed at the end, so that all of them run anew.
        "parts": None,
        "acceptedAt": format_time(job.status.accepted_at or now),
    }
    if job.status.claim is not None:
        fields["claim"] = None  # it told the end of the last attempt
    message = f"Put back into the queue {job.spec.queue!r} as asked (retry {job.spec.retries})"
    return transit(job, Transition(Phase.ACCEPTED, Reason.RETRY, message, fields, "Retried"), now)


def expire(view: View, job: WpsJob, now: datetime, plan: Plan) -> None:
    """Put the deletion of a finished WpsJob into *plan* once its retention has ended."""
    end = expiry(job, view.policy(job))
    if end is not None and end <= now:
        plan.add(DeleteWpsJob(job))
        return
    if end is not None:
        plan.wake((end - now).total_seconds())
    if end != job.status.expires_at:
        plan.add(PatchStatus(job, {"expiresAt": end and format_time(end)}))


def expiry(job: WpsJob, policy: Policy) -> datetime | None:
    """When a finished WpsJob is to be deleted; None keeps it for ever."""
    if job.status.finished_at is None or policy.ttl_seconds_after_finished < 0:
        return None
    return later(job.status.finished_at, policy.ttl_seconds_after_finished)


def finish(
    view: View,
    job: WpsJob,
    phase: Phase,
    reason: Reason,
    message: str,
    now: datetime,
    passed: Passed = (),
    **fields: Any,
) -> PatchStatus:
    """The patch that ends *job* in the final *phase*."""
    ended = replace(job, status=replace(job.status, finished_at=now))
    end = expiry(ended, view.policy(job))
    fields["finishedAt"] = format_time(now)
    if end is not None:
        fields["expiresAt"] = format_time(end)
    assert phase in FINISHED  # noqa: S101 - a programming error, not an input
    return transit(job, Transition(phase, reason, message, fields, passed=passed), now)


def manifest(
    view: View, job: WpsJob, number: int, part: int | None = None, tried: int = 0
) -> dict[str, Any]:
    """The Kubernetes Job of attempt *number* of *job*, or of a part in it."""
    queue, process = view.queues[job.spec.queue], view.processes[job.spec.process]
    what = Assignment(job, number, part, tried)
    return kubernetes_job(what, queue, process, view.worker_service_account)


def progress_of_parts(job: WpsJob, now: datetime) -> dict[str, Any]:
    """``status.progress`` of a fan-out but for its merge step."""
    parts = job.status.parts
    done, total = (len(parts.succeeded), parts.total) if parts else (0, len(job.spec.parts))
    return {
        "percent": parts.percent if parts else 0,
        "message": f"{done} of {total} parts are done",
        "finalising": False,
        "updatedAt": format_time(now),
    }


def _choice(kind: str, names: Any) -> str:
    """Words for what there is instead."""
    known = sorted(names)
    return f"the {kind} there are: {', '.join(known)}" if known else f"there are no {kind} at all"
