"""What can go wrong, in words for the user, and the exit codes by which scripts tell it apart."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of ``kubectl wps``; docs/kubectl.md explains them to users."""

    OK = 0
    CLUSTER = 1
    """The API server cannot be reached, or refuses."""
    USAGE = 2
    """The command line is wrong."""
    NOT_FOUND = 3
    """There is no such WpsJob, queue, process, log or output."""
    WRONG_PHASE = 4
    """The WpsJob is not in a phase in which this can be done."""
    JOB_FAILED = 5
    """The WpsJob ended without success."""
    REFUSED = 6
    """The WpsJob was not accepted, and is not there: the queue is full, the request is wrong."""
    TIMED_OUT = 7
    """What was waited for has not come in time."""


class CliError(Exception):
    """Something expected went wrong: *message* says what, to which object, and what to do."""

    code = ExitCode.CLUSTER


class UnreachableError(CliError):
    """The API server, or what is behind it, does not answer."""


class ForbiddenError(CliError):
    """The user lacks a right."""


class ConflictError(CliError):
    """The object has changed meanwhile, or one of its name exists."""


class UsageError(CliError):
    """The command line is wrong."""

    code = ExitCode.USAGE


class NotFoundError(CliError):
    """There is no such thing."""

    code = ExitCode.NOT_FOUND


class WrongPhaseError(CliError):
    """The WpsJob is not in a phase in which this can be done."""

    code = ExitCode.WRONG_PHASE


class JobFailedError(CliError):
    """The WpsJob ended without success."""

    code = ExitCode.JOB_FAILED


class RefusedError(CliError):
    """The WpsJob was not accepted and is not there."""

    code = ExitCode.REFUSED


class TimedOutError(CliError):
    """What was waited for has not come in time."""

    code = ExitCode.TIMED_OUT
