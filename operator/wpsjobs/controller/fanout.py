"""The parts of a fan-out: a Kubernetes Job for each, then the merge step.

A fan-out is admitted with its first parts. From then on its WpsJob is *Started* without a
``status.jobName``, and ``status.parts`` tells which parts hold a slot, before their Kubernetes Jobs
are made (invariant 3). A round looks at all of them (``survey``), asks ``admission`` for slots, and
writes down in one patch what has ended and what is to begin (``act``). Once all parts have
succeeded, the merge step is an attempt like any other (``attempts``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from wpsjobs.api.names import kubernetes_job_name
from wpsjobs.api.parts import Parts, Restarts
from wpsjobs.api.phases import Cause, Phase, Reason
from wpsjobs.api.policy import Policy
from wpsjobs.api.times import format_time, later
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
from wpsjobs.controller.outcome import NEVER_REPEATED, Outcome, outcome
from wpsjobs.controller.overdue import MAX_UNCOUNTED
from wpsjobs.controller.transitions import (
    MAX_MESSAGE,
    Transition,
    attempt_entry,
    shorten,
    transit,
)
from wpsjobs.controller.view import View

MAX_NAME = 100
"""Characters of a part's text that a message repeats."""
_MISSING = frozenset({Reason.UNKNOWN_PROCESS, Reason.UNKNOWN_QUEUE})
_PASSING = frozenset({Reason.CANNOT_START, Reason.WAITING_FOR_POD}) | _MISSING
"""Reasons that are of the past once there is news of the parts."""


@dataclass(frozen=True)
class Turn:
    """A fan-out that waits for slots: what ``admission`` has to know of it."""

    job: WpsJob
    wanted: int
    """How many slots it could use now."""
    merge: bool = False
    """Whether it is for the merge step."""
    freed: int = 0
    """Slots that the very patch gives back which would take others."""
    holds: int = 0
    """Slots that it will still hold then."""
    launched_at: datetime | None = None
    """When it was last given one; None before the first."""


@dataclass
class Survey:
    """A fan-out in its parts as one look finds it, and what is to be written down of it."""

    job: WpsJob
    parts: Parts
    turn: Turn
    ready: Sequence[int] = ()
    """The parts that may be launched, in order; no more than the fan-out may run at once."""
    unbegun: list[int] = field(default_factory=list)
    """Parts whose slot was taken before, and that have no Kubernetes Job yet."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Further changes of the status."""
    transition: PatchStatus | None = None
    milestone: Milestone | None = None
    end: PatchStatus | None = None
    """The end of the WpsJob."""


def total_wanted(job: WpsJob) -> int:
    """How many parts of *job* may run at once."""
    return min(len(job.spec.parts), job.spec.part_parallelism or len(job.spec.parts))


def begin(view: View, job: WpsJob, number: int, at: datetime, now: datetime) -> Launch:
    """Admit the fan-out *job* and launch its first parts, as many as *number* of slots.

    *at* is when, for the turns among fan-outs.
    """
    attempt = job.status.attempt + 1
    indexes = range(number)
    parts = Parts(attempt, len(job.spec.parts)).launched(indexes, at)
    fields: dict[str, Any] = {
        "attempt": attempt,
        "jobName": None,
        "scheduledAt": format_time(now),
        "startedAt": None,
        "progress": _progress(job, parts, now),
        "pausedSeconds": None,
        "attempts": attempt_entry(job.status.attempts, attempt, {}),
        "parts": parts.to_json(),
    }
    if job.status.accepted_at is None:
        fields["acceptedAt"] = format_time(now)
    message = f"Attempt {attempt} is being started with {number} of its {parts.total} parts"
    admission = transit(job, Transition(Phase.SCHEDULED, Reason.ADMITTED, message, fields), now)
    return Launch(job, _manifests(view, job, parts, indexes), admission)


def survey(view: View, job: WpsJob, now: datetime, plan: Plan) -> Survey:
    """Look at the parts of *job* that hold slots; ends of Kubernetes Jobs go into *plan*."""
    before = job.status.parts
    if before is None:
        raise ValueError(f"the WpsJob {job.metadata.key} is not in its parts")
    missing = lifecycle.refuse_unknown(view, job, now)
    ending = job.cancelled or bool(before.failed)
    found = Survey(job, before, Turn(job, 0))
    first: Pod | None = None
    for index in sorted(before.running):
        attempt = view.part(job, index)
        if attempt.job is None and not attempt.pods and index not in before.late:
            if ending or missing is None:
                _unbegun(view, found, index, ending, now, plan)
        elif attempt.can_run:
            _attend(view, found, index, attempt, ending, now, plan)
        elif overdue.pod_to_come(attempt, now) > 0:
            plan.wake(overdue.pod_to_come(attempt, now))
        else:
            _conclude(view, found, index, attempt, ending)
        if attempt.pod is not None and attempt.pod.started_at is not None:
            first = first or attempt.pod
    ending = ending or bool(found.parts.failed)
    if ending and not found.parts.running:
        found.end = _end(view, found, now)
        return found
    if missing is not None and job.status.reason not in _MISSING:
        # Deleted by force, or for a moment; what runs goes on, and the rest waits for it.
        words = f"No further parts are launched: {missing.patch['message']}"
        found.fields |= {"reason": missing.patch["reason"], "message": words}
    found.transition = _transition(found, first, now)
    is_paused = job.status.phase is Phase.PAUSED or job.spec.suspend
    if not (ending or is_paused or missing):
        _want(view, found, now, plan)
    return found


def act(
    view: View, found: Survey, granted: int, at: datetime, now: datetime, *, alone: bool
) -> Action | None:
    """What is to be done, with *granted* slots: parts of it for its ``ready`` or the merge step.

    Where no other WpsJob waits (*alone*), a patch that says no more than which parts have ended
    and begun may come a moment later, together with others of its kind.
    """
    job = found.job
    if found.end is not None:
        return found.end
    if found.turn.merge and granted:
        return _merge(view, found, now)
    launched = list(found.ready[:granted])
    parts = found.parts.launched(launched, at) if launched else found.parts
    patch = dict(found.transition.patch) if found.transition else {}
    patch |= found.fields
    if parts != job.status.parts:
        patch |= {"parts": parts.to_json(), "progress": _progress(job, parts, now)}
        if found.transition is None and job.status.reason in _PASSING:
            words = f"{len(parts.running)} of the {parts.total} parts run"
            patch = {"reason": Reason.POD_RUNNING, "message": words} | patch
    can_wait = alone and not found.unbegun and set(patch) <= {"parts", "progress"}
    change = None
    if patch:
        milestone = found.transition.milestone if found.transition else found.milestone
        change = PatchStatus(job, patch, milestone, can_wait and not parts.failed)
    begun = [*found.unbegun, *launched]
    if begun:
        return Launch(job, _manifests(view, job, parts, begun), change)
    return change


def _unbegun(
    view: View, found: Survey, index: int, ending: bool, now: datetime, plan: Plan
) -> None:
    """A part whose slot was taken, by an operator that did not get further."""
    job = found.job
    if ending:
        found.parts = _released(found.parts, index)
        found.turn = replace(found.turn, freed=found.turn.freed + 1)
        return
    name = kubernetes_job_name(
        job.metadata.name, found.parts.attempt, index, found.parts.tries(index)
    )
    old = view.children.job(name)
    if old is not None:
        why = "it belongs to a WpsJob of the same name that is deleted"
        plan.add(*([] if old.metadata.deleting else [DeleteKubernetesJob(old.metadata, why)]))
        return
    refusal = view.refusals.get(job.metadata.uid)
    if overdue.start(view, job, found.parts.launched_at, now, plan):
        found.parts = _released(found.parts, index)
        _fail(found, index, _cannot_start(view, job, refusal or "no pod was made for it"))
        return
    found.unbegun.append(index)
    if refusal and job.status.reason not in _PASSING:
        _tell_late_start(found, index, refusal)


def _attend(
    view: View,
    found: Survey,
    index: int,
    attempt: Attempt,
    ending: bool,
    now: datetime,
    plan: Plan,
) -> None:
    """A part that can still run: its end, or words on what holds it up."""
    job, pod = found.job, attempt.pod
    late = _too_long(view, job, pod, now, plan)
    if ending or index in found.parts.late:
        if attempt.job is not None and not attempt.job.metadata.deleting:
            plan.add(DeleteKubernetesJob(attempt.job.metadata, late or "the WpsJob ends"))
    elif late:
        # Written down before it is ended: once its Kubernetes Job is gone, nothing else tells why.
        found.parts = replace(found.parts, late=found.parts.late | {index})
    elif _never_starts(view, job, attempt, now, plan):
        _fail(found, index, _cannot_start(view, job, pod.cannot_start if pod else None))
        return
    if pod is None:
        return
    lost = overdue.lost_pod(pod, now, plan)
    if lost and job.status.reason != Reason.WAITING_FOR_POD:
        found.fields |= {"reason": Reason.WAITING_FOR_POD, "message": lost}
    elif pod.cannot_start and job.status.reason not in _PASSING:
        _tell_late_start(found, index, pod.cannot_start)


def _tell_late_start(found: Survey, index: int, why: str) -> None:
    words = f"{_name(found.job, index)} cannot start yet: {why}"
    found.fields |= {"reason": Reason.CANNOT_START, "message": shorten(words, MAX_MESSAGE)}


def _too_long(view: View, job: WpsJob, pod: Pod | None, now: datetime, plan: Plan) -> str | None:
    """Why a part that runs is to be ended, if it is: the backstop of its timeout."""
    return overdue.run(view, job, pod.started_at, now, plan) if pod and pod.running else None


def _never_starts(view: View, job: WpsJob, attempt: Attempt, now: datetime, plan: Plan) -> bool:
    if attempt.job is None or (attempt.pod is not None and attempt.pod.running):
        return False
    return overdue.start(view, job, attempt.job.metadata.created_at, now, plan)


def _conclude(view: View, found: Survey, index: int, attempt: Attempt, ending: bool) -> None:
    """A part none of whose pods can run any more."""
    job, end = found.job, _as_ended(view, found, index, attempt)
    parts = _released(found.parts, index)
    found.turn = replace(found.turn, freed=found.turn.freed + 1)
    if end.succeeded:
        found.parts = replace(parts, succeeded=parts.succeeded | {index})
        return
    if ending:
        found.parts = parts
        return
    policy, before = view.policy(job), parts.restarts.get(index, Restarts())
    after = _relaunch(policy, before, end)
    if after is None:
        found.parts = parts
        _fail(found, index, _given_up(policy, before, end))
        return
    found.parts = replace(parts, restarts={**parts.restarts, index: after})
    limit = f"restart {after.counted} of at most {policy.restart_limit}"
    counted = limit if after.counted > before.counted else "uncounted"
    words = f"{_name(job, index)} is repeated ({counted}): {end.message}"
    found.milestone = found.milestone or Milestone("PartRelaunched", words, warning=True)


def _as_ended(view: View, found: Survey, index: int, attempt: Attempt) -> Outcome:
    """How a part ended; of one that the operator ended, why, unless the worker's word says more."""
    end = outcome(attempt)
    if index not in found.parts.late or end.reason not in (Reason.CRASH, Reason.DISRUPTED):
        return end
    words = f"it ran for longer than its timeout of {view.policy(found.job).timeout_seconds} s"
    return Outcome(Reason.TIMEOUT, words, Cause.TIMEOUT, exit_code=end.exit_code)


def _relaunch(policy: Policy, before: Restarts, end: Outcome) -> Restarts | None:
    """The restarts of a part that is repeated, or None where it is not."""
    if end.reason in NEVER_REPEATED:
        return None
    if not end.counted and before.uncounted < MAX_UNCOUNTED:
        return replace(before, uncounted=before.uncounted + 1)
    if (end.cause or Cause.CRASH) not in policy.restart_on:
        return None
    if before.counted >= policy.restart_limit:
        return None
    return replace(before, counted=before.counted + 1)


def _given_up(policy: Policy, before: Restarts, end: Outcome) -> Outcome:
    if before.counted and before.counted >= policy.restart_limit:
        message = f"{end.message} (given up after {before.counted} restarts)"
        return replace(end, message=message)
    return end


def _cannot_start(view: View, job: WpsJob, why: str | None) -> Outcome:
    queue = view.queues.get(job.spec.queue)
    limit = f" within {queue.start_deadline_seconds} s" if queue else ""
    words = f"it could not start{limit}: {why or 'its pod gives no reason'}"
    return Outcome(Reason.CANNOT_START, words)


def _fail(found: Survey, index: int, end: Outcome) -> None:
    """Write down that a part has failed for good: in the next round, all that can run is ended."""
    parts = replace(found.parts, failed=found.parts.failed | {index})
    if parts.message is None:
        message = shorten(f"{_name(found.job, index)} failed: {end.message}", MAX_MESSAGE)
        parts = replace(parts, reason=str(end.reason), message=message)
        found.fields |= {"reason": end.reason, "message": message}
        found.milestone = Milestone("PartFailed", message, warning=True)
    found.parts = parts


def _released(parts: Parts, index: int) -> Parts:
    return replace(parts, running=parts.running - {index}, late=parts.late - {index})


def _end(view: View, found: Survey, now: datetime) -> PatchStatus:
    """The end of a fan-out none of whose parts runs any more."""
    job, parts = found.job, found.parts
    if parts.failed:
        phase, reason = Phase.FAILED, Reason(parts.reason or Reason.CRASH)
        message = parts.message or "A part failed"
    else:
        phase, reason = Phase.DISMISSED, Reason.DISMISSED
        message = f"Dismissed; {len(parts.succeeded)} of its {parts.total} parts were done"
    entry = {"finishedAt": format_time(now), "reason": str(reason)}
    attempts = attempt_entry(job.status.attempts, job.status.attempt, entry)
    return lifecycle.finish(
        view, job, phase, reason, message, now, parts=parts.to_json(), attempts=attempts
    )


def _transition(found: Survey, first: Pod | None, now: datetime) -> PatchStatus | None:
    """The step from phase to phase: the first part runs, or the whole is paused or goes on."""
    job = found.job
    if job.status.phase is Phase.SCHEDULED and first is not None:
        message = f"The first of {found.parts.total} parts runs in pod {first.metadata.name!r}"
        message += f" on node {first.node!r}" if first.node else ""
        # The entry of the attempt gets the time at which its merge step begins (attempts).
        started = {"startedAt": format_time(first.started_at or now)}
        to = Transition(Phase.STARTED, Reason.POD_RUNNING, message, started)
        return transit(job, to, now)
    return suspension.of_launched(job, now)


def _want(view: View, found: Survey, now: datetime, plan: Plan) -> None:
    """Which parts could be launched now, or whether the merge step could."""
    job, parts = found.job, found.parts
    most = total_wanted(job) - len(parts.running)
    ready: list[int] = []
    for index in _to_launch(parts):
        if len(ready) >= most:
            break
        pause = _pause(view, job, parts, index, now)
        if pause > 0:
            plan.wake(pause)
        else:
            ready.append(index)
    found.ready = ready
    found.turn = replace(
        found.turn,
        wanted=1 if parts.complete else len(ready),
        merge=parts.complete,
        holds=len(parts.running),
        launched_at=parts.launched_at,
    )


def _to_launch(parts: Parts) -> Iterator[int]:
    taken = parts.succeeded | parts.failed | parts.running
    return (index for index in range(parts.total) if index not in taken)


def _pause(view: View, job: WpsJob, parts: Parts, index: int, now: datetime) -> float:
    """Seconds that a part has still to wait before it is launched again."""
    restarts = parts.restarts.get(index)
    if restarts is None or not restarts.counted:
        return 0.0
    uid, tried = job.metadata.uid, restarts.tries - 1
    last = view.children.attempt(uid, parts.attempt, index, tried)
    ended = last.pod.finished_at if last.pod else None
    if ended is None and last.job is not None:
        ended = last.job.finished_at
    if ended is None:
        return 0.0
    pause = view.policy(job).backoff.seconds(restarts.counted)
    return (later(ended, pause) - now).total_seconds()


def _merge(view: View, found: Survey, now: datetime) -> Launch:
    """Launch the merge step, an attempt like any other but for its phase, which stays Started."""
    job, number = found.job, found.job.status.attempt
    name = kubernetes_job_name(job.metadata.name, number)
    message = (
        f"All {found.parts.total} parts are done; the merge step is being started as Kubernetes "
        f"Job {name!r}"
    )
    if job.status.phase is Phase.STARTED:
        patch: dict[str, Any] = {"reason": Reason.ADMITTED, "message": message}
    else:  # the first part was through before it was seen to run
        fields = {"startedAt": found.transition.patch.get("startedAt")} if found.transition else {}
        to = Transition(Phase.STARTED, Reason.ADMITTED, message, fields)
        patch = dict(transit(job, to, now).patch)
    patch |= {
        "jobName": name,
        "scheduledAt": format_time(now),
        "pausedSeconds": None,
        "parts": found.parts.to_json(),
        "progress": _progress(job, found.parts, now),
        "attempts": attempt_entry(job.status.attempts, number, {"jobName": name}),
    }
    admission = PatchStatus(job, patch, Milestone("Merging", message))
    return Launch(job, [lifecycle.manifest(view, job, number)], admission)


def _manifests(
    view: View, job: WpsJob, parts: Parts, indexes: Sequence[int]
) -> list[Mapping[str, Any]]:
    return [
        lifecycle.manifest(view, job, parts.attempt, index, parts.tries(index)) for index in indexes
    ]


def _progress(job: WpsJob, parts: Parts, now: datetime) -> dict[str, Any]:
    return lifecycle.progress_of_parts(replace(job, status=replace(job.status, parts=parts)), now)


def _name(job: WpsJob, index: int) -> str:
    """What messages call a part."""
    text = job.spec.parts[index] if index < len(job.spec.parts) else ""
    return f"Part {index} ({shorten(text, MAX_NAME)!r})"
