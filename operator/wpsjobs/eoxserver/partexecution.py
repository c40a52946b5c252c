"""One part of a fan-out at work, in the child of its pod's supervisor."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wpsjobs.api.attempt import ExitCode
from wpsjobs.api.names import attempt_name
from wpsjobs.eoxserver import callbacks, parts, processes
from wpsjobs.eoxserver.attempt import SUCCEEDED, AttemptError, End, Part, termination_of
from wpsjobs.eoxserver.files import StorageError
from wpsjobs.eoxserver.requests import WpsRequest

if TYPE_CHECKING:
    from wpsjobs.eoxserver.execution import Execution

logger = logging.getLogger("wpsjobs.execution")

PREPARING, PREPARED = "preparing", "prepared"
"""Files in the task directory of a job made without the plugin: a part calls ``initialize``."""
PREPARE_SECONDS = 60.0
"""After which a part that prepares its job is taken for dead."""
PREPARE_POLL_SECONDS = 0.2


class PartExecution:
    """Executes a part and leaves its result; the response is the merge step's alone."""

    def __init__(self, execution: Execution, part: Part) -> None:
        self._execution, self._part = execution, part
        self._job, self._storage = execution.job, execution.storage
        self._attempt = execution.number

    def run(self, process: Any, request: WpsRequest, workspace: Path, is_new: bool) -> End:
        """Execute the part. An error is for the operator, which says what becomes of the job."""
        self._execution.set_up(process, request, workspace, self._part)
        os.chdir(workspace)
        try:
            if is_new or self._storage.is_claimed(self._job.id, PREPARING):
                self._prepare(request)
            self._tell_start(process)
            inputs = self._execution.inputs(request)
            try:
                result = process.execute_part(
                    self._part.text, context=self._execution.context, **inputs
                )
            except SystemExit as error:
                raise RuntimeError(f"the process called sys.exit({error.code!r})") from error
            path = self._storage.result_path(self._job.id, self._attempt, self._part.index)
            parts.store_result(path, self._part.text, result)
        except (StorageError, AttemptError):
            raise
        except Exception as error:
            return self._fail(error)
        finally:
            os.chdir(self._storage.path_temp)
            self._storage.wipe_workspace(self._job.id, self._part.name)
        return SUCCEEDED

    def _prepare(self, request: WpsRequest) -> None:
        """Have a job made without the plugin prepared, by one of its parts alone."""
        until = time.monotonic() + 2 * PREPARE_SECONDS
        while not self._storage.is_claimed(self._job.id, PREPARED):
            if self._storage.claim(self._job.id, PREPARING, PREPARE_SECONDS):
                self._execution.prepare(request)
                self._storage.claim(self._job.id, PREPARED)
            elif time.monotonic() > until:
                raise AttemptError(
                    ExitCode.CRASHED, "Another part of the job does not get to preparing it."
                )
            else:
                time.sleep(PREPARE_POLL_SECONDS)

    def _tell_start(self, process: Any) -> None:
        """The first part to run tells that the job has started."""
        done = self._job.status.parts
        percent = done.percent if done else 0
        self._storage.write_response(self._job.id, self._execution.documents.started(percent, ""))
        if self._storage.claim(self._job.id, f"{self._attempt}.started"):
            callbacks.notify(process, "on_started", self._execution.context, 0, None)

    def _fail(self, error: Exception) -> End:
        termination = termination_of(error)
        logger.error("%s: part %s failed", self._job.id, self._part.index, exc_info=error)
        name = attempt_name(self._attempt, self._part.index)
        self._storage.write_error(self._job.id, name, termination.to_json())
        is_client = processes.is_client_error(error)
        return End(ExitCode.CLIENT_ERROR if is_client else ExitCode.PROCESS_ERROR, termination)
