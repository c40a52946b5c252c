"""The child's output on its way to standard output and, bounded, to a file."""

from __future__ import annotations

import logging
import os
from typing import BinaryIO

logger = logging.getLogger(__name__)

MAX_LOG_BYTES = 10 * 1024 * 1024
"""Size of the kept log of one attempt; the rest is on standard output alone."""
MAX_WAITING_BYTES = 256 * 1024
"""Output kept in memory until the child has said where its log file is."""
_CUT = b"\n[the log is cut here: it has reached its limit]\n"


class Output:
    """Copies a pipe to standard output and to the log file, once that is known."""

    def __init__(self, limit: int = MAX_LOG_BYTES) -> None:
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)
        self._left = limit
        self._waiting = bytearray()
        self._file: BinaryIO | None = None
        self._failed = False

    def close_writing(self) -> None:
        """To be called once the child has its end."""
        os.close(self.writing)

    def close(self) -> None:
        """Close what this end holds open."""
        os.close(self.reading)
        if self._file is not None:
            self._file.close()
            self._file = None

    def open_file(self, path: str) -> None:
        """Keep the output in the file *path* from its first byte on."""
        try:
            self._file = open(path, "ab", buffering=0)  # noqa: PTH123, SIM115 (kept open, unbuffered)
        except OSError as error:
            self._failed = True
            logger.warning("the log cannot be kept: %s", error)
            return
        self._keep(bytes(self._waiting))
        self._waiting.clear()

    def copy(self) -> bool:
        """Copy what is there; False once the pipe has ended."""
        while True:
            try:
                data = os.read(self.reading, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            _write_all(1, data)
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        if self._file is None:
            if not self._failed:
                self._waiting += data[: MAX_WAITING_BYTES - len(self._waiting)]
            return
        if not data or self._left <= 0:
            return
        kept = data[: self._left]
        self._left -= len(kept)
        try:
            self._file.write(kept if self._left > 0 else kept + _CUT)
        except OSError as error:
            self._left = 0
            logger.warning("the log is no longer kept: %s", error)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
