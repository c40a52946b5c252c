"""The asynchronous back-end of EOxServer: each Execute becomes a WpsJob."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO
from uuid import uuid4

from eoxserver.services.ows.wps.exceptions import (
    InvalidParameterValue,
    NoApplicableCode,
    NotEnoughStorage,
    ServerBusy,
)
from eoxserver.services.ows.wps.interfaces import AsyncBackendInterface
from eoxserver.services.ows.wps.parameters import ResponseForm
from eoxserver.services.ows.wps.v10.execute_util import parse_params

from wpsjobs.api.names import ANNOTATION_TASK, DEFAULT_WPS_VERSION, is_valid_job_id, resource_name
from wpsjobs.api.phases import Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver import (
    callbacks,
    config,
    crashpoints,
    jobs,
    logs,
    multipart,
    parts,
    processes,
)
from wpsjobs.eoxserver.client import Cluster, ClusterError, NotFoundError
from wpsjobs.eoxserver.context import JobContext, ResponseContext
from wpsjobs.eoxserver.crashpoints import CrashPoint
from wpsjobs.eoxserver.documents import ResponseDocuments, identifier_of, list_definitions
from wpsjobs.eoxserver.files import StorageError
from wpsjobs.eoxserver.owner import owner_of
from wpsjobs.eoxserver.requests import UnstorableError, WpsRequest, straightened
from wpsjobs.eoxserver.storage import RESPONSE, JobExistsError, Marker, Storage
from wpsjobs.eoxserver.submission import (
    BUSY,
    Deadline,
    RefusedError,
    UnknownOutcomeError,
    build_body,
    submit,
)
from wpsjobs.eoxserver.verdicts import Verdicts

logger = logging.getLogger(__name__)


class WpsJobBackend(AsyncBackendInterface):  # type: ignore[misc]  # EOxServer has no types
    """``EOXS_ASYNC_BACKENDS = ['wpsjobs.eoxserver.backend.WpsJobBackend']``.

    Safe for threads and for web servers that fork. Raises ImproperlyConfigured where the
    configuration cannot work.
    """

    supported_versions = (DEFAULT_WPS_VERSION,)

    def __init__(self) -> None:
        logs.keep_old_logger()
        self._config = config.load()
        self._config.check_directories()
        self._storage = Storage(
            self._config.path_temp, self._config.path_perm, self._config.path_task
        )
        self._cluster = Cluster(self._config.namespace, self._config.context)
        self._verdicts = Verdicts(self._cluster)

    def close(self) -> None:
        """End the watch and close connections; the next Execute opens others."""
        self._verdicts.close()
        self._cluster.close()

    def execute(
        self,
        process: Any,
        raw_inputs: dict[str, Any],
        resp_form: ResponseForm,
        extra_parts: Mapping[str, bytes] | None = None,
        job_id: str | None = None,
        version: str = DEFAULT_WPS_VERSION,
        **kwargs: Any,
    ) -> str:
        """Queue one Execute; the result is its job identifier.

        Raises the OWS exception for what is wrong with the request, ServerBusy where the queue is
        full or the operator cannot be reached; nothing is left behind then.
        """
        deadline = Deadline.after(self._config.accept_timeout)
        if version not in self.supported_versions:
            raise InvalidParameterValue(f"WPS {version} is not supported here.", "version")
        if job_id is not None and not is_valid_job_id(job_id):
            raise InvalidParameterValue(f"{job_id!r} cannot be a job identifier.", "job_id")
        request = WpsRequest(
            {key: straightened(key, raw) for key, raw in raw_inputs.items()},
            resp_form,
            dict(extra_parts or {}) | multipart.parts_of(kwargs.get("request")),
        )
        if resp_form.lineage:
            list_definitions(process)
        processes.validate(process, request)
        submission = Submission(
            self._storage, self._cluster, self._verdicts, process, request, job_id or str(uuid4())
        )
        spec: dict[str, Any] = {
            "version": version,
            "queue": self._config.queue,
            "responseUrl": self.get_response_url(submission.job_id),
        }
        if found := parts.partition(process, request):
            spec["parts"] = found
        if owner := owner_of(kwargs.get("request")):
            spec["owner"] = owner
        submission.run(spec, deadline)
        return submission.job_id

    def get_response_url(self, job_id: str) -> str:
        """URL of the stored response, whether the job exists or not."""
        return f"{self._config.url_base}/{job_id}/{RESPONSE}"

    def get_response(self, job_id: str) -> BinaryIO:
        """The stored response as a binary file, of an older back-end's job, too.

        Raises UnknownJobError where there is none.
        """
        if is_valid_job_id(job_id):
            with contextlib.suppress(FileNotFoundError):
                return self._storage.response_path(job_id).open("rb")
        raise jobs.UnknownJobError(job_id)

    def get_status(self, job_id: str) -> str:
        """ACCEPTED, STARTED, PAUSED, CANCELLED, FAILED or SUCCEEDED.

        Raises UnknownJobError, and ClusterError where the API server does not answer.
        """
        return jobs.status_of(self._cluster, self._storage, job_id)

    def list(
        self, job_ids: Iterable[str] | None = None, **_: Any
    ) -> list[tuple[str, dict[str, bool]]]:
        """The jobs that exist, of those given or of all, each with what is known of it.

        ``response_exists``, ``is_finished`` and ``is_active``. Raises ClusterError.
        """
        known = {job.id: job for job in self._jobs()}
        if job_ids is None:
            others = (m.id for m, _ in self._storage.markers() if m.task is None)
            wanted = [*known, *(job_id for job_id in others if job_id not in known)]
        else:
            wanted = [job_id for job_id in job_ids if is_valid_job_id(job_id)]
        return [
            (job_id, jobs.flags_of(self._storage, job_id, known.get(job_id)))
            for job_id in wanted
            if job_id in known or self._storage.exists(job_id)
        ]

    def list_queue(self, **_: Any) -> list[str]:  # type: ignore[valid-type]  # hidden by the method
        """Identifiers of the queued jobs, the next one first. Raises ClusterError."""
        return [job.id for job in self._queued()]

    def get_queue_size(self, **_: Any) -> int:
        """How many jobs are queued. Raises ClusterError."""
        return len(self._queued())

    def purge(self, job_id: str, process_id: str | None = None, **_: Any) -> None:
        """Remove the job with its results, whatever it is doing.

        Calls ``discard`` of the process *process_id*, else of the one the job was made for.
        Raises ClusterError and StorageError; a half-done purge can be repeated.
        """
        if not is_valid_job_id(job_id):
            raise jobs.UnknownJobError(job_id)
        job = jobs.find_job(self._cluster, job_id)
        marker = self._storage.marker(job_id)
        if marker is not None and marker.task is not None:
            raise jobs.UnknownJobError(job_id)  # a task of the tracker's
        # Before the WpsJob goes, for the housekeeper sees that at once.
        is_ours = self._storage.claim_discard(job_id) or (job is not None and marker is None)
        if job is not None:
            try:
                self._cluster.delete_job(job.metadata.name, uid=job.metadata.uid)
            except NotFoundError:
                pass
            except ClusterError:
                self._storage.release_discard(job_id)
                raise
        elif not self._storage.exists(job_id):
            return
        known = process_id or (job.spec.process if job else marker.process if marker else None)
        process = processes.find(known) if known else None
        if process is not None and is_ours:
            callbacks.notify(process, "discard", JobContext(job_id))
        try:
            self._storage.remove(job_id)
        except StorageError as error:
            # Its pod may still be writing. The housekeeper goes on where this stops.
            logger.warning("%s: not all is removed yet: %s", job_id, error)
            if marker is None:
                raise

    def cancel(self, job_id: str, **_: Any) -> None:
        """End the job; its record stays. Raises UnknownJobError and ClusterError."""
        self._patch(job_id, {"cancel": True})

    def pause(self, job_id: str, **_: Any) -> None:
        """Let a queued job wait aside, freeze a started one."""
        self._patch(job_id, {"suspend": True})

    def resume(self, job_id: str, **_: Any) -> None:
        """Let a paused job go on from where it was."""
        self._patch(job_id, {"suspend": False})

    def _patch(self, job_id: str, spec: dict[str, Any]) -> None:
        if not is_valid_job_id(job_id):
            raise jobs.UnknownJobError(job_id)
        try:
            self._cluster.patch_job(resource_name(job_id), {"spec": spec})
        except NotFoundError as error:
            raise jobs.UnknownJobError(job_id) from error

    def _jobs(self) -> Iterable[WpsJob]:
        """The WPS jobs; a task of the tracker's is none."""
        return [
            WpsJob.from_raw(raw)
            for raw in self._cluster.list_jobs().items
            if ANNOTATION_TASK not in (raw["metadata"].get("annotations") or {})
        ]

    def _queued(self) -> Sequence[WpsJob]:
        queued = (
            job
            for job in self._jobs()
            if job.spec.queue == self._config.queue and job.status.phase in {None, Phase.ACCEPTED}
        )
        return sorted(queued, key=lambda job: (-job.spec.priority, job.sequence))


class Submission:
    """One Execute on its way to a WpsJob, with all that has to be taken back on the way."""

    def __init__(
        self,
        storage: Storage,
        cluster: Cluster,
        verdicts: Verdicts,
        process: Any,
        request: WpsRequest,
        job_id: str,
    ) -> None:
        self.job_id = job_id
        self._storage, self._cluster, self._verdicts = storage, cluster, verdicts
        self._process, self._request = process, request
        self._uuid = str(uuid4())

    def run(self, spec: dict[str, Any], deadline: Deadline) -> None:
        """Queue it. Raises an OWS exception, with nothing left behind."""
        location = spec["responseUrl"]
        documents = ResponseDocuments(
            self._process, self._request.resp_form, self._request.raw_inputs, location
        )
        accepted = documents.accepted()
        marker = self._marker(deadline)
        self._reserve(marker)
        context = ResponseContext(self.job_id, location)
        try:
            crashpoints.pass_by(CrashPoint.DIRECTORIES_MADE)
            self._store_request(spec)
            crashpoints.pass_by(CrashPoint.REQUEST_STORED)
            callbacks.initialize(self._process, context, self._request)
            crashpoints.pass_by(CrashPoint.INITIALIZED)
            callbacks.notify(self._process, "on_accepted", context)
            crashpoints.pass_by(CrashPoint.ACCEPTED_TOLD)
            self._storage.write_response(self.job_id, accepted)
            crashpoints.pass_by(CrashPoint.DOCUMENT_WRITTEN)
            spec["submission"] = self._uuid
            body = build_body(self.job_id, marker.process, spec)
            submit(self._cluster, self._verdicts, body, deadline)
            crashpoints.pass_by(CrashPoint.VERDICT_HEARD)
        except UnknownOutcomeError as error:
            self._leave_to_housekeeper(marker)
            raise ServerBusy(BUSY) from error
        except RefusedError as refused:
            self._take_back()
            raise refused.error from refused
        except StorageError as error:
            self._take_back()
            logger.error("%s: %s", self.job_id, error)  # noqa: TRY400 (its words suffice)
            raise NotEnoughStorage("The request cannot be stored.") from error
        except BaseException:
            self._take_back()
            raise

    def _marker(self, deadline: Deadline) -> Marker:
        try:
            namespace_uid = self._cluster.namespace_uid(timeout=deadline.left())
        except ClusterError as error:
            logger.error("no job can be queued: %s", error)  # noqa: TRY400 (one line)
            raise ServerBusy(BUSY) from error
        return Marker(
            namespace_uid=namespace_uid,
            name=resource_name(self.job_id),
            id=self.job_id,
            process=identifier_of(self._process),
            submission=self._uuid,
        )

    def _reserve(self, marker: Marker) -> None:
        try:
            self._storage.reserve(marker)
        except JobExistsError as error:
            raise InvalidParameterValue(
                f"The job identifier {self.job_id!r} is already used.", "job_id"
            ) from error
        except StorageError as error:
            logger.error("%s: %s", self.job_id, error)  # noqa: TRY400 (its words suffice)
            raise NotEnoughStorage("The request cannot be stored.") from error

    def _store_request(self, spec: dict[str, Any]) -> None:
        neutral = self._request.to_neutral(parse_params(self._process.inputs))
        if neutral is not None:
            if execute := neutral.to_json():
                spec["execute"] = execute
            return
        try:
            payload = self._request.to_payload()
        except UnstorableError as error:
            raise NoApplicableCode(str(error)) from error
        sha256, size = self._storage.write_request(self.job_id, payload)
        spec["payload"] = {"sha256": sha256, "size": size}

    def _take_back(self) -> None:
        try:
            is_ours = self._storage.claim_discard(self.job_id)
            crashpoints.pass_by(CrashPoint.DISCARD_CLAIMED)
            # Before the marker goes, without which nobody would call it for a server that died.
            if is_ours:
                callbacks.notify(self._process, "discard", JobContext(self.job_id))
            self._storage.remove(self.job_id)
        except StorageError:
            logger.exception("%s: the housekeeper will remove what is left", self.job_id)

    def _leave_to_housekeeper(self, marker: Marker) -> None:
        """Keep the directories, so that no worker takes the job for one made by hand."""
        refused = Marker(**{**vars(marker), "refused": True})
        with contextlib.suppress(StorageError):
            self._storage.write_marker(refused)
