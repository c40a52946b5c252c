"""WpsJobs and queues as the API server would have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.cli.records import Queues

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def make_job(
    name: str, sequence: int = 1, status: dict[str, Any] | None = None, **spec: Any
) -> WpsJob:
    created = format_time(NOW - timedelta(minutes=5))
    return WpsJob.from_raw(
        {
            "metadata": {
                "name": name,
                "namespace": "wps",
                "uid": f"uid-{name}",
                "resourceVersion": str(sequence),
                "creationTimestamp": created,
            },
            "spec": {"process": "Echo", **spec},
            "status": {"sequence": sequence, **(status or {})},
        }
    )


def make_queue(name: str = "default", **spec: Any) -> WpsQueue:
    metadata = {"name": name, "namespace": "wps", "uid": f"uid-{name}", "resourceVersion": "1"}
    return WpsQueue.from_raw({"metadata": metadata, "spec": spec})


def make_queues(*jobs: WpsJob, **spec: Any) -> Queues:
    return Queues({"default": make_queue(**spec)}, jobs, NOW)
