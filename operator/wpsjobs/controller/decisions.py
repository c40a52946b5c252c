"""One round of decisions on one namespace: data in, a plan out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from wpsjobs.api.phases import Phase, Reason
from wpsjobs.api.resources import Executor, WpsJob, WpsQueue
from wpsjobs.api.times import format_time
from wpsjobs.controller import admission, attempts, lifecycle, told
from wpsjobs.controller.actions import (
    Action,
    DeleteKubernetesJob,
    PatchStatus,
    Plan,
)
from wpsjobs.controller.view import View, holds_slot, is_queued


def decide(view: View, now: datetime) -> Plan:
    """What is to be done in the namespace of *view* at the moment *now*.

    The actions touch different objects and can be carried out at once. Each is safe whether or not
    the others succeed; the caller looks again at what they made of the namespace until a plan is
    empty.
    """
    plan = Plan()
    new: list[WpsJob] = []
    for job in view.jobs:
        try:
            _look_at(view, job, now, plan, new)
        except Exception as error:  # a status can be spoilt by hand in ways nobody thought of
            plan.problems.append((job, error))
    settling = any(isinstance(action, PatchStatus) for action in plan.actions)
    for queue in view.queues.values():
        if queue.executor is Executor.JOBS:
            mine = [job for job in new if job.spec.queue == queue.metadata.name]
            _serve(view, queue, mine, now, plan, settling=settling)
        told.tell_queue(view, queue, now, plan)
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
        else:
            plan.add(refusal)
    elif job.finished:
        _after_the_end(view, job, now, plan)
    elif holds_slot(job):
        attempts.advance(view, job, now, plan)
    else:
        plan.add(*lifecycle.wait(view, job, now))


def take_over(view: View, now: datetime) -> list[Action]:
    """Change every unfinished WpsJob without a slot, so that late writes to it conflict.

    A Lease alone is no fence (invariant 9): a leader that was stopped between its look at the
    Lease and its write could admit a WpsJob long after another one has begun to. What holds a slot
    is safe: its next steps are the same whoever takes them.
    """
    actions: list[Action] = []
    for job in view.jobs:
        if job.finished or holds_slot(job) or job.metadata.deleting:
            continue
        if job.status.phase is None:
            # The stamp of its order, which its first transition would write anyway.
            patch: Mapping[str, Any] = {"sequence": job.sequence}
        else:
            words = f"Waiting in the queue {job.spec.queue!r}"
            patch = {"message": f"{words}; the operator was replaced at {format_time(now)}"}
        actions.append(PatchStatus(job, patch))
    return actions


def _serve(
    view: View, queue: WpsQueue, new: list[WpsJob], now: datetime, plan: Plan, *, settling: bool
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
    verdicts = admission.judge(view, queue, new, now, arriving=arriving, settling=settling)
    for job in verdicts.admitted:
        try:
            plan.add(lifecycle.launch(view, job, now))
        except Exception as error:  # the template is free text, but for what the schema knows of it
            plan.problems.append((job, error))
    for job in verdicts.accepted:
        plan.add(lifecycle.accept(job, now))
    for job, why in verdicts.rejected:
        plan.add(lifecycle.finish(view, job, Phase.REJECTED, Reason.QUEUE_FULL, why, now))
    if verdicts.wake_in is not None:
        plan.wake(verdicts.wake_in)


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
        if job is not None and holds_slot(job) and job.status.attempt == child.origin.attempt:
            continue  # its end has not been read yet
        queue = view.queues.get(child.origin.queue)
        keep = timedelta(seconds=queue.keep_pods_seconds if queue else 0)
        left = (child.finished_at + keep - now).total_seconds()
        if left <= 0:
            plan.add(DeleteKubernetesJob(child.metadata, "it was kept for long enough", ended=True))
        else:
            plan.wake(left)
