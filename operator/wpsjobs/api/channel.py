"""What a job pod's supervisor and its child tell each other.

They share a stream socket, whose descriptor the child finds in an environment variable, and send
each other lines of JSON, each an object with the key ``kind``.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any

CHANNEL_FD = "WPSJOBS_CHANNEL_FD"
"""Environment variable of the child: number of the descriptor of its end of the channel."""


class Kind(StrEnum):
    """Kinds of messages."""

    # supervisor to child
    JOB = "job"
    """``wpsjob``: the WpsJob to work on; the first message. ``attempt``: its number."""
    GRANTED = "granted"
    """``finalising`` stands in the status of the WpsJob: the response may turn final now."""

    NAMESPACE_UID = "namespaceUid"
    """Asked by the child with no fields; answered with ``uid``."""

    # child to supervisor
    LOG_FILE = "logFile"
    """``path``: the file that keeps this attempt's output."""
    PROGRESS = "progress"
    """``percent`` (0…100) and ``message``; no answer."""
    FINALISING = "finalising"
    """Asks for ``granted``."""
    END = "end"
    """The child's last word: ``exitCode`` (of ``wpsjobs.api.attempt``), ``termination`` (JSON)."""


def encode(kind: Kind, **fields: Any) -> bytes:
    """One message as a line."""
    return json.dumps({"kind": kind, **fields}).encode() + b"\n"


def decode(line: bytes) -> tuple[Kind, dict[str, Any]]:
    """The kind and the fields of a line.

    Raises ValueError where it is no message of this protocol.
    """
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError("a message on the channel must be a JSON object")  # noqa: TRY004 (one error for all that is off)
    return Kind(message.pop("kind", None)), message


class LineBuffer:
    """Cuts a stream of bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines
