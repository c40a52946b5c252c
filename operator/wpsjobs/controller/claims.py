"""The attempts of WpsJobs that consumers claim: begun, reported on, timed out, ended, repeated.

What ``attempts`` is to Kubernetes Jobs. The protocol is described in ``wpsjobs.tracker.claims``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wpsjobs.api.phases import CLAIM_ENDED, LAUNCHED, Cause, ClaimState, Phase, Reason
from wpsjobs.api.queueing import SILENCE_SECONDS
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import Claim, Report, WpsJob
from wpsjobs.api.wpsqueue import Executor
from wpsjobs.controller import lifecycle, suspension
from wpsjobs.controller.actions import Action, PatchStatus, Plan
from wpsjobs.controller.endings import conclude
from wpsjobs.controller.outcome import Outcome
from wpsjobs.controller.transitions import Transition, attempt_entry, transit
from wpsjobs.controller.view import View

_STEPS = {
    ClaimState.CLAIMED: (Phase.SCHEDULED, Reason.CLAIMED, "is claimed by"),
    ClaimState.RUNNING: (Phase.STARTED, Reason.CONSUMER_RUNNING, "is run by"),
    ClaimState.PAUSED: (Phase.PAUSED, Reason.PAUSED_BY_CONSUMER, "is said to pause by"),
}
"""Phase, reason and words, where the consumer gives none, of the states on the way."""
_ENDS = {
    ClaimState.SUCCEEDED: (Reason.COMPLETED, None, "has succeeded, says"),
    ClaimState.FAILED: (Reason.PROCESS_ERROR, Cause.PROCESS_ERROR, "has failed, says"),
    ClaimState.CRASHED: (Reason.CRASH, Cause.CRASH, "has crashed, says"),
    ClaimState.RELEASED: (Reason.RELEASED, None, "was given back by"),
}
"""Reason, cause and words of the states at the end."""


START_SECONDS = 1.0
"""As long after the claim, at the latest, the start is written down: most small tasks have ended
by then, and it goes into their history with the end, without a write of its own."""


def is_by_claim(view: View, job: WpsJob) -> bool:
    """Whether the slot that *job* holds is a consumer's, and not that of a Kubernetes Job."""
    if job.status.job_name is not None:
        return False
    return job.status.claim is not None or _has_consumers(view, job)


def take(view: View, job: WpsJob, now: datetime) -> list[Action]:
    """What the claim of a waiting WpsJob asks for, if it has one and its queue has consumers."""
    claim = job.status.claim
    if claim is None or not _has_consumers(view, job):
        return []
    is_next = claim.consumer and claim.attempt == job.status.attempt + 1
    if job.cancelled and claim.state not in CLAIM_ENDED:
        message = "Dismissed before its consumer began"
        return [_finish_dismissed(view, job, message, now)]
    if not is_next or job.status.phase is not Phase.ACCEPTED:
        return [PatchStatus(job, {"claim": None})]  # it would keep consumers from claiming it
    return [_schedule(job, claim, now)]


def advance(view: View, job: WpsJob, now: datetime, plan: Plan) -> None:
    """Put the next step of a WpsJob whose attempt is a consumer's into *plan*."""
    claim = job.status.claim
    if claim is None or claim.attempt != job.status.attempt:
        why = f"The claim of attempt {job.status.attempt} is gone; somebody removed it"
        plan.add(_end(view, job, Outcome(Reason.CRASH, why, Cause.CRASH), now))
        return
    if claim.state in CLAIM_ENDED:
        plan.add(_end(view, job, _outcome(claim), now, own=claim))
        return
    if job.cancelled:
        message = f"Dismissed; the consumer {claim.consumer!r} has lost its claim"
        plan.add(_finish_dismissed(view, job, message, now))
        return
    failure = _overdue(view, job, now, plan) or _silent(view, job, claim, now, plan)
    if failure is not None:
        plan.add(_end(view, job, failure, now))
        return
    plan.add(*_follow(job, claim, now, plan))


def _has_consumers(view: View, job: WpsJob) -> bool:
    queue = view.queues.get(job.spec.queue)
    return queue is not None and queue.executor is Executor.CONSUMERS


def _schedule(job: WpsJob, claim: Claim, now: datetime) -> PatchStatus:
    """Take note of a claim; from here on the time-out runs."""
    left, words = list(claim.reports), None
    if left and left[0].state is ClaimState.CLAIMED:
        words = left.pop(0).message
    elif not left and claim.state is ClaimState.CLAIMED:
        words = claim.message
    fields: dict[str, Any] = {
        "attempt": claim.attempt,
        "scheduledAt": format_time(now),
        "startedAt": None,
        "progress": None,
        "pausedSeconds": None,
        "claim": {"reports": [_as_json(report) for report in left]},
        "attempts": attempt_entry(job.status.attempts, claim.attempt, {"consumer": claim.consumer}),
    }
    if job.status.accepted_at is None:
        fields["acceptedAt"] = format_time(now)
    words = words or _words(claim, ClaimState.CLAIMED)
    return _go(job, Transition(Phase.SCHEDULED, Reason.CLAIMED, words, fields), now)


def _follow(job: WpsJob, claim: Claim, now: datetime, plan: Plan) -> list[Action]:
    """The transition that the consumer's reports, or ``spec.suspend``, ask for, if they do."""
    if job.spec.suspend:
        if job.status.reason == Reason.SUSPENDED:
            return []
        message = f"Suspended; the time-out of attempt {claim.attempt} stands still"
        return [_go(job, Transition(Phase.PAUSED, Reason.SUSPENDED, message), now)]
    news = _news(job, claim)
    if not news or _may_wait(job, news, now, plan):
        return []
    *steps, (phase, message) = _steps(job, claim, news)
    passed = _after(job.status.phase, steps)
    reason = {phase: reason for phase, reason, _ in _STEPS.values()}[phase]
    fields = {**_resumed(job, now), **_begun(job, claim, news, now), "claim": {"reports": []}}
    return [_go(job, Transition(phase, reason, message, fields, passed=passed), now)]


def _may_wait(job: WpsJob, news: list[Report], now: datetime, plan: Plan) -> bool:
    """Whether there is only the start to tell, which the end may soon tell as well."""
    since = job.status.scheduled_at
    if since is None or job.status.phase is not Phase.SCHEDULED:
        return False
    left = START_SECONDS - (now - since).total_seconds()
    if left <= 0 or any(report.state is not ClaimState.RUNNING for report in news):
        return False
    plan.wake(left)
    return True


def _go(job: WpsJob, to: Transition, now: datetime) -> PatchStatus:
    """The patch for *to*; where the phase stays, there are only more words on it.

    Of claims and starts there is no Event: it would cost as much as all else about a small task.
    """
    action = transit(job, to, now)
    patch = dict(action.patch)
    if to.phase is job.status.phase and not to.passed:
        del patch["history"]
        return PatchStatus(job, patch)
    quiet = to.phase in LAUNCHED and job.status.phase is not Phase.PAUSED
    return PatchStatus(job, patch, None if quiet else action.milestone)


def _news(job: WpsJob, claim: Claim) -> list[Report]:
    """What the consumer has said since the operator last wrote it down."""
    news = list(claim.reports)
    if news:
        last: ClaimState | None = news[-1].state
    else:
        known = {reason: state for state, (_, reason, _) in _STEPS.items()}
        last = next((state for reason, state in known.items() if reason == job.status.reason), None)
    if claim.state is not last:
        news.append(Report(claim.state, claim.message))
    return news


def _steps(job: WpsJob, claim: Claim, news: list[Report]) -> list[tuple[Phase, str]]:
    """*news* on the way as phases with words; nothing that has begun goes back to its start."""
    steps, begun = list[tuple[Phase, str]](), job.status.started_at is not None
    for report in news:
        if report.state in CLAIM_ENDED:
            continue
        begun = begun or report.state is ClaimState.RUNNING
        state = report.state
        if state is ClaimState.CLAIMED and begun:
            state = ClaimState.RUNNING
        phase = _STEPS[state][0]
        if steps and steps[-1][0] is phase:
            steps.pop()  # there is no way from a phase to itself
        steps.append((phase, report.message or _words(claim, state)))
    return steps


def _after(phase: Phase | None, steps: list[tuple[Phase, str]]) -> list[tuple[Phase, str]]:
    """*steps* without a first one that only says more of *phase*."""
    return steps[1:] if steps and steps[0][0] is phase else steps


def _begun(job: WpsJob, claim: Claim, news: list[Report], now: datetime) -> Mapping[str, Any]:
    """Fields that tell the start of the attempt, where it is among the *news*."""
    if job.status.started_at is not None or all(r.state is not ClaimState.RUNNING for r in news):
        return {}
    started = format_time(now)
    entry = attempt_entry(job.status.attempts, claim.attempt, {"startedAt": started})
    return {"startedAt": started, "attempts": entry}


def _resumed(job: WpsJob, now: datetime) -> Mapping[str, Any]:
    """The time for which the attempt was suspended, where it was; a label does not count."""
    if job.status.phase is Phase.PAUSED and job.status.reason == Reason.SUSPENDED:
        return {"pausedSeconds": suspension.paused_seconds(job, now)}
    return {}


def _overdue(view: View, job: WpsJob, now: datetime, plan: Plan) -> Outcome | None:
    """The time-out, which runs from the claim on; one that is suspended has all the time."""
    since = job.status.scheduled_at
    if job.spec.suspend or job.status.reason == Reason.SUSPENDED or since is None:
        return None
    timeout = view.policy(job).timeout_seconds
    left = timeout - ((now - since).total_seconds() - job.status.paused_seconds)
    if left > 0:
        plan.wake(left)
        return None
    message = (
        f"Attempt {job.status.attempt} was not done within {timeout} s of its claim by the "
        f"consumer {_consumer(job)!r}"
    )
    return Outcome(Reason.TIMEOUT, message, Cause.TIMEOUT)


def _silent(view: View, job: WpsJob, claim: Claim, now: datetime, plan: Plan) -> Outcome | None:
    """The death of a consumer that has sent heartbeats, and does not any more."""
    heard = view.heard.get(job.metadata.uid)
    if claim.heartbeat is None or heard is None:
        return None
    left = SILENCE_SECONDS - (now - heard).total_seconds()
    if left > 0:
        plan.wake(left)
        return None
    message = (
        f"The consumer {claim.consumer!r} of attempt {claim.attempt} was not heard of for "
        f"{SILENCE_SECONDS:.0f} s; it has died, or cannot reach the API server"
    )
    return Outcome(Reason.CRASH, message, Cause.CRASH)


def _outcome(claim: Claim) -> Outcome:
    reason, cause, _ = _ENDS[claim.state]
    counted = claim.state is not ClaimState.RELEASED
    return Outcome(reason, claim.message or _words(claim, claim.state), cause, counted)


def _end(
    view: View, job: WpsJob, end: Outcome, now: datetime, *, own: Claim | None = None
) -> PatchStatus:
    """Conclude the attempt, by its consumer's *own* word or without it."""
    fields: dict[str, Any] = {"claim": None}
    attempts, passed = job.status.attempts, list[tuple[Phase, str]]()
    if own is not None:
        news = _news(job, own)
        passed = _steps(job, own, news)
        passed = _after(job.status.phase, passed)
        begun = _begun(job, own, news, now)
        attempts = begun.get("attempts", attempts)
        fields |= begun
        fields["claim"] = {"reports": []}
    closed = {"finishedAt": format_time(now), "reason": str(end.reason)}
    fields["attempts"] = attempt_entry(attempts, job.status.attempt, closed)
    message = f"Dismissed; attempt {job.status.attempt} has ended"
    return conclude(view, job, end, fields, now, dismissed=message, passed=passed)


def _finish_dismissed(view: View, job: WpsJob, message: str, now: datetime) -> PatchStatus:
    reason = Reason.DISMISSED
    return lifecycle.finish(view, job, Phase.DISMISSED, reason, message, now, claim=None)


def _words(claim: Claim, state: ClaimState) -> str:
    words = (_STEPS.get(state) or _ENDS[state])[2]
    return f"Attempt {claim.attempt} {words} the consumer {claim.consumer!r}"


def _consumer(job: WpsJob) -> str:
    return job.status.claim.consumer if job.status.claim else ""


def _as_json(report: Report) -> Mapping[str, str]:
    return {"state": report.state, "message": report.message or ""}
