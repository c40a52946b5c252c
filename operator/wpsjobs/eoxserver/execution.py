"""``python -m wpsjobs.eoxserver.execution``: the child of a job pod's supervisor.

It runs Django and one attempt of one process, and makes the response final.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wpsjobs.api.attempt import Environment, ExitCode, TerminationMessage
from wpsjobs.api.crashpoints import CrashPoint, is_here
from wpsjobs.api.parts import SHARE_OF_PARTS
from wpsjobs.api.request import ExecuteRequest, RequestError
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver.attempt import (
    SUCCEEDED,
    AttemptError,
    End,
    Part,
    class_of,
    parts_of,
    termination_of,
)

if TYPE_CHECKING:
    from wpsjobs.eoxserver.channel import Channel
    from wpsjobs.eoxserver.config import Config
    from wpsjobs.eoxserver.requests import WpsRequest
    from wpsjobs.eoxserver.storage import Storage


def _logger() -> logging.Logger:
    """Not made before Django has configured logging, which switches off what is there already."""
    return logging.getLogger("wpsjobs.execution")


def main() -> int:
    """Run the attempt that the supervisor names; the result is the exit code."""
    # What is imported stays: looking through it for garbage is a sixth of the start.
    gc.disable()
    from wpsjobs.eoxserver.channel import Channel, ChannelError  # noqa: PLC0415

    try:
        channel = Channel.from_environment()
    except ChannelError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        end = _run(channel)
        channel.end(end.code, end.termination)
    except ChannelError as error:
        _logger().warning("%s", error)
        return 2
    return int(end.code)


def _run(channel: Channel) -> End:
    # Django starts while the supervisor still reads the WpsJob.
    try:
        import django  # noqa: PLC0415 (timed: the first line of the process is what counts)

        django.setup()
        from wpsjobs.eoxserver import config, logs  # noqa: PLC0415 (needs Django's settings)

        logs.keep_old_logger()
        logs.show_unless_configured()
        loaded = config.load()
        loaded.check_directories()
    except Exception as error:
        _logger().exception("the instance does not start")
        return End(
            ExitCode.CRASHED,
            TerminationMessage(f"The instance does not start: {error}", locator=class_of(error)),
        )
    gc.freeze()
    gc.enable()
    raw, number = channel.receive_job()
    from wpsjobs.eoxserver.files import StorageError  # noqa: PLC0415 (needs Django's settings)

    try:
        return Attempt(channel, loaded, raw, number).run()
    except AttemptError as error:
        return error.end
    except StorageError as error:
        _logger().error("%s", error)
        return End(ExitCode.CRASHED, TerminationMessage(str(error), locator="StorageError"))


class Attempt:
    """One attempt of one WpsJob."""

    def __init__(self, channel: Channel, loaded: Config, raw: dict[str, Any], number: int) -> None:
        from wpsjobs.eoxserver.storage import Storage  # noqa: PLC0415

        self._channel, self._config, self._raw = channel, loaded, raw
        self._job = WpsJob.from_raw(raw)
        self._number = number
        self._part = Part.assigned(self._job)
        self._storage = Storage(loaded.path_temp, loaded.path_perm, loaded.path_task)

    def run(self) -> End:
        """Raises AttemptError where the attempt ends before the process has its say."""
        from wpsjobs.eoxserver import processes  # noqa: PLC0415

        is_new = self._claim_directories()
        if self._part is None and self._is_already_final():
            self._storage.wipe_workspace(self._job.id)
            return SUCCEEDED
        name = self._part.name if self._part else str(self._number)
        workspace = self._storage.begin(self._job.id, name, parts_of=parts_of(self._job))
        if workspace is None:
            raise AttemptError(
                ExitCode.SUPERSEDED,
                f"Another pod has begun the attempt {name} of {self._job.id}.",
            )
        if os.environ.get(Environment.KEEP_LOGS) == "true":
            self._channel.log_to(str(self._storage.log_path(self._job.id, name)))
        process = processes.find(self._job.spec.process)
        if process is None:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                f"There is no process {self._job.spec.process!r}. "
                f"There are: {', '.join(processes.identifiers())}.",
                locator="process identifier",
            )
        request = self._request(process)
        execution = Execution(self._channel, self._config, self._storage, self._job, self._number)
        if self._part is None:
            return execution.run(process, request, workspace, is_new)
        from wpsjobs.eoxserver.partexecution import PartExecution  # noqa: PLC0415

        return PartExecution(execution, self._part).run(process, request, workspace, is_new)

    def _claim_directories(self) -> bool:
        """Whether the job was made without the plugin, so that nobody has prepared it."""
        marker = self._storage.marker(self._job.id)
        if marker is None:
            self._storage.make_task_dir(self._job.id)
            return True
        if marker.refused:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                "The client of this job was told that the server is busy; it is not executed.",
            )
        if marker.submission != self._job.spec.submission:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                f"The directories of {self._job.id} belong to another submission of that "
                "identifier; remove them, or give the job another identifier.",
            )
        return False

    def _is_already_final(self) -> bool:
        """Whether an attempt before this one died between its last act and its exit."""
        from wpsjobs.eoxserver.documents import DocumentStatus, read_status  # noqa: PLC0415

        final = self._storage.final(self._job.id)
        if final is None or final.retries != self._job.status.retries_seen:
            return False
        document = self._storage.response(self._job.id)
        return document is not None and read_status(document) is DocumentStatus.SUCCEEDED

    def _request(self, process: Any) -> WpsRequest:
        from eoxserver.services.ows.wps.v10.execute_util import parse_params  # noqa: PLC0415

        from wpsjobs.eoxserver.requests import WpsRequest  # noqa: PLC0415
        from wpsjobs.eoxserver.storage import PayloadError  # noqa: PLC0415

        spec = self._job.spec
        try:
            if spec.payload_sha256 is not None and spec.payload_size is not None:
                return WpsRequest.from_payload(
                    self._storage.read_request(self._job.id, spec.payload_sha256, spec.payload_size)
                )
            neutral = ExecuteRequest.from_json(spec.execute or {})
            return WpsRequest.from_neutral(neutral, parse_params(process.inputs))
        except (PayloadError, RequestError) as error:
            raise AttemptError(ExitCode.BAD_REQUEST, str(error), locator=class_of(error)) from error
        except Exception as error:  # what unpickling raises where a class has changed meanwhile
            raise AttemptError(
                ExitCode.BAD_REQUEST, f"The request cannot be read: {error}", locator="request"
            ) from error


class Execution:
    """The process at work."""

    def __init__(
        self, channel: Channel, loaded: Config, storage: Storage, job: WpsJob, number: int
    ) -> None:
        self._channel, self._config, self.storage = channel, loaded, storage
        self.job, self.number = job, number
        self._url = f"{loaded.url_base}/{job.id}"

    def run(self, process: Any, request: WpsRequest, workspace: Path, is_new: bool) -> End:
        """Execute the process, call its callbacks, make the response final."""
        from wpsjobs.eoxserver import processes  # noqa: PLC0415
        from wpsjobs.eoxserver.channel import ChannelError  # noqa: PLC0415
        from wpsjobs.eoxserver.files import StorageError  # noqa: PLC0415

        self.set_up(process, request, workspace)
        os.chdir(workspace)
        try:
            if is_new:
                self.prepare(request)
            document = self._execute(request)
        except (StorageError, ChannelError, AttemptError):
            raise
        except Exception as error:
            if processes.is_client_error(error):
                return self._fail_finally(error)
            return self._fail(error)
        finally:
            os.chdir(self._config.path_temp)
            # A merge step that is repeated needs what the parts left; the housekeeper removes it.
            name = None if parts_of(self.job) is None else self.number
            self.storage.wipe_workspace(self.job.id, name)
        self._finalise(document, "The process has ended.")
        return SUCCEEDED

    def set_up(
        self, process: Any, request: WpsRequest, workspace: Path, part: Part | None = None
    ) -> None:
        from wpsjobs.eoxserver import parts  # noqa: PLC0415
        from wpsjobs.eoxserver.context import ExecutionContext, Publication  # noqa: PLC0415
        from wpsjobs.eoxserver.documents import ResponseDocuments  # noqa: PLC0415

        self._process = process
        self._is_parallel = parts.is_parallel(process)
        self._is_merging = not self._is_parallel
        if self.job.spec.parts and not self._is_parallel:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                f"The process {self.job.spec.process} cannot be executed in parts: its class "
                "needs partition() and execute_part(). Submit the job without spec.parts.",
            )
        shared = None
        if self._is_parallel:
            shared = self.storage.shared_dir(self.job.id, parts_of(self.job) or self.number)
            shared.mkdir(parents=True, exist_ok=True)
        self.context = ExecutionContext(
            self.job.id,
            workspace,
            Publication(self.storage.perm_dir(self.job.id), self._url),
            self._on_progress,
            shared,
            part.index if part else None,
        )
        self.documents = ResponseDocuments(
            process, request.resp_form, request.raw_inputs, self.context.status_location
        )

    def prepare(self, request: WpsRequest) -> None:
        """Do what the plugin does on Execute, for a job made without it."""
        from wpsjobs.eoxserver import callbacks, processes  # noqa: PLC0415
        from wpsjobs.eoxserver.storage import Marker  # noqa: PLC0415

        self.storage.adopt(
            Marker(
                namespace_uid=self._channel.namespace_uid(),
                name=self.job.metadata.name,
                id=self.job.id,
                process=self.job.spec.process,
                submission=self.job.spec.submission,
            )
        )
        processes.validate(self._process, request)
        callbacks.initialize(self._process, self.context, request)
        callbacks.notify(self._process, "on_accepted", self.context)
        self.storage.write_response(self.job.id, self.documents.accepted())

    def _execute(self, request: WpsRequest) -> bytes:
        """The ProcessSucceeded document. Raises whatever the process raises."""
        from eoxserver.services.ows.wps.v10.execute_util import (  # noqa: PLC0415
            pack_outputs,
            parse_params,
        )

        from wpsjobs.eoxserver import callbacks  # noqa: PLC0415
        from wpsjobs.eoxserver.context import ProgressWriter  # noqa: PLC0415

        self._writer = ProgressWriter(self._write_started)
        began = SHARE_OF_PARTS if self.job.spec.parts else 0
        self._writer.report(began, "")
        self._channel.progress(began, "")
        if not self.job.spec.parts:  # else a part has told
            callbacks.notify(self._process, "on_started", self.context, 0, None)
        output_defs = parse_params(self._process.outputs)
        inputs = self.inputs(request)
        try:
            if self._is_parallel:
                inputs["parts"] = self._results(request, inputs)
                self._is_merging = True
            outputs = self._process.execute(context=self.context, **inputs)
        except SystemExit as error:
            raise RuntimeError(f"the process called sys.exit({error.code!r})") from error
        packed = pack_outputs(outputs, request.resp_form, output_defs)
        document = self.documents.succeeded(packed)
        callbacks.notify(self._process, "on_succeeded", self.context, packed)
        return document

    def inputs(self, request: WpsRequest) -> dict[str, Any]:
        """The arguments for the process. Raises the OWS exception for what is wrong with them."""
        from eoxserver.services.ows.wps.util import InMemoryURLResolver  # noqa: PLC0415
        from eoxserver.services.ows.wps.v10.execute_util import (  # noqa: PLC0415
            decode_output_requests,
            parse_params,
        )

        from wpsjobs.eoxserver import processes  # noqa: PLC0415

        resolver = InMemoryURLResolver(request.extra_parts, self.context.logger)
        inputs = decode_output_requests(request.resp_form, parse_params(self._process.outputs))
        inputs.update(processes.decode(self._process, request, resolver))
        return dict(inputs)

    def _results(self, request: WpsRequest, inputs: dict[str, Any]) -> list[Any]:
        """What the parts returned; where there was no fan-out, they are executed here and now."""
        from wpsjobs.eoxserver import parts  # noqa: PLC0415

        attempt = parts_of(self.job)
        if attempt is None:
            return self._execute_parts(parts.partition(self._process, request), inputs)
        try:
            return [
                parts.read_result(self.storage.result_path(self.job.id, attempt, index), text)
                for index, text in enumerate(self.job.spec.parts)
            ]
        except parts.ResultError as error:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                f"{error} Raise spec.retries to have all parts executed again.",
                locator="parts",
            ) from error

    def _execute_parts(self, texts: list[str], inputs: dict[str, Any]) -> list[Any]:
        """What the parts return, executed one after the other."""
        results, workspace = [], self.context.workspace_path
        for index, text in enumerate(texts):
            percent = SHARE_OF_PARTS * index // len(texts)
            self._report(percent, f"{index} of {len(texts)} parts are done")
            with tempfile.TemporaryDirectory(dir=workspace) as directory:
                os.chdir(directory)
                context = self.context.for_part(index, Path(directory))
                results.append(self._process.execute_part(text, context=context, **inputs))
                os.chdir(workspace)
        return results

    def _on_progress(self, percent: int, message: str) -> None:
        if not self._is_merging:
            return  # it is a part's, of several
        if self._is_parallel:
            percent = SHARE_OF_PARTS + percent * (100 - SHARE_OF_PARTS) // 100
        self._report(percent, message)

    def _report(self, percent: int, message: str) -> None:
        from wpsjobs.eoxserver import callbacks  # noqa: PLC0415

        self._writer.report(percent, message)
        self._channel.progress(percent, message)
        callbacks.notify(self._process, "on_progress_update", self.context, percent, message)

    def _write_started(self, percent: int, message: str) -> None:
        self.storage.write_response(self.job.id, self.documents.started(percent, message))

    def _fail_finally(self, error: Exception) -> End:
        """The client's own error: its answer is known, and no other attempt would better it."""
        from wpsjobs.eoxserver import callbacks  # noqa: PLC0415

        termination = termination_of(error)
        callbacks.notify(self._process, "on_failed", self.context, error)
        document = self.documents.failed(termination.code, termination.locator, termination.message)
        self.storage.write_error(self.job.id, self.number, termination.to_json())
        self._finalise(document, "The request cannot be executed.")
        return End(ExitCode.CLIENT_ERROR, termination)

    def _fail(self, error: Exception) -> End:
        """The operator says whether this is the end; the document is the housekeeper's then."""
        termination = termination_of(error)
        _logger().error("%s: the process failed", self.job.id, exc_info=error)
        self.storage.write_error(self.job.id, self.number, termination.to_json())
        return End(ExitCode.PROCESS_ERROR, termination)

    def _finalise(self, document: bytes, message: str) -> None:
        """Make *document* the final response, as the last act."""
        from wpsjobs.eoxserver.storage import Final  # noqa: PLC0415

        _pass_by(CrashPoint.PROCESS_ENDED)
        staged = self.storage.stage_response(self.job.id, document)
        self.storage.write_final(self.job.id, Final(self.number, self.job.status.retries_seen))
        self._channel.ask_to_finalise(message)
        _pass_by(CrashPoint.FINALISING_ASKED)
        self._channel.await_grant()
        _pass_by(CrashPoint.FINALISING_HEARD)
        # Between the supervisor's "granted" and the exit there is nothing to wait for.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.storage.publish_staged(self.job.id, staged)
        _pass_by(CrashPoint.DOCUMENT_FINAL)


def _pass_by(point: CrashPoint) -> None:
    if is_here(point):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the response is final, and threads or exit handlers of the process's own could
    # only hold up or spoil the end.
    os._exit(exit_code)
