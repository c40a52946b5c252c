"""Objects as the API server would give them, with as little written out as a test needs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from wpsjobs.api.names import (
    ANNOTATION_ATTEMPT,
    API_VERSION,
    LABEL_KUBERNETES_JOB,
    LABEL_QUEUE,
    LABEL_WPSJOB,
    WPSJOB_KIND,
    WPSPROCESS_KIND,
    WPSQUEUE_KIND,
)
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.controller.children import (
    Attempt,
    Children,
    KubernetesJob,
    Pod,
)
from wpsjobs.controller.view import View

NAMESPACE = "wps"
NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def ago(seconds: float) -> str:
    """The time *seconds* before ``NOW`` as text."""
    return format_time(NOW - timedelta(seconds=seconds))


def raw_wpsjob(
    name: str,
    *,
    version: int = 10,
    spec: Mapping[str, Any] | None = None,
    status: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": WPSJOB_KIND,
        "metadata": _metadata(name, version, metadata),
        "spec": {"process": "Echo", "queue": "default", **(spec or {})},
        **({"status": dict(status)} if status is not None else {}),
    }


def raw_queue(
    name: str = "default", *, version: int = 1, status: Any = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": WPSQUEUE_KIND,
        "metadata": _metadata(name, version, {}),
        "spec": spec,
        **({"status": status} if status is not None else {}),
    }


def raw_process(
    identifier: str = "Echo", *, version: int = 1, status: Any = None, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": WPSPROCESS_KIND,
        "metadata": _metadata(identifier.lower(), version, {}),
        "spec": {"identifier": identifier, **spec},
        **({"status": status} if status is not None else {}),
    }


def raw_kubernetes_job(
    wpsjob: str,
    attempt: int = 1,
    *,
    version: int = 20,
    queue: str = "default",
    owner_uid: str | None = None,
    end: str | None = None,
    finished_at: str | None = None,
    failure: str = "BackoffLimitExceeded",
    **metadata: Any,
) -> dict[str, Any]:
    """*end* is the type of its final condition: ``Complete`` or ``Failed``."""
    conditions = []
    if end:
        conditions = [
            {
                "type": end,
                "status": "True",
                "lastTransitionTime": finished_at or ago(0),
                **({"reason": failure, "message": "it failed"} if end == "Failed" else {}),
            }
        ]
    uid = owner_uid or f"uid-{wpsjob}"
    owner = {"apiVersion": API_VERSION, "kind": WPSJOB_KIND, "name": wpsjob, "uid": uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            **_metadata(f"{wpsjob}-{attempt}", version, metadata),
            **origin(wpsjob, attempt, queue, uid),
            "ownerReferences": [owner],
        },
        "status": {"conditions": conditions},
    }


def raw_pod(
    wpsjob: str,
    attempt: int = 1,
    *,
    version: int = 30,
    queue: str = "default",
    phase: str = "Pending",
    exit_code: int | None = None,
    reason: str | None = None,
    message: str | None = None,
    started_at: str | None = None,
    finished_at: str | None = None,
    waiting: Mapping[str, str] | None = None,
    conditions: Iterable[Mapping[str, str]] = (),
    node: str | None = "node-1",
    suffix: str = "abcde",
    owner_uid: str | None = None,
    **status: Any,
) -> dict[str, Any]:
    """A pod; an exit code makes its container terminated."""
    state: dict[str, Any] = {}
    if exit_code is not None:
        terminated = {
            "exitCode": exit_code,
            "reason": reason or ("Completed" if exit_code == 0 else "Error"),
            "message": message,
            "startedAt": started_at or ago(60),
            "finishedAt": finished_at or ago(5),
        }
        state = {"terminated": {k: v for k, v in terminated.items() if v is not None}}
    elif phase == "Running":
        state = {"running": {"startedAt": started_at or ago(60)}}
    elif waiting:
        state = {"waiting": dict(waiting)}
    statuses = [{"name": "worker", "state": state}] if state else []
    kubernetes_job = f"{wpsjob}-{attempt}"
    ours = origin(wpsjob, attempt, queue, owner_uid)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **_metadata(f"{kubernetes_job}-{suffix}", version, {}),
            "labels": {**ours["labels"], LABEL_KUBERNETES_JOB: kubernetes_job},
            "annotations": ours["annotations"],
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "name": kubernetes_job,
                    "uid": f"uid-{kubernetes_job}",
                }
            ],
        },
        "spec": {"nodeName": node} if node else {},
        "status": {
            "phase": phase,
            "containerStatuses": statuses,
            "conditions": [dict(condition) for condition in conditions],
            **({"reason": reason} if reason and exit_code is None else {}),
            **status,
        },
    }


def wpsjob(name: str, **arguments: Any) -> WpsJob:
    return WpsJob.from_raw(raw_wpsjob(name, **arguments))


def queue(name: str = "default", **arguments: Any) -> WpsQueue:
    return WpsQueue.from_raw(raw_queue(name, **arguments))


def process(identifier: str = "Echo", **arguments: Any) -> WpsProcess:
    return WpsProcess.from_raw(raw_process(identifier, **arguments))


def kubernetes_job(wpsjob: str, attempt: int = 1, **arguments: Any) -> KubernetesJob:
    return KubernetesJob.from_raw(raw_kubernetes_job(wpsjob, attempt, **arguments))


def pod(wpsjob: str, attempt: int = 1, **arguments: Any) -> Pod:
    return Pod.from_raw(raw_pod(wpsjob, attempt, **arguments))


def attempt(job: KubernetesJob | None = None, *pods: Pod) -> Attempt:
    return Attempt(job, pods)


def view(
    *jobs: WpsJob,
    queues: Iterable[WpsQueue] | None = None,
    processes: Iterable[WpsProcess] | None = None,
    children: Iterable[KubernetesJob | Pod] = (),
) -> View:
    """A namespace with one queue and the process Echo, unless told otherwise."""
    queues = [queue()] if queues is None else list(queues)
    processes = [process()] if processes is None else list(processes)
    children = list(children)
    return View(
        jobs=jobs,
        queues={one.metadata.name: one for one in queues},
        processes={one.identifier: one for one in processes},
        children=Children(
            [child for child in children if isinstance(child, KubernetesJob)],
            [child for child in children if isinstance(child, Pod)],
        ),
        worker_service_account="wpsjobs-worker",
        job_counts=Counter(job.spec.process for job in jobs),
    )


def merged(old: Any, patch: Any) -> Any:
    """*old* after a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    new = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        else:
            new[key] = merged(new.get(key), value)
    return new


def scheduled(name: str, number: int = 1, **status: Any) -> dict[str, Any]:
    """The status of a WpsJob that has just got a slot."""
    return {
        "phase": "Scheduled",
        "reason": "Admitted",
        "sequence": 10,
        "attempt": number,
        "jobName": f"{name}-{number}",
        "acceptedAt": ago(100),
        "scheduledAt": ago(90),
        "attempts": [{"number": number, "jobName": f"{name}-{number}"}],
        **status,
    }


def started(name: str, number: int = 1, **status: Any) -> dict[str, Any]:
    """The status of a WpsJob of which a pod runs."""
    return scheduled(
        name, number, **{"phase": "Started", "reason": "PodRunning", "startedAt": ago(80), **status}
    )


def origin(
    wpsjob: str,
    attempt: int = 1,
    queue: str = "default",
    uid: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Labels and annotations of an object of an attempt; *more* is put into what they say of it."""
    said = {"uid": uid or f"uid-{wpsjob}", "number": attempt, "process": "", **more}
    return {
        "labels": {LABEL_WPSJOB: wpsjob, LABEL_QUEUE: queue},
        "annotations": {ANNOTATION_ATTEMPT: json.dumps(said)},
    }


def _metadata(name: str, version: int, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "creationTimestamp": "2026-01-31T09:00:00Z",
        "generation": 1,
        **more,
    }
