"""What a status patch that was taken means to the metrics."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import Histogram

from wpsjobs.api.phases import FINISHED, Phase, Reason
from wpsjobs.api.times import parse_time
from wpsjobs.controller import metrics
from wpsjobs.controller.actions import PatchQueueStatus, PatchStatus, Plan


def account(action: PatchStatus) -> None:
    """Count the transition that *action* made."""
    phase, job = action.patch.get("phase"), action.job
    if phase is None:
        return
    labels = {"namespace": job.metadata.namespace, "process": job.spec.process}
    if phase in FINISHED:
        metrics.FINISHED.labels(**labels, phase=str(phase)).inc()
        if job.status.started_at is not None:
            _observe(metrics.RUN_SECONDS, labels, job.status.started_at, action, "finishedAt")
    elif phase is Phase.STARTED and job.status.accepted_at is not None:
        _observe(metrics.WAIT_SECONDS, labels, job.status.accepted_at, action, "startedAt")
    elif action.patch.get("reason") is Reason.RELAUNCH:
        attempts = action.patch.get("attempts") or [{}]
        reason = str(attempts[-1].get("reason"))
        metrics.RESTARTS.labels(**labels, reason=reason).inc()


def account_queues(plan: Plan) -> None:
    """Set the gauges of the queues whose counts changed."""
    for action in plan.actions:
        if isinstance(action, PatchQueueStatus):
            labels = {"namespace": action.queue.namespace, "queue": action.queue.name}
            metrics.QUEUED.labels(**labels).set(action.status["queued"])
            metrics.RUNNING.labels(**labels).set(action.status["running"])


def _observe(
    histogram: Histogram,
    labels: dict[str, str],
    since: datetime,
    action: PatchStatus,
    key: str,
) -> None:
    until = parse_time(str(action.patch[key]))
    histogram.labels(**labels).observe(max(0.0, (until - since).total_seconds()))
