"""One round of decisions on one namespace: data in, a plan out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from wpsjobs.api.origin import Origin
from wpsjobs.api.phases import Phase, Reason
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import Executor, WpsQueue
from wpsjobs.controller import admission, attempts, claims, fanout, lifecycle, told
from wpsjobs.controller.actions import (
    Action,
    DeleteKubernetesJob,
    PatchStatus,
    Plan,
)
from wpsjobs.controller.view import View, is_admitted, is_queued, units


def decide(view: View, now: datetime) -> Plan:
    """What is to be done in the namespace of *view* at the moment *now*.

    The actions touch different objects and can be carried out at once. Each is safe whether or not
    the others succeed; the caller looks again at what they made of the namespace until a plan is
    empty.
    """
    plan = Plan()
    new: list[WpsJob] = []
    fanouts: list[fanout.Survey] = []
    for job in view.jobs:
        try:
            if job.in_parts and not job.metadata.deleting:
                fanouts.append(fanout.survey(view, job, now, plan))
            else:
                _look_at(view, job, now, plan, new)
        except Exception as error:  # a status can be spoilt by hand in ways nobody thought of
            plan.problems.append((job, error))
    patched = [action.job for action in plan.actions if isinstance(action, PatchStatus)]
    for queue in view.queues.values():
        mine = [job for job in new if job.spec.queue == queue.metadata.name]
        its = [found for found in fanouts if found.job.spec.queue == queue.metadata.name]
        _serve(view, queue, mine, its, now, plan, settling=_is_settling(queue, patched))
        told.tell_queue(view, queue, now, plan)
    for found in fanouts:
        if found.job.spec.queue not in view.queues:
            _go_on(view, found, 0, now, now, plan, alone=True)
    told.tell_processes(view, plan)
    _clean_up(view, now, plan)
    if view.next_expiry is not None:
        plan.wake((view.next_expiry - now).total_seconds())
    return plan


def _look_at(view: View, job: WpsJob, now: datetime, plan: Plan, new: list[WpsJob]) -> None:
    """Put what *job* needs into *plan*, or itself into *new* where its queue is to decide."""
    if job.metadata.deleting:
        return
    if job.status.phase is None:
        refusal = lifecycle.refuse_at_sight(view, job, now)
        if refusal is None:
            new.append(job)
        elif _may_be_hasty(view, job, refusal):
            plan.list_again = True
        else:
            plan.add(refusal)
    elif job.finished:
        _after_the_end(view, job, now, plan)
    elif is_admitted(job):
        advance = claims.advance if claims.is_by_claim(view, job) else attempts.advance
        advance(view, job, now, plan)
    else:
        plan.add(*(claims.take(view, job, now) or lifecycle.wait(view, job, now)))


def _may_be_hasty(view: View, job: WpsJob, refusal: PatchStatus) -> bool:
    """Whether the queue or process that *job* names may have been made just before it.

    Each kind has a watch of its own, and one can lag behind another.
    """
    unknown = (Reason.UNKNOWN_QUEUE, Reason.UNKNOWN_PROCESS)
    return refusal.patch["reason"] in unknown and job.sequence > view.names_listed_at


def take_over(view: View, now: datetime) -> list[Action]:
    """Change every unfinished WpsJob without a slot, so that late writes to it conflict.

    A Lease alone is no fence (invariant 9): a leader that was stopped between its look at the
    Lease and its write could admit a WpsJob long after another one has begun to. What holds a slot
    is safe: its next steps are the same whoever takes them. But a fan-out takes others.
    """
    actions: list[Action] = []
    for job in view.jobs:
        if job.finished or (is_admitted(job) and not job.in_parts) or job.metadata.deleting:
            continue
        if job.in_parts:
            words = f"The operator was replaced at {format_time(now)}; the parts go on"
            patch: Mapping[str, Any] = {"message": words}
        elif job.status.phase is None:
            # The stamp of its order, which its first transition would write anyway; it may be there
            # since an earlier replacement, and what changes nothing makes nothing conflict.
            words = f"Seen; the operator was replaced at {format_time(now)}"
            patch = {"sequence": job.sequence, "message": words}
        else:
            words = f"Waiting in the queue {job.spec.queue!r}"
            patch = {"message": f"{words}; the operator was replaced at {format_time(now)}"}
        actions.append(PatchStatus(job, patch))
    return actions


def _is_settling(queue: WpsQueue, patched: Sequence[WpsJob]) -> bool:
    """Whether room may be made in *queue* by the changes of the WpsJobs that are *patched*."""
    if queue.executor is Executor.JOBS:
        return bool(patched)  # a slot that becomes free anywhere, and so a place
    return any(is_queued(job) and job.spec.queue == queue.metadata.name for job in patched)


def _serve(
    view: View,
    queue: WpsQueue,
    new: list[WpsJob],
    fanouts: list[fanout.Survey],
    now: datetime,
    plan: Plan,
    *,
    settling: bool,
) -> None:
    # A relaunch or a retry that goes into the queue in this very round takes a place in it.
    arriving = [
        action.job
        for action in plan.actions
        if isinstance(action, PatchStatus)
        and action.job.spec.queue == queue.metadata.name
        and action.patch.get("phase") == Phase.ACCEPTED
        and not is_queued(action.job)
    ]
    turns = [found.turn for found in fanouts]
    verdicts = admission.judge(
        view, queue, new, now, turns=turns, arriving=arriving, settling=settling
    )
    # Each launch of a part has a time of its own, by which fan-outs take turns.
    last = (found.parts.launched_at for found in fanouts)
    at = max([now, *(one + timedelta(microseconds=1) for one in last if one is not None)])
    for job in verdicts.admitted:
        try:
            if job.parts_done:
                plan.add(lifecycle.launch(view, job, now))
            else:
                number = verdicts.slots[job.metadata.name]
                plan.add(fanout.begin(view, job, number, at, now))
        except Exception as error:  # the template is free text, but for what the schema knows of it
            plan.problems.append((job, error))
    for found in fanouts:
        granted = verdicts.slots[found.job.metadata.name]
        _go_on(view, found, granted, at, now, plan, alone=verdicts.alone)
    for job in verdicts.accepted:
        plan.add(lifecycle.accept(job, now))
    for job, why in verdicts.rejected:
        plan.add(lifecycle.finish(view, job, Phase.REJECTED, Reason.QUEUE_FULL, why, now))
    if verdicts.wake_in is not None:
        plan.wake(verdicts.wake_in)


def _go_on(
    view: View,
    found: fanout.Survey,
    granted: int,
    at: datetime,
    now: datetime,
    plan: Plan,
    *,
    alone: bool,
) -> None:
    try:
        action = fanout.act(view, found, granted, at, now, alone=alone)
    except Exception as error:  # as above
        plan.problems.append((found.job, error))
        return
    if action is not None:
        plan.add(action)


def _after_the_end(view: View, job: WpsJob, now: datetime, plan: Plan) -> None:
    if job.spec.retries > job.status.retries_seen and job.status.phase is not Phase.REJECTED:
        if job.metadata.name not in view.able_to_run:
            plan.add(lifecycle.retry(job, now))
    else:
        lifecycle.expire(view, job, now, plan)


def _clean_up(view: View, now: datetime, plan: Plan) -> None:
    """Remove the Kubernetes Jobs that were kept for their logs for long enough."""
    current = {job.metadata.uid: job for job in view.jobs}
    for child in view.children.jobs():
        if not child.finished or child.finished_at is None or child.metadata.deleting:
            continue
        job = current.get(child.origin.uid)
        if job is not None and _is_current(job, child.origin):
            continue  # its end has not been read yet
        queue = view.queues.get(child.origin.queue)
        keep = timedelta(seconds=queue.keep_pods_seconds if queue else 0)
        left = (child.finished_at + keep - now).total_seconds()
        if left <= 0:
            plan.add(DeleteKubernetesJob(child.metadata, "it was kept for long enough", ended=True))
        else:
            plan.wake(left)


def _is_current(job: WpsJob, origin: Origin) -> bool:
    """Whether *job* holds a slot for what is *origin*, or pauses after it (see ``fanout``)."""
    if origin.part is None or not job.in_parts or job.status.parts is None:
        return origin.unit in units(job) and job.status.attempt == origin.attempt
    parts = job.status.parts
    done = origin.part in parts.succeeded | parts.failed
    return not done and origin.tried >= parts.tries(origin.part) - 1
