"""What the child of a job pod's supervisor is to do, and how it ended.

Imports nothing of EOxServer, which is configured later. Not part of ``execution``, which is run as
``__main__``: imported once more, it would have these classes twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from wpsjobs.api.attempt import Environment, ExitCode, TerminationMessage
from wpsjobs.api.names import attempt_name
from wpsjobs.api.wpsjob import WpsJob


@dataclass(frozen=True)
class End:
    """How the attempt ended."""

    code: ExitCode
    termination: TerminationMessage


class AttemptError(Exception):
    """The attempt ends here, for a reason that is not the process's."""

    def __init__(self, code: ExitCode, message: str, *, locator: str | None = None) -> None:
        super().__init__(message)
        self.end = End(code, TerminationMessage(message, locator=locator))


SUCCEEDED = End(ExitCode.SUCCEEDED, TerminationMessage("The process ended successfully."))


@dataclass(frozen=True)
class Part:
    """The part of a fan-out that this pod is to execute."""

    index: int
    text: str
    name: str
    """Of this launch of it, see ``attempt_name``."""

    @classmethod
    def assigned(cls, job: WpsJob) -> Part | None:
        """The part for which the operator has sent this pod, if for one.

        Raises AttemptError where *job* has no such part.
        """
        number = os.environ.get(Environment.PART)
        if not number:
            return None
        index, tried = int(number), int(os.environ.get(Environment.TRY, "0"))
        attempt = int(os.environ.get(Environment.ATTEMPT, "1"))
        if index >= len(job.spec.parts):
            raise AttemptError(ExitCode.BAD_REQUEST, f"The WpsJob {job.id} has no part {index}.")
        return cls(index, job.spec.parts[index], attempt_name(attempt, index, tried))


def parts_of(job: WpsJob) -> int | None:
    """The attempt in which the parts of *job* run or ran; None where it is no fan-out."""
    if not job.spec.parts or job.status.parts is None:
        return None
    return job.status.parts.attempt


def termination_of(error: BaseException) -> TerminationMessage:
    """The words on *error* for the operator, with code and locator of an OWS exception."""
    from eoxserver.services.ows.wps.exceptions import OWS10Exception  # noqa: PLC0415

    message = str(error) or class_of(error)
    if isinstance(error, OWS10Exception):
        locator = str(error.locator) if error.locator else None
        return TerminationMessage(message, code=str(error.code), locator=locator)
    return TerminationMessage(message, locator=class_of(error))


def class_of(error: BaseException) -> str:
    """Name of its class."""
    return type(error).__name__
