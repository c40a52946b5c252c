"""What a status patch that was taken means to the metrics."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import Histogram

from wpsjobs.api.phases import FINISHED, Phase, Reason
from wpsjobs.api.times import parse_time
from wpsjobs.controller import metrics
from wpsjobs.controller.actions import PatchStatus
from wpsjobs.controller.view import View, is_queued


def account(action: PatchStatus) -> None:
    """Count the transition that *action* made."""
    phase, job = action.patch.get("phase"), action.job
    if phase is None:
        return
    labels = {"namespace": job.metadata.namespace, "process": job.spec.process}
    if phase in FINISHED:
        metrics.FINISHED.labels(**labels, phase=str(phase)).inc()
        if phase == Phase.REJECTED:
            metrics.REJECTED.labels(**labels, reason=str(action.patch["reason"])).inc()
        # A pod can be through before its start is told: then the end tells it, too.
        told = action.patch.get("startedAt")
        began = parse_time(str(told)) if told else job.status.started_at or job.status.scheduled_at
        if began is not None and job.status.phase != Phase.ACCEPTED:
            _observe(metrics.RUN_SECONDS, labels, began, action, "finishedAt")
    elif phase == Phase.SCHEDULED and job.status.attempt == 0:
        since = job.status.accepted_at or parse_time(str(action.patch["scheduledAt"]))
        _observe(metrics.WAIT_SECONDS, labels, since, action, "scheduledAt")
    elif action.patch.get("reason") is Reason.RELAUNCH:
        attempts = action.patch.get("attempts") or [{}]
        reason = str(attempts[-1].get("reason"))
        metrics.RESTARTS.labels(**labels, reason=reason).inc()


def account_queues(view: View) -> None:
    """Set the gauges of all queues."""
    for name, queue in view.queues.items():
        labels = {"namespace": queue.metadata.namespace, "queue": name}
        metrics.QUEUED.labels(**labels).set(sum(map(is_queued, view.of_queue(name))))
        metrics.RUNNING.labels(**labels).set(len(view.held_slots(name)))


def _observe(
    histogram: Histogram,
    labels: dict[str, str],
    since: datetime,
    action: PatchStatus,
    key: str,
) -> None:
    until = parse_time(str(action.patch[key]))
    histogram.labels(**labels).observe(max(0.0, (until - since).total_seconds()))
