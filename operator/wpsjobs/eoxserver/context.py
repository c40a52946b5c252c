"""The context objects that processes and their callbacks are given."""

from __future__ import annotations

import contextlib
import copy
import errno
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from eoxserver.services.ows.wps.context import BaseContext, ContextError

from wpsjobs.eoxserver.logs import JobLogger
from wpsjobs.eoxserver.storage import RESPONSE

MIN_DOCUMENT_INTERVAL = 0.2
"""Seconds between two writes of the stored response for one and the same percentage."""


class JobContext(BaseContext):  # type: ignore[misc]  # EOxServer has no types
    """Who the job is. All that ``discard`` gets."""

    def __init__(self, identifier: str) -> None:
        super().__init__()
        self._identifier = identifier
        self._logger = JobLogger(identifier)

    @property
    def identifier(self) -> str:
        """The WPS job identifier."""
        return self._identifier

    @property
    def logger(self) -> JobLogger:
        """A logger that names the job."""
        return self._logger

    @property
    def workspace_path(self) -> str:
        raise ContextError("there is no working directory outside of the execution of the process")

    def publish(self, path: str | os.PathLike[str]) -> tuple[str, str]:  # noqa: ARG002
        raise ContextError("files can be published only while the process is executed")

    def update_progress(
        self,
        progress: float,  # noqa: ARG002
        message: str | None = None,  # noqa: ARG002
    ) -> None:
        raise ContextError("progress can be reported only while the process is executed")


class ResponseContext(JobContext):
    """Who the job is and where its response will be: for callbacks in the web server."""

    def __init__(self, identifier: str, status_location: str) -> None:
        super().__init__(identifier)
        self._status_location = status_location

    @property
    def status_location(self) -> str:
        """URL of the stored response."""
        return self._status_location


class ExecutionContext(ResponseContext):
    """The full context, in the job's pod."""

    def __init__(
        self,
        identifier: str,
        workspace: Path,
        publication: Publication,
        on_progress: Callable[[int, str], None],
        shared: Path | None = None,
        part_index: int | None = None,
    ) -> None:
        super().__init__(identifier, f"{publication.url}/{RESPONSE}")
        self._shared, self._part_index = shared, part_index
        self._workspace = workspace
        self._publication = publication
        self._on_progress = on_progress
        self._lock = threading.Lock()

    @property
    def workspace_path(self) -> str:
        """The working directory of this attempt, and the current one."""
        return str(self._workspace)

    @property
    def shared_path(self) -> str:
        """The directory that the parts of a job and its merge step share.

        Raises ContextError where the process is not one in parts.
        """
        if self._shared is None:
            raise ContextError("only a process in parts has a shared directory")
        return str(self._shared)

    def for_part(self, index: int, workspace: Path) -> ExecutionContext:
        """That of a part which is executed in the same pod, in a working directory of its own."""
        context = copy.copy(self)
        context._part_index, context._workspace = index, workspace
        return context

    @property
    def part_index(self) -> int | None:
        """Which part is executed, from 0; None in the merge step."""
        return self._part_index

    def publish(self, path: str | os.PathLike[str]) -> tuple[str, str]:
        """Move the regular file *path* of the workspace to the published directory.

        The result is its new path and its URL. Raises ContextError for anything else.
        """
        return self._publication.publish(self._workspace, Path(path))

    def update_progress(self, progress: float, message: str | None = None) -> None:
        """Say how far the process is: *progress* in percent, 0…99, and in words."""
        try:
            percent = min(99, max(0, int(float(progress))))
        except (TypeError, ValueError, OverflowError) as error:
            raise ContextError(f"progress must be a number, not {progress!r}") from error
        with self._lock:
            self._on_progress(percent, str(message) if message is not None else "")


class Publication:
    """The published directory of one job."""

    def __init__(self, directory: Path, url: str) -> None:
        self.directory = directory
        self.url = url

    def publish(self, workspace: Path, path: Path) -> tuple[str, str]:
        """See ``ExecutionContext.publish``."""
        root = workspace.resolve()
        source = root / path
        # The file itself may not be a link; links on the way must stay within the workspace.
        real = source.parent.resolve() / source.name
        if not real.is_relative_to(root) or real == root:
            raise ContextError(f"{path} is not in the workspace")
        try:
            is_regular = stat.S_ISREG(real.lstat().st_mode)
        except OSError as error:
            raise ContextError(f"{path} cannot be published: {error}") from error
        if not is_regular:
            raise ContextError(f"{path} is no regular file")
        relative = real.relative_to(root)
        if relative == Path(RESPONSE):
            raise ContextError(f"{RESPONSE} is the response document's own name")
        target = self.directory / relative
        try:
            # parents only below the job's own directory, which is gone once the job is purged
            if len(relative.parts) > 1:
                self._make_parents(relative.parent)
            _move(real, target)
        except OSError as error:
            raise ContextError(f"{path} cannot be published: {error}") from error
        return str(target), f"{self.url}/{quote(relative.as_posix())}"

    def _make_parents(self, parent: Path) -> None:
        current = self.directory
        for part in parent.parts:
            current /= part
            current.mkdir(exist_ok=True)


class ProgressWriter:
    """Decides which reports of progress are worth a write of the stored response."""

    def __init__(self, write: Callable[[int, str], None]) -> None:
        self._write = write
        self._percent = -1
        self._at = 0.0

    def report(self, percent: int, message: str) -> None:
        now = time.monotonic()
        if percent == self._percent and now - self._at < MIN_DOCUMENT_INTERVAL:
            return
        self._percent, self._at = percent, now
        self._write(percent, message)


def _move(source: Path, target: Path) -> None:
    """Move a file so that nobody ever sees half of it, across file systems, too."""
    source.chmod(stat.S_IMODE(source.stat().st_mode) | 0o444)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".publish.")
    try:
        with os.fdopen(descriptor, "wb") as copy, source.open("rb") as original:
            shutil.copyfileobj(original, copy, 1 << 20)
            os.fchmod(descriptor, 0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):
        source.unlink()
