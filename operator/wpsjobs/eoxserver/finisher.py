"""The last word on jobs that ended without their worker's: the response, ``on_failed``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from eoxserver.services.ows.wps.parameters import ResponseDocument
from eoxserver.services.ows.wps.v10.execute_util import parse_params

from wpsjobs.api.attempt import TerminationMessage
from wpsjobs.api.names import attempt_name
from wpsjobs.api.phases import Phase, Reason
from wpsjobs.api.request import ExecuteRequest
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver import callbacks, processes
from wpsjobs.eoxserver.config import Config
from wpsjobs.eoxserver.context import ResponseContext
from wpsjobs.eoxserver.documents import (
    FINAL_STATUSES,
    DocumentStatus,
    ReportedError,
    ResponseDocuments,
    UnknownProcess,
    read_status,
)
from wpsjobs.eoxserver.requests import WpsRequest
from wpsjobs.eoxserver.storage import RESPONSE, Final, Marker, Storage

logger = logging.getLogger(__name__)

OWN_WORDS = frozenset({Reason.PROCESS_ERROR, Reason.CLIENT_ERROR, Reason.BAD_REQUEST})
"""Reasons for which the worker has left the exception with its code and locator."""


@dataclass(frozen=True)
class Finisher:
    """Writes final responses. Idempotent; its methods raise StorageError."""

    config: Config
    storage: Storage
    namespace_uid: str

    def finish(self, job: WpsJob) -> bool:
        """Write ProcessFailed for a failed or dismissed *job*; whether there was anything to do.

        What the parts of a fan-out left for its merge step is removed once that has succeeded.
        """
        if job.status.phase is Phase.SUCCEEDED and job.spec.parts:
            self.storage.wipe_workspace(job.id)
        if job.status.phase not in {Phase.FAILED, Phase.DISMISSED}:
            return False
        marker = self.storage.marker(job.id)
        if marker is not None and not self._is_of(marker, job):
            return False
        if marker is not None and marker.task is not None:
            self.storage.wipe_workspace(job.id)
            return False  # nobody waits for a document of a task
        if marker is None:
            # Made without the plugin and ended before any pod of it ran: nothing was initialised.
            self.storage.adopt(self._marker_of(job))
        elif self._is_final(job):
            return False
        error = self._error(job)
        logger.info("%s: writing the response ProcessFailed: %s", job.id, error)
        self._write(job, error, notify=marker is not None)
        return True

    def note_paused(self, job: WpsJob) -> None:
        """Tell the process that its job is paused; nothing changes in the response."""
        process = processes.find(job.spec.process)
        if process is not None and self.storage.marker(job.id) is not None:
            percent = job.status.progress.percent if job.status.progress else 0
            callbacks.notify(process, "on_paused", self._context(job), percent)

    def _is_of(self, marker: Marker, job: WpsJob) -> bool:
        same = (marker.namespace_uid, marker.name, marker.submission) == (
            self.namespace_uid,
            job.metadata.name,
            job.spec.submission,
        )
        if not same:
            logger.warning("%s: the directories belong to another submission", job.id)
        return same

    def _marker_of(self, job: WpsJob) -> Marker:
        return Marker(
            namespace_uid=self.namespace_uid,
            name=job.metadata.name,
            id=job.id,
            process=job.spec.process,
            submission=job.spec.submission,
        )

    def _is_final(self, job: WpsJob) -> bool:
        """Whether the response is final, by the worker's or an earlier housekeeper's word."""
        document = self.storage.response(job.id)
        status = read_status(document) if document is not None else None
        if status is DocumentStatus.SUCCEEDED:
            logger.warning("%s: %s, yet its response is final", job.id, job.status.phase)
            return True
        final = self.storage.final(job.id)
        return (
            status in FINAL_STATUSES
            and final is not None
            and final.retries == job.status.retries_seen
        )

    def _error(self, job: WpsJob) -> ReportedError:
        status = job.status
        message = status.message or f"The job ended: {status.reason or status.phase}."
        part = _failed_part(job)
        stored = self.storage.error(job.id, part or status.attempt)
        words = TerminationMessage.from_json(stored) if stored else None
        if words is not None and status.reason in OWN_WORDS:
            return ReportedError(words.code, words.locator, message if part else words.message)
        locator = status.reason or (status.phase.value if status.phase else None)
        return ReportedError("NoApplicableCode", locator, message)

    def _write(self, job: WpsJob, error: ReportedError, *, notify: bool) -> None:
        process = processes.find(job.spec.process)
        request = self._request(job, process)
        context = self._context(job)
        documents = ResponseDocuments(
            process or UnknownProcess(job.spec.process),
            request.resp_form,
            request.raw_inputs,
            context.status_location,
        )
        try:
            document = documents.failed(error.code, error.locator, str(error))
        except Exception:
            # Its lineage cannot be repeated (a process that has changed meanwhile): do without.
            logger.exception("%s: the response is written without lineage", job.id)
            documents = ResponseDocuments(
                process or UnknownProcess(job.spec.process),
                ResponseDocument(),
                {},
                context.status_location,
            )
            document = documents.failed(error.code, error.locator, str(error))
        if job.status.phase is Phase.DISMISSED:
            self.storage.remove_outputs(job.id)
        self.storage.wipe_workspace(job.id)
        self.storage.write_response(job.id, document, sync=True)
        if process is not None and notify:
            callbacks.notify(process, "on_failed", context, error)
        # The last act: until here, all of it is done again after an interruption.
        self.storage.write_final(job.id, Final(job.status.attempt, job.status.retries_seen))

    def _request(self, job: WpsJob, process: Any | None) -> WpsRequest:
        """The request, for lineage; an empty one where it cannot be read."""
        spec = job.spec
        try:
            if spec.payload_sha256 is not None and spec.payload_size is not None:
                return WpsRequest.from_payload(
                    self.storage.read_request(job.id, spec.payload_sha256, spec.payload_size)
                )
            neutral = ExecuteRequest.from_json(spec.execute or {})
            definitions = parse_params(process.inputs) if process is not None else {}
            return WpsRequest.from_neutral(neutral, definitions)
        except Exception as error:
            logger.info("%s: no lineage, for the request cannot be read: %s", job.id, error)
            return WpsRequest({}, ResponseDocument())

    def _context(self, job: WpsJob) -> ResponseContext:
        url = job.spec.response_url or f"{self.config.url_base}/{job.id}/{RESPONSE}"
        return ResponseContext(job.id, url)


def _failed_part(job: WpsJob) -> str | None:
    """The part that ended *job*, which the message names, as ``attempt_name`` has it."""
    parts, message = job.status.parts, job.status.message or ""
    failed = parts.failed if parts else ()
    index = next((one for one in failed if message.startswith(f"Part {one} ")), None)
    return attempt_name(parts.attempt, index) if parts and index is not None else None
