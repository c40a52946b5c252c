"""The phases of a WpsJob, what they mean to others, and the words for conditions and reasons."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """``status.phase`` of a WpsJob. A WpsJob that the controller has not seen yet has none."""

    ACCEPTED = "Accepted"
    SCHEDULED = "Scheduled"
    STARTED = "Started"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DISMISSED = "Dismissed"
    REJECTED = "Rejected"


FINISHED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.DISMISSED, Phase.REJECTED})
UNFINISHED = frozenset(Phase) - FINISHED
LAUNCHED = frozenset({Phase.SCHEDULED, Phase.STARTED})
"""An attempt is under way; a Paused WpsJob may have one, too."""

EOXSERVER_STATUS = {
    Phase.ACCEPTED: "ACCEPTED",
    Phase.SCHEDULED: "ACCEPTED",
    Phase.STARTED: "STARTED",
    Phase.PAUSED: "PAUSED",
    Phase.SUCCEEDED: "SUCCEEDED",
    Phase.FAILED: "FAILED",
    Phase.DISMISSED: "CANCELLED",
    Phase.REJECTED: "CANCELLED",
}
"""What ``AsyncBackendInterface.get_status`` of EOxServer answers for each phase."""


class Condition(StrEnum):
    """Types of ``status.conditions`` of a WpsJob."""

    ACCEPTED = "Accepted"
    ADMITTED = "Admitted"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    FAILED = "Failed"


class QueueCondition(StrEnum):
    """Types of ``status.conditions`` of a WpsQueue."""

    ACTIVE = "Active"
    """Whether WpsJobs of it are started."""


class Reason(StrEnum):
    """``status.reason`` of a WpsJob: why it is in its phase, in one word for programs."""

    # verdicts on a new WpsJob
    QUEUED = "Queued"
    QUEUE_FULL = "QueueFull"
    TOO_LATE = "TooLate"
    UNKNOWN_PROCESS = "UnknownProcess"
    UNKNOWN_QUEUE = "UnknownQueue"
    BAD_REQUEST = "BadRequest"
    # on the way
    ADMITTED = "Admitted"
    POD_RUNNING = "PodRunning"
    RELAUNCH = "Relaunch"
    RETRY = "Retry"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    WAITING_FOR_POD = "WaitingForPod"
    QUEUE_HELD = "QueueHeld"
    # ends
    COMPLETED = "Completed"
    DISMISSED = "Dismissed"
    CRASH = "Crash"
    OUT_OF_MEMORY = "OutOfMemory"
    TIMEOUT = "Timeout"
    PROCESS_ERROR = "ProcessError"
    CLIENT_ERROR = "ClientError"
    CANNOT_START = "CannotStart"
    DISRUPTED = "Disrupted"
    SUPERSEDED = "Superseded"
    FINALISING = "Finalising"
    """Of an attempt that died between its last word and the final document."""


class Cause(StrEnum):
    """Why an attempt ended without success, as far as ``restartOn`` tells causes apart."""

    CRASH = "Crash"
    OUT_OF_MEMORY = "OutOfMemory"
    TIMEOUT = "Timeout"
    PROCESS_ERROR = "ProcessError"


DEFAULT_RESTART_ON = frozenset({Cause.CRASH, Cause.OUT_OF_MEMORY, Cause.TIMEOUT})
"""A raise is the process's own answer, repeated only where asked."""
