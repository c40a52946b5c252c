"""The child's end of the channel to its supervisor."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from wpsjobs.api.attempt import ExitCode, TerminationMessage
from wpsjobs.api.channel import CHANNEL_FD, Kind, LineBuffer, decode, encode


class ChannelError(Exception):
    """The supervisor is gone, or speaks another language."""


class Channel:
    """Messages to and from the supervisor; safe for threads."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._buffer = LineBuffer()
        self._lines: list[bytes] = []
        self._lock = threading.Lock()

    @classmethod
    def from_environment(cls) -> Channel:
        """Raises ChannelError where this process was not started by a supervisor."""
        descriptor = os.environ.pop(CHANNEL_FD, None)
        if descriptor is None:
            raise ChannelError("this module is started by wpsjobs.worker, in a job pod")
        os.set_inheritable(int(descriptor), False)  # not for the process's own subprocesses
        return cls(socket.socket(fileno=int(descriptor)))

    def receive_job(self) -> tuple[dict[str, Any], int]:
        """The WpsJob to work on and the number of the attempt."""
        kind, message = self._receive()
        if kind is not Kind.JOB:
            raise ChannelError(f"unexpected message {kind}")
        return message["wpsjob"], int(message["attempt"])

    def log_to(self, path: str) -> None:
        """Say where the output of this attempt is kept, if the queue keeps it."""
        self._send(Kind.LOG_FILE, path=path)

    def progress(self, percent: int, message: str) -> None:
        self._send(Kind.PROGRESS, percent=percent, message=message)

    def namespace_uid(self) -> str:
        """UID of the namespace of this pod, from the API server."""
        self._send(Kind.NAMESPACE_UID)
        kind, message = self._receive()
        if kind is not Kind.NAMESPACE_UID:
            raise ChannelError(f"unexpected message {kind}")
        return str(message["uid"])

    def ask_to_finalise(self, message: str) -> None:
        """Ask the API server to hold that the response is about to turn final."""
        self._send(Kind.FINALISING, message=message)

    def await_grant(self) -> None:
        """Wait until it does."""
        kind, _ = self._receive()
        if kind is not Kind.GRANTED:
            raise ChannelError(f"unexpected message {kind}")

    def end(self, code: ExitCode, termination: TerminationMessage) -> None:
        """The last word."""
        self._send(Kind.END, exitCode=int(code), termination=termination.to_json())

    def _send(self, kind: Kind, **fields: Any) -> None:
        try:
            with self._lock:
                self._socket.sendall(encode(kind, **fields))
        except OSError as error:
            raise ChannelError(f"the supervisor is gone: {error}") from error

    def _receive(self) -> tuple[Kind, dict[str, Any]]:
        while not self._lines:
            try:
                data = self._socket.recv(65536)
            except OSError as error:
                raise ChannelError(f"the supervisor is gone: {error}") from error
            if not data:
                raise ChannelError("the supervisor is gone")
            self._lines = self._buffer.feed(data)
        return decode(self._lines.pop(0))
