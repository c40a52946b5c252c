"""WpsJobs of tasks, as the API server has them."""

from __future__ import annotations

from typing import Any

from wpsjobs.api.wpsjob import WpsJob


def raw_job(spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """The JSON of a WpsJob with that status."""
    return {
        "metadata": {"name": "task-1", "namespace": "wps", "uid": "u", "resourceVersion": "7"},
        "spec": {"process": "Sum", "queue": "tracker", **(spec or {})},
        "status": status,
    }


def job(spec: dict[str, Any] | None = None, **status: Any) -> WpsJob:
    """The same, parsed."""
    return WpsJob.from_raw(raw_job(spec, **status))
