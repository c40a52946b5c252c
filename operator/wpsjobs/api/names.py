"""Names of the API group, of labels and annotations, and of the objects made for a WpsJob."""

from __future__ import annotations

import hashlib
import re

GROUP = "wps.eoxserver.org"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

WPSJOB_KIND, WPSJOB_PLURAL = "WpsJob", "wpsjobs"
WPSQUEUE_KIND, WPSQUEUE_PLURAL = "WpsQueue", "wpsqueues"
WPSPROCESS_KIND, WPSPROCESS_PLURAL = "WpsProcess", "wpsprocesses"

LABEL_WPSJOB = f"{GROUP}/job"
"""Name of the WpsJob that a Kubernetes Job or pod belongs to."""
LABEL_QUEUE = f"{GROUP}/queue"
"""Name of the WpsQueue, likewise."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "wpsjobs"

ANNOTATION_ATTEMPT = f"{GROUP}/attempt"
"""On Kubernetes Jobs and pods: of which attempt they are, see ``wpsjobs.api.origin``."""
LABEL_KUBERNETES_JOB = "batch.kubernetes.io/job-name"
"""On pods, by Kubernetes: the name of their Kubernetes Job."""
ANNOTATION_FORCE_DELETE = f"{GROUP}/force-delete"
"""On a WpsProcess: allow its deletion while it still has WpsJobs."""

ANNOTATION_TASK = f"{GROUP}/task"
"""On a WpsJob: the identifier of the task of ``wpsjobs.tracker`` that it is; a WPS job has none."""

DEFAULT_QUEUE = "default"
DEFAULT_WPS_VERSION = "1.0.0"

WORKER_CONTAINER = "worker"
"""Name of the container of a job pod that runs the process."""

_JOB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
MAX_JOB_ID_LENGTH = 128
MAX_RESOURCE_NAME_LENGTH = 40
"""Leaves room for ``-<attempt>-p<index>`` and a suffix within the 63 characters of a label."""


def is_valid_job_id(job_id: str) -> bool:
    """Whether *job_id* may be a WPS job identifier, and so a directory and a URL path segment."""
    return len(job_id) <= MAX_JOB_ID_LENGTH and _JOB_ID.fullmatch(job_id) is not None


def resource_name(job_id: str) -> str:
    """The ``metadata.name`` of the WpsJob with the WPS job identifier *job_id*.

    It is *job_id* itself where that is a DNS label of at most 40 characters, else ``job-`` and
    the first 32 hexadecimal digits of its SHA-256.
    """
    if len(job_id) <= MAX_RESOURCE_NAME_LENGTH and _DNS_LABEL.fullmatch(job_id):
        return job_id
    return "job-" + hashlib.sha256(job_id.encode()).hexdigest()[:32]


def attempt_name(attempt: int, part: int | None = None, tried: int = 0) -> str:
    """What tells the launches of one WpsJob apart: ``2``, for a part ``2-p13``, then ``2-p13-r1``.

    *attempt* counts from 1, *part* is an index in ``spec.parts``, *tried* says how often that part
    was launched before.
    """
    name = str(attempt) if part is None else f"{attempt}-p{part}"
    return f"{name}-r{tried}" if tried else name


def kubernetes_job_name(name: str, attempt: int, part: int | None = None, tried: int = 0) -> str:
    """Name of the Kubernetes Job of such a launch of the WpsJob *name*."""
    return f"{name}-{attempt_name(attempt, part, tried)}"
