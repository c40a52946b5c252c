"""The three directories of a job on the shared volumes.

===================================  ============================================
``<path_task>/<id>/marker.json``     says whose directories these are
``<path_task>/<id>/request``         the request, or a task's input, not in the WpsJob
``<path_task>/<id>/<n>.begun``       attempt *n* has begun: no second pod begins it
``<path_task>/<id>/<n>.error``       how attempt *n* failed, with code and locator
``<path_task>/<id>/<n>.log``         its output, where the queue keeps logs
``<path_task>/<id>/<n>-p<i>….begun`` the same of part *i* of a fan-out, and so on
``<path_task>/<id>/final.json``      which attempt made the response final
``<path_task>/<id>/expires``         when the operator will delete the WpsJob
``<path_task>/<id>/discarding``      somebody calls ``discard`` and removes all this
``<path_task>/.wpsjobs-<uuid>/``     such a directory, being made or removed
``<path_temp>/<id>/<n>/``            working directory of attempt *n*
``<path_temp>/<id>/<n>-p<i>…/``      of part *i* in it
``<path_temp>/<id>/parts-<n>/``      what its parts leave: ``shared`` files, and ``results``
``<path_perm>/<id>/``                what is published, executeResponse.xml first
===================================  ============================================
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from wpsjobs.api.names import is_valid_job_id
from wpsjobs.api.times import format_time, parse_time
from wpsjobs.eoxserver import crashpoints
from wpsjobs.eoxserver.crashpoints import CrashPoint
from wpsjobs.eoxserver.files import (
    StorageError,
    remove_tree,
    stage,
    sync_directory,
    translated,
    write_atomic,
)

RESPONSE = "executeResponse.xml"
MARKER = "marker.json"
REQUEST = "request"
FINAL = "final.json"
EXPIRES = "expires"
DISCARDING = "discarding"
DISCARD_SECONDS = 60.0
"""After which whoever had claimed to discard a job is taken for dead."""
MAX_PAYLOAD_BYTES = 1 << 30
_PARTS = "parts-"
_HIDDEN = ".wpsjobs-"
"""Directories in ``path_task`` that are being made or removed; no job has such a name."""


class JobExistsError(Exception):
    """There is something of this job identifier already."""


class PayloadError(Exception):
    """The stored request is missing, changed or foreign."""


@dataclass(frozen=True)
class Marker:
    """Whose directories these are; nothing without one is ever swept."""

    namespace_uid: str
    name: str
    """``metadata.name`` of the WpsJob."""
    id: str
    process: str
    submission: str | None = None
    refused: bool = False
    """The client was told "busy" while nobody could say whether the WpsJob exists."""
    task: str | None = None
    """Identifier of the task of ``wpsjobs.tracker`` that it is; None for a WPS Execute."""

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Marker:
        """Raises ValueError where *text* is no marker."""
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise ValueError("a marker is a JSON object")  # noqa: TRY004 (one error for all)
        known = {f.name for f in fields(cls)}
        try:
            marker = cls(**{key: value for key, value in raw.items() if key in known})
        except TypeError as error:
            raise ValueError(f"the marker lacks a field: {error}") from error
        texts = (marker.namespace_uid, marker.name, marker.id, marker.process)
        if not all(isinstance(text, str) and text for text in texts):
            raise ValueError("the marker's fields are no texts")
        return marker


@dataclass(frozen=True)
class Final:
    """Which attempt made the response final."""

    attempt: int
    retries: int
    """``status.retriesSeen`` at that time: a finished job may be asked for again."""


@dataclass(frozen=True)
class Storage:
    """Paths and files of jobs. Methods raise StorageError, and ValueError for an unsafe id."""

    path_temp: Path
    path_perm: Path
    path_task: Path

    def temp_dir(self, job_id: str) -> Path:
        return self.path_temp / _checked(job_id)

    def perm_dir(self, job_id: str) -> Path:
        return self.path_perm / _checked(job_id)

    def task_dir(self, job_id: str) -> Path:
        return self.path_task / _checked(job_id)

    def response_path(self, job_id: str) -> Path:
        return self.perm_dir(job_id) / RESPONSE

    def log_path(self, job_id: str, attempt: int | str) -> Path:
        """Of an attempt, or of a part as ``api.names.attempt_name`` names it."""
        return self.task_dir(job_id) / f"{attempt}.log"

    def shared_dir(self, job_id: str, attempt: int) -> Path:
        """The directory that the parts of *attempt* share with the merge step."""
        return self._parts_dir(job_id, attempt) / "shared"

    def result_path(self, job_id: str, attempt: int, part: int) -> Path:
        """Where a part of *attempt* leaves its result."""
        return self._parts_dir(job_id, attempt) / "results" / f"{part}.json"

    def _parts_dir(self, job_id: str, attempt: int) -> Path:
        return self.temp_dir(job_id) / f"{_PARTS}{attempt}"

    # Marker and request

    def reserve(self, marker: Marker) -> None:
        """Make the job's directories with *marker*, exclusively.

        The marker is in its directory from the start, so that the housekeeper can sweep whatever
        becomes of it. Raises JobExistsError where the identifier is taken.
        """
        staged = self.path_task / f"{_HIDDEN}{uuid4()}"
        with translated():
            if self.perm_dir(marker.id).exists():
                raise JobExistsError(marker.id)
            try:
                staged.mkdir()
                (staged / MARKER).write_text(marker.to_json())
                crashpoints.pass_by(CrashPoint.MARKER_STAGED)
                _rename_exclusively(staged, self.task_dir(marker.id))
            except BaseException:
                shutil.rmtree(staged, ignore_errors=True)
                raise
            crashpoints.pass_by(CrashPoint.MARKER_WRITTEN)
            if marker.task is not None:
                return  # nothing of a task is published
            try:
                self.perm_dir(marker.id).mkdir(mode=0o755)
            except BaseException:
                self.remove(marker.id)
                raise

    def make_task_dir(self, job_id: str) -> None:
        """Make the directory of a job that was made without the plugin."""
        with translated():
            self.task_dir(job_id).mkdir(exist_ok=True)

    def adopt(self, marker: Marker) -> None:
        """Make the directories and the marker of a job that was made without the plugin."""
        self.make_task_dir(marker.id)
        with translated():
            self.perm_dir(marker.id).mkdir(mode=0o755, exist_ok=True)
            self.write_marker(marker)

    def write_marker(self, marker: Marker) -> None:
        write_atomic(self.task_dir(marker.id) / MARKER, marker.to_json().encode())

    def marker(self, job_id: str) -> Marker | None:
        """The marker, or None where there is none that can be read."""
        try:
            marker = Marker.from_json((self.task_dir(job_id) / MARKER).read_text())
        except (OSError, ValueError):
            return None
        return marker if marker.id == job_id else None

    def markers(self) -> Iterator[tuple[Marker, float]]:
        """Every marker with the time (POSIX) that it was written at."""
        with translated():
            names = sorted(os.listdir(self.path_task))  # noqa: PTH208 (names, many of them)
        for name in names:
            if not is_valid_job_id(name):
                continue
            marker = self.marker(name)
            if marker is not None:
                with contextlib.suppress(OSError):
                    yield marker, (self.task_dir(name) / MARKER).stat().st_mtime

    def write_request(self, job_id: str, payload: bytes) -> tuple[str, int]:
        """Store a large request; the result is its SHA-256 (hexadecimal) and its size."""
        write_atomic(self.task_dir(job_id) / REQUEST, payload, mode=0o600, sync=True)
        return hashlib.sha256(payload).hexdigest(), len(payload)

    def read_request(self, job_id: str, sha256: str, size: int) -> bytes:
        """The stored request, once its hash and size are those given.

        Raises PayloadError. What is returned is what was hashed: the file is read once.
        """
        path = self.task_dir(job_id) / REQUEST
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not 0 <= size <= MAX_PAYLOAD_BYTES:
                    raise PayloadError(f"The request of {size} bytes is too large.")
                payload = file.read(size + 1)
        except OSError as error:
            raise PayloadError(f"The stored request cannot be read: {error}") from error
        if len(payload) != size or hashlib.sha256(payload).hexdigest() != sha256:
            raise PayloadError(
                "The stored request is not the one that was submitted: its SHA-256 or its size "
                "differs from spec.payload."
            )
        return payload

    # Attempts

    def begin(self, job_id: str, attempt: int | str, *, parts_of: int | None = None) -> Path | None:
        """The new working directory of *attempt*, or None where another pod has begun it.

        *parts_of* is the attempt whose parts it belongs to, or puts together.
        """
        with translated():
            try:
                with open(self.task_dir(job_id) / f"{attempt}.begun", "x"):  # noqa: PTH123
                    pass
                workspace = self.temp_dir(job_id) / str(attempt)
                workspace.parent.mkdir(exist_ok=True)
                workspace.mkdir()
            except FileExistsError:
                return None
            if parts_of is not None:
                self.shared_dir(job_id, parts_of).mkdir(parents=True, exist_ok=True)
                self.result_path(job_id, parts_of, 0).parent.mkdir(exist_ok=True)
            for other in workspace.parent.iterdir():
                # Of an attempt that was killed: no two ever run at once, unless they are of parts.
                if other != workspace and parts_of is None:
                    shutil.rmtree(other, ignore_errors=True)
            return workspace

    def wipe_workspace(self, job_id: str, attempt: int | str | None = None) -> None:
        """Remove the working directories of all attempts, or that of *attempt* alone."""
        directory = self.temp_dir(job_id)
        shutil.rmtree(directory / str(attempt) if attempt else directory, ignore_errors=True)

    def claim(self, job_id: str, name: str, seconds: float = float("inf")) -> bool:
        """Whether the file *name* in the task directory is the caller's, and no other pod's.

        After *seconds*, whoever made it is taken for dead, and another one gets it.
        """
        path = self.task_dir(job_id) / name
        with translated():
            try:
                with path.open("x"):
                    return True
            except FileExistsError:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime >= seconds:
                        path.touch()
                        return True
                return False

    def is_claimed(self, job_id: str, name: str) -> bool:
        """Whether there is such a file."""
        return (self.task_dir(job_id) / name).exists()

    def write_error(self, job_id: str, attempt: int | str, termination: str) -> None:
        """Keep the words of a failed attempt for the housekeeper."""
        write_atomic(self.task_dir(job_id) / f"{attempt}.error", termination.encode())

    def error(self, job_id: str, attempt: int | str) -> str | None:
        try:
            return (self.task_dir(job_id) / f"{attempt}.error").read_text()
        except (OSError, ValueError):
            return None

    def final(self, job_id: str) -> Final | None:
        """Which attempt made the response final, or None."""
        try:
            raw: Any = json.loads((self.task_dir(job_id) / FINAL).read_text())
            return Final(int(raw["attempt"]), int(raw["retries"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_final(self, job_id: str, final: Final) -> None:
        write_atomic(self.task_dir(job_id) / FINAL, json.dumps(asdict(final)).encode(), sync=True)

    def write_expiry(self, job_id: str, expires: datetime) -> None:
        """Keep the time at which the operator will delete the WpsJob."""
        write_atomic(self.task_dir(job_id) / EXPIRES, format_time(expires).encode())

    def expiry(self, job_id: str) -> datetime | None:
        try:
            return parse_time((self.task_dir(job_id) / EXPIRES).read_text())
        except (OSError, ValueError):
            return None

    # Responses

    def response(self, job_id: str) -> bytes | None:
        """The stored response document, or None."""
        try:
            return self.response_path(job_id).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"The response cannot be read: {error}") from error

    def write_response(self, job_id: str, document: bytes, *, sync: bool = False) -> None:
        write_atomic(self.response_path(job_id), document, sync=sync)

    def stage_response(self, job_id: str, document: bytes) -> Path:
        """Write *document* beside the response; ``publish_staged`` makes it the response."""
        return stage(self.response_path(job_id), document, sync=True)

    def publish_staged(self, job_id: str, staged: Path) -> None:
        with translated():
            staged.replace(self.response_path(job_id))
        sync_directory(self.perm_dir(job_id))

    def remove_outputs(self, job_id: str) -> None:
        """Remove what was published but for the response document."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.perm_dir(job_id).iterdir():
                if path.name == RESPONSE:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)

    def exists(self, job_id: str) -> bool:
        """Whether there is any directory of this job."""
        paths = (self.task_dir(job_id), self.perm_dir(job_id), self.temp_dir(job_id))
        return any(path.exists() for path in paths)

    def claim_discard(self, job_id: str) -> bool:
        """Whether it is the caller's to call ``discard``: it is one's alone, web or housekeeper.

        True as well for a job that has no task directory, as an older back-end's.
        """
        path = self.task_dir(job_id) / DISCARDING
        with translated():
            try:
                with path.open("x"):
                    return True
            except FileNotFoundError:
                return not self.task_dir(job_id).exists() and self.perm_dir(job_id).exists()
            except FileExistsError:
                try:
                    if time.time() - path.stat().st_mtime < DISCARD_SECONDS:
                        return False
                    path.touch()
                except FileNotFoundError:
                    return False
                return True

    def release_discard(self, job_id: str) -> None:
        """Give back what ``claim_discard`` gave, where nothing came of it."""
        with contextlib.suppress(OSError):
            (self.task_dir(job_id) / DISCARDING).unlink()

    def remove(self, job_id: str) -> None:
        """Remove all directories of a job, the marker last, so that a half-done removal goes on.

        Idempotent. Raises StorageError.
        """
        leaving = self.path_task / f"{_HIDDEN}{uuid4()}"
        with translated():
            remove_tree(self.temp_dir(job_id))
            remove_tree(self.perm_dir(job_id))
            with contextlib.suppress(FileNotFoundError):
                self.task_dir(job_id).rename(leaving)
            crashpoints.pass_by(CrashPoint.MARKER_REMOVED)
            remove_tree(leaving)

    def remove_hidden(self, seconds: float, now: float) -> None:
        """Remove what a process that is dead was making or removing more than *seconds* ago.

        *now* is POSIX time. Raises StorageError.
        """
        with translated():
            for path in self.path_task.glob(f"{_HIDDEN}*"):
                with contextlib.suppress(FileNotFoundError):
                    if now - path.stat().st_mtime >= seconds:
                        remove_tree(path)


def _rename_exclusively(staged: Path, target: Path) -> None:
    """Give a directory its name. Raises JobExistsError where there is something of that name."""
    try:
        staged.rename(target)
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
            raise JobExistsError(target.name) from error
        raise


def _checked(job_id: str) -> str:
    if not is_valid_job_id(job_id):
        raise ValueError(f"{job_id!r} is no job identifier")
    return job_id
