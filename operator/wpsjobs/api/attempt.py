"""How a job pod tells the operator the way in which its attempt ended.

The worker's exit code says what kind of end it was, the termination message (a line of JSON in
the pod's termination log, 4 KiB at most by Kubernetes' limit) gives the words.
"""

from __future__ import annotations

import bisect
import json
from dataclasses import dataclass
from enum import IntEnum

TERMINATION_LOG = "/dev/termination-log"
MAX_TERMINATION_MESSAGE = 4096
"""Bytes that the kubelet keeps of a container's termination message."""


class ExitCode(IntEnum):
    """Exit codes of ``python -m wpsjobs.worker``; any other is an unexpected exit (a crash)."""

    SUCCEEDED = 0
    PROCESS_ERROR = 10
    """The process raised: its own answer."""
    CLIENT_ERROR = 11
    """An OWS exception about the client's input; the final document is already written."""
    TIMEOUT = 12
    """The attempt ran for longer than its timeout and was ended by the supervisor."""
    SUPERSEDED = 13
    """This pod is not the current attempt, or another one had begun it: not counted."""
    BAD_REQUEST = 14
    """The request cannot be trusted or read: its payload is missing, changed or foreign."""
    OUT_OF_MEMORY = 15
    """The kernel ended the process for its memory while the supervisor lived on."""
    CRASHED = 16
    """The process was ended by a signal, or could not be started."""
    TERMINATED = 17
    """The pod was told to end (SIGTERM): an eviction, a drain, a dismissal."""


@dataclass(frozen=True)
class TerminationMessage:
    """What a job pod says at its end.

    ``code`` and ``locator`` are those of the OWS exception in the response document
    (OGC 06-121r3, clause 8); ``message`` is for a person, of any length.
    """

    message: str
    code: str = "NoApplicableCode"
    locator: str | None = None

    def to_json(self) -> str:
        """As one line of JSON of at most 4,096 bytes; a longer message loses its end."""
        # What came from a file name may hold halves of surrogate pairs, which UTF-8 has not.
        message, code, locator = (
            text and text.encode(errors="replace").decode()
            for text in (self.message, self.code[:128], self.locator and self.locator[:256])
        )

        def line(message: str | None) -> str:
            fields = {"message": message, "code": code, "locator": locator}
            return json.dumps(fields, ensure_ascii=False)

        def fits(length: int) -> bool:
            return len(line(f"{(message or '')[:length]}…").encode()) <= MAX_TERMINATION_MESSAGE

        whole = line(message)
        if len(whole.encode()) <= MAX_TERMINATION_MESSAGE:
            return whole
        # Characters take 1 to 6 bytes each, so that the most that fits is searched for.
        most = bisect.bisect_left(range(MAX_TERMINATION_MESSAGE), True, key=lambda n: not fits(n))
        return line(f"{(message or '')[: most - 1]}…")

    @classmethod
    def from_json(cls, text: str) -> TerminationMessage | None:
        """The parsed message, or None where *text* is not one (a container that died silently)."""
        try:
            raw = json.loads(text)
        except ValueError:
            return None
        if not isinstance(raw, dict) or not isinstance(raw.get("message"), str):
            return None
        code, locator = raw.get("code"), raw.get("locator")
        return cls(
            message=raw["message"],
            code=code if isinstance(code, str) else "NoApplicableCode",
            locator=locator if isinstance(locator, str) else None,
        )


class Environment:
    """Environment variables by which the operator tells a job pod what it is to do.

    The operator's command sets them; all but POD_NAME, which is for consumers.
    """

    NAMESPACE = "WPSJOBS_NAMESPACE"
    NAME = "WPSJOBS_NAME"
    """``metadata.name`` of the WpsJob."""
    ATTEMPT = "WPSJOBS_ATTEMPT"
    PART = "WPSJOBS_PART"
    """Index in ``spec.parts``, where the pod is to execute a part; its text stays in the WpsJob,
    for Kubernetes would expand ``$(…)`` in it."""
    TRY = "WPSJOBS_TRY"
    """How often that part was launched before."""
    KUBERNETES_JOB = "WPSJOBS_KUBERNETES_JOB"
    """Name of the Kubernetes Job of this pod, to be compared with ``status.jobName``."""
    POD_NAME = "WPSJOBS_POD_NAME"
    TIMEOUT_SECONDS = "WPSJOBS_TIMEOUT_SECONDS"
    """Timeout of the attempt as resolved from WpsJob, WpsProcess and WpsQueue at its launch."""
    KEEP_LOGS = "WPSJOBS_KEEP_LOGS"
    """``true`` where the queue keeps the logs of attempts on the shared volume."""
    HANDLER = "WPSJOBS_HANDLER"
    """Dotted path of a task handler; empty for an EOxServer process."""
