"""``python -m wpsjobs.tracker.runner``: the child of a job pod's supervisor, for a task.

It imports the handler and calls it, with a TaskStatus and the input, as a consumer does.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from wpsjobs.api.attempt import Environment, ExitCode, TerminationMessage
from wpsjobs.api.names import ANNOTATION_TASK
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver import logs
from wpsjobs.eoxserver.channel import Channel, ChannelError
from wpsjobs.eoxserver.files import StorageError
from wpsjobs.eoxserver.storage import Final, PayloadError, Storage
from wpsjobs.tracker import access, payload
from wpsjobs.tracker.handlers import TaskStatus
from wpsjobs.tracker.journal import Journal
from wpsjobs.tracker.responses import write_response
from wpsjobs.tracker.settings import load
from wpsjobs.tracker.status import Status

logger = logging.getLogger("wpsjobs.tracker.runner")

SUCCESS = "The task has ended."


class AttemptError(Exception):
    """The attempt ends here, for a reason that is not the handler's."""

    def __init__(self, code: ExitCode, message: str, *, locator: str | None = None) -> None:
        super().__init__(message)
        self.code, self.termination = code, TerminationMessage(message, locator=locator)


class OwnTask:
    """The task of this pod, as its handler changes it: in its directory, and in its progress."""

    def __init__(self, channel: Channel, folder: Path, raw: dict[str, Any], attempt: int) -> None:
        job = WpsJob.from_raw(raw)
        self.task_id, self.type = job.sequence, job.spec.process
        self.identifier = str(raw["metadata"]["annotations"][ANNOTATION_TASK])
        self.status = Status.RUNNING
        self.message = ""
        self._channel, self._folder, self._attempt = channel, folder, attempt

    def set_status(self, status: Status, message: str) -> None:
        """Note it down; the last word counts once the handler has returned."""
        Journal(self._folder).add(status, message, self._attempt)
        self.status, self.message = status, message
        words = f"{status.name}: {message}" if message else status.name
        self._channel.progress(0, words)

    def store_response(self, response: str | bytes, mime_type: str) -> None:
        """Store the response in the task's directory."""
        write_response(self._folder, response, mime_type)


def main() -> int:
    """Run the attempt that the supervisor names; the result is the exit code."""
    try:
        channel = Channel.from_environment()
    except ChannelError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    try:
        code, termination = _run(channel)
        channel.end(code, termination)
    except ChannelError as error:
        logger.warning("%s", error)
        return 2
    return int(code)


def _run(channel: Channel) -> tuple[ExitCode, TerminationMessage]:
    try:
        set_up()
        settings = load()
    except Exception as error:
        logger.exception("the instance does not start")
        words = f"The instance does not start: {error}"
        return ExitCode.CRASHED, TerminationMessage(words, locator=type(error).__name__)
    raw, number = channel.receive_job()
    storage = Storage(settings.path_temp, settings.path_perm, settings.path_task)
    try:
        return Attempt(channel, storage, raw, number).run()
    except AttemptError as error:
        return error.code, error.termination
    except StorageError as error:
        logger.error("%s", error)  # noqa: TRY400 (its words suffice)
        return ExitCode.CRASHED, TerminationMessage(str(error), locator="StorageError")


def set_up() -> None:
    """Start Django where there is an instance: a handler may use its models."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        import django  # a task does without, unless it is an instance's

        django.setup()
    logs.show_unless_configured()
    # A consumer's loop finds modules of the directory in which it was started.
    if os.getcwd() not in sys.path:  # noqa: PTH109 (as text)
        sys.path.insert(0, os.getcwd())  # noqa: PTH109


class Attempt:
    """One attempt of one task."""

    def __init__(
        self, channel: Channel, storage: Storage, raw: dict[str, Any], number: int
    ) -> None:
        self._channel, self._storage, self._raw, self._number = channel, storage, raw, number
        self._job = WpsJob.from_raw(raw)

    def run(self) -> tuple[ExitCode, TerminationMessage]:
        """Raises AttemptError where the attempt ends before the handler has its say."""
        self._check_directories()
        if self._is_over():
            return ExitCode.SUCCEEDED, TerminationMessage(SUCCESS)
        workspace = self._storage.begin(self._job.id, self._number)
        if workspace is None:
            raise AttemptError(
                ExitCode.SUPERSEDED,
                f"Another pod has begun the attempt {self._number} of {self._job.id}.",
            )
        if os.environ.get(Environment.KEEP_LOGS) == "true":
            self._channel.log_to(str(self._storage.log_path(self._job.id, self._number)))
        given = self._input()
        folder = self._storage.task_dir(self._job.id)
        own = OwnTask(self._channel, folder, self._raw, self._number)
        access.enter(own)
        home = Path.cwd()
        os.chdir(workspace)
        try:
            _call(own, given)
        finally:
            os.chdir(home)
            self._storage.wipe_workspace(self._job.id)
        if own.status is Status.FAILED:
            message = own.message or "The handler has called the task failed."
            return ExitCode.PROCESS_ERROR, TerminationMessage(message, locator="setFailure")
        self._channel.ask_to_finalise(own.message or SUCCESS)
        self._channel.await_grant()
        # From here on, no other attempt calls the handler again.
        self._storage.write_final(self._job.id, Final(self._number, self._job.status.retries_seen))
        return ExitCode.SUCCEEDED, TerminationMessage(own.message or SUCCESS)

    def _check_directories(self) -> None:
        marker = self._storage.marker(self._job.id)
        if marker is None or marker.task is None:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                f"{self._job.spec.process!r} is a task type, and this WpsJob no task: tasks are "
                "made by enqueueTask of wpsjobs.tracker.",
            )
        if marker.refused:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                "The caller of enqueueTask was told that this task is not enqueued.",
            )
        if marker.submission != self._job.spec.submission:
            raise AttemptError(
                ExitCode.BAD_REQUEST,
                f"The directories of {self._job.id} belong to another submission.",
            )

    def _is_over(self) -> bool:
        """Whether an attempt before this one died between its last act and its exit."""
        final = self._storage.final(self._job.id)
        return final is not None and final.retries == self._job.status.retries_seen

    def _input(self) -> Any:
        spec = self._job.spec
        try:
            return payload.decode(
                self._storage.read_request(
                    self._job.id, spec.payload_sha256 or "", spec.payload_size or 0
                )
            )
        except PayloadError as error:
            raise AttemptError(ExitCode.BAD_REQUEST, str(error), locator="PayloadError") from error
        except Exception as error:  # what unpickling raises where a class is not to be found
            raise AttemptError(
                ExitCode.BAD_REQUEST, f"The input cannot be read: {error!r}", locator="input"
            ) from error


def _call(own: OwnTask, given: Any) -> None:
    """Call the handler. What it raises is a failure, whatever it has called the task before."""
    try:
        module, _, function = os.environ[Environment.HANDLER].rpartition(".")
        handler = getattr(importlib.import_module(module), function)
        handler(TaskStatus(own.task_id), given)
    except (ChannelError, StorageError):
        raise
    except SystemExit as error:
        own.set_status(Status.FAILED, f"The handler called sys.exit({error.code!r}).")
    except Exception as error:
        traceback.print_exc()
        own.set_status(Status.FAILED, str(error) or type(error).__name__)


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads or exit handlers of the handler's own could only hold up the end.
    os._exit(exit_code)
