"""The attempts of a WpsJob that holds a slot: begun, watched over, ended, repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from wpsjobs.api.names import kubernetes_job_name
from wpsjobs.api.phases import Cause, Phase, Reason
from wpsjobs.api.times import format_time, parse_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller import lifecycle, overdue, suspension
from wpsjobs.controller.actions import (
    Action,
    DeleteKubernetesJob,
    Launch,
    Milestone,
    PatchStatus,
    Plan,
)
from wpsjobs.controller.children import Attempt, Pod
from wpsjobs.controller.endings import conclude, uncounted
from wpsjobs.controller.outcome import Outcome, outcome
from wpsjobs.controller.overdue import BACKSTOP_SECONDS, MAX_UNCOUNTED
from wpsjobs.controller.transitions import (
    MAX_MESSAGE,
    Transition,
    attempt_entry,
    shorten,
    transit,
)
from wpsjobs.controller.view import View

MANY_UNDER_WAY, START_SECONDS = 64, 5.0
"""While so many WpsJobs of a namespace have left the queue, the start of a pod is written down as
long after it: what has ended by then needs one write less."""
_MARKS = frozenset({Reason.TIMEOUT, Reason.CANNOT_START})
"""Reasons for which the operator itself ends an attempt, marked in the attempt before it does."""


def advance(view: View, job: WpsJob, now: datetime, plan: Plan) -> None:
    """Put the next step of a WpsJob that holds a slot into *plan*."""
    attempt = view.attempt(job)
    unbegun = attempt.job is None and not attempt.pods and _started_at(job) is None
    if unbegun and _mark(job) is None:
        plan.add(*_begin(view, job, now, plan))
    elif not attempt.can_run and overdue.pod_to_come(attempt, now) > 0:
        plan.wake(overdue.pod_to_come(attempt, now))
    elif not attempt.can_run:
        plan.add(_conclude(view, job, attempt, now))
    else:
        plan.add(*_attend(view, job, attempt, now, plan))


def _started_at(job: WpsJob) -> datetime | None:
    """When the pod of the current attempt began to run; that of a fan-out is its merge step's."""
    if not job.spec.parts:
        return job.status.started_at
    entries = (e for e in job.status.attempts if e.get("number") == job.status.attempt)
    try:
        return parse_time(str(next(entries, {}).get("startedAt")))
    except ValueError:
        return None


def _begin(view: View, job: WpsJob, now: datetime, plan: Plan) -> list[Action]:
    """Make the Kubernetes Job of an attempt whose slot was taken before, or give the slot back."""
    if job.cancelled:
        message = f"Dismissed before attempt {job.status.attempt} had a pod"
        return [lifecycle.finish(view, job, Phase.DISMISSED, Reason.DISMISSED, message, now)]
    refusal = lifecycle.refuse_unknown(view, job, now)
    if refusal is not None:
        return [refusal]
    if _mark(job) is not None:
        return [_conclude(view, job, view.attempt(job), now)]
    overdue = _start_overdue(view, job, None, now, plan)
    if overdue is not None:
        return [_marked(job, *overdue)]
    old = view.children.job(kubernetes_job_name(job.metadata.name, job.status.attempt))
    if old is not None:
        why = "it belongs to a WpsJob of the same name that is deleted"
        return [] if old.metadata.deleting else [DeleteKubernetesJob(old.metadata, why)]
    begin: list[Action] = [Launch(job, [lifecycle.manifest(view, job, job.status.attempt)])]
    return begin + _tell_late_start(job, view.refusals.get(job.metadata.uid))


def _attend(view: View, job: WpsJob, attempt: Attempt, now: datetime, plan: Plan) -> list[Action]:
    """What an attempt that can still run needs: its end, or to be told as started, or as paused."""
    pod = attempt.pod
    ending = _must_end(view, job, pod, now, plan)
    if ending is not None:
        return _end(job, attempt, *ending, now, plan)
    is_new = job.status.phase is Phase.SCHEDULED or _started_at(job) is None
    if pod is not None and pod.running and is_new and not _can_wait(view, job, pod, now, plan):
        return [_start(job, pod, now)]
    paused = suspension.of_launched(job, now)
    if paused is not None:
        return [paused]
    why = pod.cannot_start if pod else None
    return _await_end(job, pod, now, plan) or _tell_late_start(job, why)


def _can_wait(view: View, job: WpsJob, pod: Pod, now: datetime, plan: Plan) -> bool:
    """Whether the start of *pod* may be told a little later, perhaps together with its end.

    Not before a pause, which is taken from the time that it has run.
    """
    if view.under_way < MANY_UNDER_WAY or pod.started_at is None or job.spec.suspend:
        return False
    left = START_SECONDS - (now - pod.started_at).total_seconds()
    if not 0 < left <= START_SECONDS:  # more where the node's clock is ahead
        return False
    plan.wake(left)
    return True


def _end(
    job: WpsJob, attempt: Attempt, reason: Reason, why: str, now: datetime, plan: Plan
) -> list[Action]:
    """End an attempt, or wait for it to end."""
    if reason in _MARKS and _mark(job) is None:
        return [_marked(job, reason, why)]
    if attempt.job is not None and not attempt.job.metadata.deleting:
        return [DeleteKubernetesJob(attempt.job.metadata, why)]
    return _await_end(job, attempt.pod, now, plan)


def _tell_late_start(job: WpsJob, why: str | None) -> list[Action]:
    """Say why an attempt does not start: once, for the first words change back and forth."""
    if not why or job.status.reason == Reason.CANNOT_START:
        return []
    message = shorten(f"Attempt {job.status.attempt} cannot start yet: {why}", MAX_MESSAGE)
    return [PatchStatus(job, {"reason": Reason.CANNOT_START, "message": message})]


def _must_end(
    view: View, job: WpsJob, pod: Pod | None, now: datetime, plan: Plan
) -> tuple[Reason, str] | None:
    """Why the attempt is to be ended by the operator, if it is."""
    if job.cancelled and not _is_finalising(job, now, plan):
        return Reason.DISMISSED, "the WpsJob is dismissed"
    mark = _mark(job)
    if mark is not None:
        return mark, "its end was decided before"
    if pod is None or not pod.running:
        return _start_overdue(view, job, pod, now, plan)
    return _run_overdue(view, job, now, plan)


def _is_finalising(job: WpsJob, now: datetime, plan: Plan) -> bool:
    """Whether the worker is about to make its response final; it is left to it for a while.

    Ended in the midst of it, the document could say success and the phase Dismissed.
    """
    progress = job.status.progress
    if progress is None or not progress.finalising or progress.updated_at is None:
        return False
    left = BACKSTOP_SECONDS - (now - progress.updated_at).total_seconds()
    if left > 0:
        plan.wake(left)
    return left > 0


def _start_overdue(
    view: View, job: WpsJob, pod: Pod | None, now: datetime, plan: Plan
) -> tuple[Reason, str] | None:
    queue, since = view.queues.get(job.spec.queue), job.status.scheduled_at
    if queue is None or _started_at(job) is not None:
        return None
    if not overdue.start(view, job, since, now, plan):
        return None
    refusal = view.refusals.get(job.metadata.uid)
    why = pod.cannot_start if pod else refusal or "no pod was made for its Kubernetes Job"
    where = f"; kubectl describe pod {pod.metadata.name} may tell" if pod and not why else ""
    return Reason.CANNOT_START, (
        f"Attempt {job.status.attempt} could not start within "
        f"{queue.start_deadline_seconds} s: {why or 'its pod gives no reason'}{where}"
    )


def _run_overdue(view: View, job: WpsJob, now: datetime, plan: Plan) -> tuple[Reason, str] | None:
    why = overdue.run(view, job, _started_at(job), now, plan)
    return (Reason.TIMEOUT, why) if why else None


def _mark(job: WpsJob) -> Reason | None:
    """For which reason the operator has decided to end the current attempt."""
    for entry in job.status.attempts:
        if entry.get("number") == job.status.attempt and entry.get("reason") in list(_MARKS):
            return Reason(entry["reason"])
    return None


def _marked(job: WpsJob, reason: Reason, why: str) -> PatchStatus:
    """Write down that the attempt is to end, before it is ended: the pod's own end says less."""
    entry = attempt_entry(job.status.attempts, job.status.attempt, {"reason": str(reason)})
    return PatchStatus(job, {"reason": reason, "message": why, "attempts": entry})


def _as_marked(job: WpsJob, end: Outcome) -> Outcome:
    """The end of an attempt that the operator ended, unless the worker's own word says more."""
    mark = _mark(job)
    if mark is None or end.succeeded or end.reason not in (Reason.CRASH, Reason.DISRUPTED):
        return end
    cause = Cause.TIMEOUT if mark is Reason.TIMEOUT else None
    return Outcome(mark, job.status.message or str(mark), cause, exit_code=end.exit_code)


def _await_end(job: WpsJob, pod: Pod | None, now: datetime, plan: Plan) -> list[Action]:
    """Wait for a pod that is being deleted; say so where it takes longer than it should."""
    message = overdue.lost_pod(pod, now, plan) if pod else None
    if message is None or job.status.reason == Reason.WAITING_FOR_POD:
        return []
    return [PatchStatus(job, {"reason": Reason.WAITING_FOR_POD, "message": message})]


def _start(job: WpsJob, pod: Pod, now: datetime) -> PatchStatus:
    number = job.status.attempt
    started = format_time(pod.started_at or now)
    entry = {"podName": pod.metadata.name, "node": pod.node, "startedAt": started}
    began = job.status.started_at
    fields = {
        "startedAt": format_time(began) if began else started,
        "attempts": attempt_entry(job.status.attempts, number, entry),
    }
    what = "The merge step" if job.spec.parts else f"Attempt {number}"
    message = f"{what} runs in pod {pod.metadata.name!r} on node {pod.node!r}"
    if job.status.phase is Phase.PAUSED:  # it began while it was frozen, and stays so
        return PatchStatus(job, fields)
    if job.status.phase is Phase.STARTED:  # as it has been since the first part ran
        patch = {"reason": Reason.POD_RUNNING, "message": message, **fields}
        return PatchStatus(job, patch, Milestone("Merging", message))
    return transit(job, Transition(Phase.STARTED, Reason.POD_RUNNING, message, fields), now)


def _conclude(view: View, job: WpsJob, attempt: Attempt, now: datetime) -> PatchStatus:
    """End or relaunch a WpsJob none of whose pods can run any more."""
    end = _unless_finalising(job, _as_marked(job, outcome(attempt)))
    fields: dict[str, Any] = {"attempts": _closed(job, attempt, end, now)}
    if job.status.started_at is None and attempt.pod and attempt.pod.started_at:
        # It was through before the kubelet told that it ran.
        fields["startedAt"] = format_time(attempt.pod.started_at)
    return conclude(view, job, end, fields, now, dismissed="Dismissed; its pod has ended")


def _unless_finalising(job: WpsJob, end: Outcome) -> Outcome:
    """An attempt that died between its last word and the rename of the document has a second try.

    Once, and uncounted: it only has to look whether the document is final.
    """
    progress, attempts = job.status.progress, job.status.attempts
    if (
        end.cause is None
        or progress is None
        or not progress.finalising
        or any(entry.get("reason") == Reason.FINALISING for entry in attempts)
        or uncounted(job) >= MAX_UNCOUNTED
    ):
        return end
    return replace(end, reason=Reason.FINALISING, counted=False)


def _closed(job: WpsJob, attempt: Attempt, end: Outcome, now: datetime) -> list[dict[str, Any]]:
    pod = attempt.pod
    entry: dict[str, Any] = {
        "finishedAt": format_time((pod and pod.finished_at) or now),
        "reason": str(end.reason),
    }
    if end.exit_code is not None:
        entry["exitCode"] = end.exit_code
    if pod is not None:
        entry |= {"podName": pod.metadata.name}
        entry |= {"node": pod.node} if pod.node else {}
        entry |= {"startedAt": format_time(pod.started_at)} if pod.started_at else {}
    return attempt_entry(job.status.attempts, job.status.attempt, entry)
