"""The Kubernetes Job of an attempt, as the WpsQueue's template and the WpsProcess make it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from wpsjobs.api.attempt import TERMINATION_LOG, Environment
from wpsjobs.api.names import (
    API_VERSION,
    WORKER_CONTAINER,
    WPSJOB_KIND,
    kubernetes_job_name,
)
from wpsjobs.api.origin import Origin
from wpsjobs.api.policy import Policy
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import WpsQueue

COMMAND = ["python", "-m", "wpsjobs.worker"]
ENV = "env"
"""The program of POSIX, which every image has."""
GRACE_SECONDS = 30
"""For the process to end after SIGTERM, where the template does not say."""


@dataclass(frozen=True)
class Assignment:
    """What a Kubernetes Job is to do."""

    job: WpsJob
    attempt: int
    """From 1."""
    part: int | None = None
    """Index of the part, where it is not to do the whole."""
    tried: int = 0
    """How often that part was launched before."""

    @property
    def name(self) -> str:
        """Name of the Kubernetes Job."""
        return kubernetes_job_name(self.job.metadata.name, self.attempt, self.part, self.tried)


def kubernetes_job(
    what: Assignment,
    queue: WpsQueue,
    process: WpsProcess,
    service_account: str,
) -> dict[str, Any]:
    """The manifest of an attempt of a WpsJob, or of a part of it.

    The template of *queue* gives the image, the volumes and the rest of the pod; *process* adds its
    resources, environment and node selector. Command, service account and restart policy are the
    operator's, whatever the template says.
    """
    job = what.job
    # Limits per process and owner hold for its pods even where the WpsJob is deleted.
    origin = Origin(
        wpsjob=job.metadata.name,
        uid=job.metadata.uid,
        queue=queue.metadata.name,
        attempt=what.attempt,
        part=what.part,
        tried=what.tried,
        process=job.spec.process,
        owner=job.spec.owner.identity,
    )
    labels, annotations = origin.metadata().values()
    template = copy.deepcopy(dict(queue.template))
    template_metadata = dict(template.get("metadata") or {})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": what.name,
            "namespace": job.metadata.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [_owner(job)],
        },
        "spec": {
            # One pod, once: the operator alone decides on relaunches (invariants 3 and 4).
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {
                    **template_metadata,
                    "labels": {**(template_metadata.get("labels") or {}), **labels},
                    "annotations": {**(template_metadata.get("annotations") or {}), **annotations},
                },
                "spec": _pod_spec(
                    dict(template.get("spec") or {}), what, queue, process, service_account
                ),
            },
        },
    }


def _owner(job: WpsJob) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": WPSJOB_KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _pod_spec(
    spec: dict[str, Any],
    what: Assignment,
    queue: WpsQueue,
    process: WpsProcess,
    service_account: str,
) -> dict[str, Any]:
    containers: list[dict[str, Any]] = list(spec.get("containers") or [{"name": WORKER_CONTAINER}])
    names = [container.get("name") for container in containers]
    index = names.index(WORKER_CONTAINER) if WORKER_CONTAINER in names else 0
    containers[index] = _container(containers[index], what, queue, process)
    spec["containers"] = containers
    spec["restartPolicy"] = "Never"
    spec["serviceAccountName"] = service_account
    spec.pop("serviceAccount", None)
    spec.setdefault("terminationGracePeriodSeconds", GRACE_SECONDS)
    if process.node_selector:
        spec["nodeSelector"] = {**(spec.get("nodeSelector") or {}), **process.node_selector}
    return spec


def _container(
    container: dict[str, Any], what: Assignment, queue: WpsQueue, process: WpsProcess
) -> dict[str, Any]:
    of_process = {variable.get("name") for variable in process.env}
    inherited = [v for v in container.get("env") or [] if v.get("name") not in of_process]
    env = inherited + [dict(variable) for variable in process.env]
    container = {
        **container,
        "name": container.get("name") or WORKER_CONTAINER,
        "command": _command(what, queue, process),
        "env": env,
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "File",
    }
    container.pop("args", None)
    if not env:
        del container["env"]
    if process.resources:
        container["resources"] = copy.deepcopy(dict(process.resources))
    return container


def _command(what: Assignment, queue: WpsQueue, process: WpsProcess) -> list[str]:
    """The worker, with what it is to do set as the last of all that sets its environment.

    Not as the container's ``env``: each variable there costs at every write of the pod.
    """
    job = what.job
    policy = Policy.resolve(job, process, queue)
    variables = {
        Environment.NAMESPACE: job.metadata.namespace,
        Environment.NAME: job.metadata.name,
        Environment.ATTEMPT: str(what.attempt),
        Environment.KUBERNETES_JOB: what.name,
        Environment.TIMEOUT_SECONDS: str(policy.timeout_seconds),
        # Said even where they are empty: the template may set them to something else.
        Environment.KEEP_LOGS: "true" if queue.keep_logs else "false",
        Environment.HANDLER: process.handler or "",
        Environment.PART: "" if what.part is None else str(what.part),
        Environment.TRY: str(what.tried),
    }
    return [ENV, *(f"{name}={value}" for name, value in variables.items()), *COMMAND]
