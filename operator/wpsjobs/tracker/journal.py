"""What the callers have said of a task, in a file of its directory: the log beside the history.

``<path_task>/<id>/journal`` has a line of JSON for each message that no report to the API server
carries. Neither a handler's pod nor a caller needs a right for it but to the shared volume.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from wpsjobs.api.times import format_time, parse_time
from wpsjobs.eoxserver.files import StorageError
from wpsjobs.tracker.status import Status

JOURNAL = "journal"
MAX_MESSAGE = 4096
"""Characters of a message that are kept, as of one in the history."""
MAX_BYTES = 10 * 1024 * 1024
"""Size of a journal, after which nothing is added but what changes the status."""
_TAIL_BYTES = 64 * 1024
"""Of the end of the file, in which the last line lies whole."""


@dataclass(frozen=True)
class Entry:
    """One message."""

    time: datetime
    status: Status
    message: str
    attempt: int | None = None
    """The attempt that said so of itself."""


class Journal:
    """The journal in the directory of one task. Methods raise StorageError."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL

    def add(self, status: Status, message: str, attempt: int | None = None) -> None:
        """Note *message* down, with the status that it is about."""
        line = json.dumps(
            {
                "time": format_time(datetime.now(UTC)),
                "status": status.name,
                "message": message[:MAX_MESSAGE],
                "attempt": attempt,
            }
        )
        try:
            descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644
            )
            try:
                if os.fstat(descriptor).st_size > MAX_BYTES and self.label(attempt) is status:
                    return
                # One write, so that lines of several writers do not mix.
                os.write(descriptor, line.encode() + b"\n")
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {error}") from error

    def entries(self) -> list[Entry]:
        """All messages, as they were noted down."""
        return [entry for line in self._read(0) if (entry := _parse(line)) is not None]

    def label(self, attempt: int | None) -> Status | None:
        """What *attempt* has last said of itself, or None."""
        for line in reversed(self._read(-_TAIL_BYTES)):
            entry = _parse(line)
            if entry is not None and entry.attempt is not None:
                return entry.status if entry.attempt == attempt else None
        return None

    def _read(self, offset: int) -> list[bytes]:
        """The lines from *offset* on, which counts from the end where it is negative."""
        try:
            with self._path.open("rb") as file:
                if offset < 0:
                    size = file.seek(0, os.SEEK_END)
                    offset = max(0, size + offset)
                file.seek(offset)
                return file.read().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StorageError(f"{self._path} cannot be read: {error}") from error


def _parse(line: bytes) -> Entry | None:
    """None for a line that is cut off, or mixed with another one."""
    try:
        raw = json.loads(line)
        return Entry(
            parse_time(raw["time"]), Status[raw["status"]], str(raw["message"]), raw["attempt"]
        )
    except (ValueError, KeyError, TypeError):
        return None
