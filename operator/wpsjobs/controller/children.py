"""Kubernetes Jobs and pods of WpsJobs, parsed once from the API server's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wpsjobs.api.fields import Raw
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.names import LABEL_KUBERNETES_JOB, WORKER_CONTAINER
from wpsjobs.api.origin import Origin
from wpsjobs.api.times import parse_time

_CANNOT_START = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that mean more than "not yet"."""


_Launch = tuple[str, int, int | None, int]
"""UID of the WpsJob, attempt, part and how often that part was tried before."""


@dataclass(frozen=True)
class KubernetesJob:
    """A Kubernetes Job that the operator made for an attempt of a WpsJob."""

    metadata: Metadata
    origin: Origin
    finished: bool
    complete: bool
    """Its pod exited with 0, known or not."""
    finished_at: datetime | None
    failure: str | None
    """Words of its ``Failed`` condition."""

    @classmethod
    def from_raw(cls, raw: Raw) -> KubernetesJob:
        """Raises KeyError or ValueError where *raw* is none of ours."""
        metadata = raw["metadata"]
        conditions = {
            condition["type"]: condition
            for condition in raw.get("status", {}).get("conditions") or []
            if condition.get("status") == "True"
        }
        end = conditions.get("Complete") or conditions.get("Failed")
        failed = conditions.get("Failed")
        return cls(
            metadata=Metadata.from_raw(raw),
            origin=Origin.from_metadata(metadata),
            finished=end is not None,
            complete="Complete" in conditions,
            finished_at=_time(end and end.get("lastTransitionTime")),
            failure=failed and f"{failed.get('reason')}: {failed.get('message')}",
        )


@dataclass(frozen=True)
class Pod:
    """A pod of such a Kubernetes Job."""

    metadata: Metadata
    origin: Origin
    kubernetes_job: str
    phase: str
    node: str | None
    started_at: datetime | None
    ended: bool
    """No container of it runs or will run again."""
    finished_at: datetime | None
    exit_code: int | None
    container_reason: str | None
    """Why the container ended, as the kubelet has it: ``OOMKilled``, ``Error``, …"""
    termination_message: str | None
    eviction_message: str | None
    """The kubelet's words where it ended the pod for what the pod used."""
    cannot_start: str | None
    """Words for a pod that waits for what may never come: an image, a volume, a node."""
    disruption: str | None
    """Reason of the condition ``DisruptionTarget``: an eviction, a drain, a preemption."""

    @classmethod
    def from_raw(cls, raw: Raw) -> Pod:
        """Raises KeyError or ValueError where *raw* is none of ours."""
        metadata, status = raw["metadata"], raw.get("status", {})
        labels = metadata.get("labels") or {}
        container = _container_state(status)
        terminated = container.get("terminated") or {}
        running = container.get("running") or terminated
        phase = status.get("phase", "Pending")
        disruption = _condition(status, "DisruptionTarget")
        return cls(
            metadata=Metadata.from_raw(raw),
            origin=Origin.from_metadata(metadata),
            kubernetes_job=labels.get(LABEL_KUBERNETES_JOB, ""),
            phase=phase,
            node=raw.get("spec", {}).get("nodeName"),
            started_at=_time(running.get("startedAt")),
            ended=phase in ("Succeeded", "Failed"),
            finished_at=_time(terminated.get("finishedAt")),
            exit_code=terminated.get("exitCode"),
            container_reason=terminated.get("reason") or status.get("reason"),
            termination_message=terminated.get("message") or status.get("message"),
            eviction_message=status.get("message") if status.get("reason") == "Evicted" else None,
            cannot_start=_cannot_start(status, container),
            disruption=disruption.get("reason") if disruption.get("status") == "True" else None,
        )

    @property
    def running(self) -> bool:
        """Whether the process has begun, as far as the kubelet has said."""
        return self.phase == "Running"


@dataclass(frozen=True)
class Attempt:
    """The Kubernetes Job of one attempt and the pods made for it."""

    job: KubernetesJob | None
    pods: tuple[Pod, ...]

    @property
    def pod(self) -> Pod | None:
        """Its pod; where one was replaced, that which ended, for it has the exit code."""
        return max(self.pods, key=lambda pod: (pod.ended, pod.metadata.name), default=None)

    @property
    def can_run(self) -> bool:
        """Whether any pod of it runs or may still be made (invariants 2 and 4)."""
        if any(not pod.ended for pod in self.pods):
            return True
        # With backoffLimit 0 and one completion, a Kubernetes Job never makes a second pod once
        # one has ended, whether or not its controller has got to saying so.
        return self.job is not None and not self.job.finished and not self.pods


class Children:
    """All Kubernetes Jobs and pods of a namespace's WpsJobs, by WpsJob, attempt and part."""

    def __init__(self, jobs: Iterable[KubernetesJob], pods: Iterable[Pod]) -> None:
        self._jobs: dict[_Launch, KubernetesJob] = {}
        self._pods: dict[_Launch, list[Pod]] = {}
        self._by_name: dict[str, KubernetesJob] = {}
        for job in jobs:
            self._jobs[_launch(job.origin)] = job
            self._by_name[job.metadata.name] = job
        for pod in pods:
            self._pods.setdefault(_launch(pod.origin), []).append(pod)

    def attempt(self, uid: str, number: int, part: int | None = None, tried: int = 0) -> Attempt:
        """What there is of attempt *number* of the WpsJob with this *uid*, or of a part's."""
        key = (uid, number, part, tried)
        return Attempt(self._jobs.get(key), tuple(self._pods.get(key, ())))

    def job(self, name: str) -> KubernetesJob | None:
        """The Kubernetes Job of this name, whosever it is."""
        return self._by_name.get(name)

    def able_to_run(self) -> Iterator[Origin]:
        """The attempts of which a pod runs or may still be made."""
        for key in self._jobs.keys() | self._pods.keys():
            attempt = self.attempt(*key)
            if attempt.can_run:
                yield attempt.job.origin if attempt.job else attempt.pods[0].origin

    def jobs(self) -> Iterable[KubernetesJob]:
        """All Kubernetes Jobs."""
        return self._jobs.values()


def _launch(origin: Origin) -> _Launch:
    return origin.uid, origin.attempt, origin.part, origin.tried


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def _condition(status: Raw, kind: str) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = status.get("conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def _container_state(status: Raw) -> dict[str, Any]:
    statuses: list[dict[str, Any]] = status.get("containerStatuses") or []
    found = next((one for one in statuses if one.get("name") == WORKER_CONTAINER), None)
    state: dict[str, Any] = (found or (statuses or [{}])[0]).get("state") or {}
    return state


def _cannot_start(status: Raw, container: Raw) -> str | None:
    waiting = container.get("waiting") or {}
    if waiting.get("reason") in _CANNOT_START:
        return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"{scheduled.get('reason')}: {scheduled.get('message', '')}".rstrip(": ")
    return None
