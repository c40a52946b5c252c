"""Reading jobs: from their WpsJob, and for those without one from their files."""

from __future__ import annotations

from typing import Any

from wpsjobs.api.names import is_valid_job_id, resource_name
from wpsjobs.api.phases import EOXSERVER_STATUS, UNFINISHED, Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver.client import Cluster, NotFoundError
from wpsjobs.eoxserver.documents import FINAL_STATUSES, DocumentStatus, read_status
from wpsjobs.eoxserver.storage import Storage

_STATUS_OF_DOCUMENT = {
    DocumentStatus.ACCEPTED: "ACCEPTED",
    DocumentStatus.STARTED: "STARTED",
    DocumentStatus.PAUSED: "PAUSED",
    DocumentStatus.SUCCEEDED: "SUCCEEDED",
    DocumentStatus.FAILED: "FAILED",
}


class UnknownJobError(LookupError):
    """There is no job of that identifier."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.")


def find_job(cluster: Cluster, job_id: str) -> WpsJob | None:
    """The WpsJob of that job identifier, or None. Raises ClusterError."""
    if not is_valid_job_id(job_id):
        return None
    try:
        return WpsJob.from_raw(cluster.get_job(resource_name(job_id)))
    except NotFoundError:
        return None


def status_of(cluster: Cluster, storage: Storage, job_id: str) -> str:
    """A status of EOxServer's interface. Raises UnknownJobError and ClusterError."""
    job = find_job(cluster, job_id)
    if job is not None:
        # Created a moment ago, the operator has not seen it: it will be accepted, or is no job.
        return EOXSERVER_STATUS[job.status.phase or Phase.ACCEPTED]
    document = storage.response(job_id) if is_valid_job_id(job_id) else None
    status = read_status(document) if document is not None else None
    if status is None:
        raise UnknownJobError(job_id)
    return _STATUS_OF_DOCUMENT[status]


def flags_of(storage: Storage, job_id: str, job: WpsJob | None) -> dict[str, Any]:
    """What ``WpsJobBackend.list`` says of a job."""
    document = storage.response(job_id)
    return {
        "response_exists": document is not None,
        "is_finished": job.finished
        if job is not None
        else document is not None and read_status(document) in FINAL_STATUSES,
        "is_active": job is not None and (job.status.phase or Phase.ACCEPTED) in UNFINISHED,
    }
