"""What the status of queues and processes tells of their WpsJobs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from wpsjobs.api.phases import Phase, QueueCondition
from wpsjobs.api.times import format_seconds
from wpsjobs.api.wpsqueue import Executor, WpsQueue
from wpsjobs.controller.actions import PatchProcessStatus, PatchQueueStatus, Plan
from wpsjobs.controller.view import View, is_queued


def tell_queue(view: View, queue: WpsQueue, now: datetime, plan: Plan) -> None:
    """Put the counts and conditions of *queue* into *plan* where its status has others."""
    jobs = view.of_queue(queue.metadata.name)
    status: dict[str, Any] = {
        "queued": sum(1 for job in jobs if is_queued(job)),
        "running": len(view.held_slots(queue.metadata.name)),
        "paused": sum(1 for job in jobs if job.status.phase is Phase.PAUSED),
    }
    told = {"queued": queue.queued, "running": queue.running, "paused": queue.paused}
    active, is_news = _active(queue, now)
    if status != told or is_news:
        plan.add(PatchQueueStatus(queue.metadata, status | {"conditions": [active]}))


def tell_processes(view: View, plan: Plan) -> None:
    """Put into *plan* how many WpsJobs each process has, where its status says another number."""
    if view.job_counts is None:
        return
    for process in view.processes.values():
        count = view.job_counts.get(process.identifier, 0)
        if process.jobs != count:
            plan.add(PatchProcessStatus(process.metadata, {"jobs": count}))


def _active(queue: WpsQueue, now: datetime) -> tuple[Mapping[str, Any], bool]:
    """The condition ``Active`` of *queue*, and whether its status has another one."""
    if queue.suspend:
        state, reason = False, "Held"
        message = "spec.suspend is set: running WpsJobs go on, and no other one is started"
    elif queue.executor is Executor.CONSUMERS:
        state, reason, message = True, "Consumers", "Consumers of their own pull the WpsJobs"
    else:
        state, reason = True, "Serving"
        message = "WpsJobs are started in their order as slots become free"
    condition = {
        "type": str(QueueCondition.ACTIVE),
        "status": str(state),
        "observedGeneration": queue.metadata.generation,
        "lastTransitionTime": format_seconds(now),
        "reason": reason,
        "message": message,
    }
    old = next((c for c in queue.conditions if c.get("type") == QueueCondition.ACTIVE), None)
    if old is None:
        return condition, True
    if old.get("status") == condition["status"] and old.get("lastTransitionTime"):
        condition["lastTransitionTime"] = old["lastTransitionTime"]
    same = all(old.get(key) == condition[key] for key in ("status", "reason", "message"))
    return condition, not same
