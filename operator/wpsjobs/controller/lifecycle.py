"""What becomes of one WpsJob: verdicts at first sight, its attempts, its end, its expiry."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from wpsjobs.api.names import kubernetes_job_name
from wpsjobs.api.phases import FINISHED, Cause, Phase, Reason
from wpsjobs.api.resources import Policy, WpsJob
from wpsjobs.api.times import format_time
from wpsjobs.controller.actions import (
    Action,
    DeleteKubernetesJob,
    DeleteWpsJob,
    Launch,
    PatchStatus,
    Plan,
)
from wpsjobs.controller.children import Attempt, Pod
from wpsjobs.controller.manifests import kubernetes_job
from wpsjobs.controller.outcome import Outcome, outcome
from wpsjobs.controller.transitions import Transition, attempt_entry, transit
from wpsjobs.controller.view import View

MAX_UNCOUNTED = 10
"""Relaunches after disruptions that do not count; one more is taken as a crash."""
POD_NEWS_SECONDS = 5.0
"""How far the news of a pod, which has the exit code, may lag behind that of its Kubernetes Job."""


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
    return _refuse_unknown(view, job, now)


def _refuse_unknown(view: View, job: WpsJob, now: datetime) -> PatchStatus | None:
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
    known = job.spec.process in view.processes
    if known is (job.status.reason == Reason.UNKNOWN_PROCESS):
        message = f"Waiting in the queue {job.spec.queue!r}" + (
            "" if known else f"; the process {job.spec.process!r} is not there any more"
        )
        reason = Reason.QUEUED if known else Reason.UNKNOWN_PROCESS
        return [PatchStatus(job, {"reason": reason, "message": message})]
    return []


def launch(view: View, job: WpsJob, now: datetime) -> Launch:
    """Give *job* a slot and make the Kubernetes Job of its next attempt."""
    number = job.status.attempt + 1
    name = kubernetes_job_name(job.metadata.name, number)
    fields: dict[str, Any] = {
        "attempt": number,
        "jobName": name,
        "scheduledAt": format_time(now),
        "startedAt": None,
        "progress": None,
        "attempts": attempt_entry(job.status.attempts, number, {"jobName": name}),
    }
    if job.status.accepted_at is None:
        fields["acceptedAt"] = format_time(now)
    message = f"Attempt {number} is being started as Kubernetes Job {name!r}"
    admission = transit(job, Transition(Phase.SCHEDULED, Reason.ADMITTED, message, fields), now)
    return Launch(job, _manifest(view, job, number), admission)


def advance(view: View, job: WpsJob, now: datetime, plan: Plan) -> None:
    """Put the next step of a WpsJob that holds a slot into *plan*."""
    attempt = view.attempt(job)
    if attempt.job is None and not attempt.pods and job.status.phase is Phase.SCHEDULED:
        plan.add(*_begin(view, job, now))
    elif not attempt.can_run and _pod_to_come(attempt, now) > 0:
        plan.wake(_pod_to_come(attempt, now))
    elif not attempt.can_run:
        plan.add(_conclude(view, job, attempt, now))
    else:
        plan.add(*_attend(job, attempt, now))


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
        "acceptedAt": format_time(job.status.accepted_at or now),
    }
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
    return job.status.finished_at + timedelta(seconds=policy.ttl_seconds_after_finished)


def finish(
    view: View,
    job: WpsJob,
    phase: Phase,
    reason: Reason,
    message: str,
    now: datetime,
    **fields: Any,
) -> PatchStatus:
    """The patch that ends *job* in the final *phase*."""
    ended = replace(job, status=replace(job.status, finished_at=now))
    end = expiry(ended, view.policy(job))
    fields["finishedAt"] = format_time(now)
    if end is not None:
        fields["expiresAt"] = format_time(end)
    assert phase in FINISHED  # noqa: S101 - a programming error, not an input
    return transit(job, Transition(phase, reason, message, fields), now)


def _pod_to_come(attempt: Attempt, now: datetime) -> float:
    """Seconds for which the pod of a failed Kubernetes Job may yet be heard of."""
    job = attempt.job
    if job is None or job.complete or job.finished_at is None or attempt.pods:
        return 0.0
    return POD_NEWS_SECONDS - (now - job.finished_at).total_seconds()


def _begin(view: View, job: WpsJob, now: datetime) -> list[Action]:
    """Make the Kubernetes Job of an attempt whose slot was taken before, or give the slot back."""
    if job.cancelled:
        message = f"Dismissed before attempt {job.status.attempt} had a pod"
        return [finish(view, job, Phase.DISMISSED, Reason.DISMISSED, message, now)]
    refusal = _refuse_unknown(view, job, now)
    if refusal is not None:
        return [refusal]
    old = view.children.job(kubernetes_job_name(job.metadata.name, job.status.attempt))
    if old is not None:
        why = "it belongs to a WpsJob of the same name that is deleted"
        return [] if old.metadata.deleting else [DeleteKubernetesJob(old.metadata, why)]
    return [Launch(job, _manifest(view, job, job.status.attempt))]


def _attend(job: WpsJob, attempt: Attempt, now: datetime) -> list[Action]:
    """What a running attempt needs: to be ended where dismissed, to be told as started."""
    if job.cancelled and attempt.job is not None and not attempt.job.metadata.deleting:
        return [DeleteKubernetesJob(attempt.job.metadata, "the WpsJob is dismissed")]
    pod = attempt.pod
    if pod is not None and pod.running and job.status.phase is Phase.SCHEDULED:
        return [_start(job, pod, now)]
    return []


def _start(job: WpsJob, pod: Pod, now: datetime) -> PatchStatus:
    number = job.status.attempt
    started = format_time(pod.started_at or now)
    entry = {"podName": pod.metadata.name, "node": pod.node, "startedAt": started}
    fields = {
        "startedAt": started,
        "attempts": attempt_entry(job.status.attempts, number, entry),
    }
    message = f"Attempt {number} runs in pod {pod.metadata.name!r} on node {pod.node!r}"
    return transit(job, Transition(Phase.STARTED, Reason.POD_RUNNING, message, fields), now)


def _conclude(view: View, job: WpsJob, attempt: Attempt, now: datetime) -> PatchStatus:
    """End or relaunch a WpsJob none of whose pods can run any more."""
    end = _unless_finalising(job, outcome(attempt))
    fields: dict[str, Any] = {"attempts": _closed(job, attempt, end, now)}
    if end.succeeded:
        return finish(view, job, Phase.SUCCEEDED, end.reason, end.message, now, **fields)
    if job.cancelled:
        message = "Dismissed; its pod has ended"
        return finish(view, job, Phase.DISMISSED, Reason.DISMISSED, message, now, **fields)
    relaunch = _relaunch(view.policy(job), job, end)
    if relaunch is None:
        message = _final_words(view.policy(job), job, end)
        return finish(view, job, Phase.FAILED, end.reason, message, now, **fields)
    counted, message = relaunch
    fields["restarts"] = job.status.restarts + (1 if counted else 0)
    # Progress is that of an attempt, and a worker checks that the current one is its own.
    fields |= {"jobName": None, "scheduledAt": None, "startedAt": None, "progress": None}
    to = Transition(Phase.ACCEPTED, Reason.RELAUNCH, message, fields, "Relaunched")
    return transit(job, to, now)


def _relaunch(policy: Policy, job: WpsJob, end: Outcome) -> tuple[bool, str] | None:
    """Whether the failed attempt is repeated: (does it count, words), or None if it is not."""
    number = job.status.attempt
    if end.reason in (Reason.CLIENT_ERROR, Reason.BAD_REQUEST):
        return None
    if not end.counted and _uncounted(job) < MAX_UNCOUNTED:
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
        or _uncounted(job) >= MAX_UNCOUNTED
    ):
        return end
    return replace(end, reason=Reason.FINALISING, counted=False)


def _uncounted(job: WpsJob) -> int:
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
    if end.reason in (Reason.CLIENT_ERROR, Reason.BAD_REQUEST, Reason.PROCESS_ERROR):
        return end.message
    if policy.restart_limit and job.status.restarts >= policy.restart_limit:
        return f"{end.message} (given up after {job.status.restarts} restarts)"
    return end.message


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


def _manifest(view: View, job: WpsJob, number: int) -> dict[str, Any]:
    queue, process = view.queues[job.spec.queue], view.processes[job.spec.process]
    return kubernetes_job(job, number, queue, process, view.worker_service_account)


def _choice(kind: str, names: Any) -> str:
    """Words for what there is instead."""
    known = sorted(names)
    return f"the {kind} there are: {', '.join(known)}" if known else f"there are no {kind} at all"
