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
    CLAIMED = "Claimed"
    CONSUMER_RUNNING = "ConsumerRunning"
    PAUSED_BY_CONSUMER = "PausedByConsumer"
    """A label of the task's own; unlike one that is suspended, it goes on, and so does its time."""
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
    RELEASED = "Released"
    """Of an attempt that its consumer gave back unfinished, as it was told to end."""
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


class ClaimState(StrEnum):
    """``status.claim.state``: how a consumer says that the attempt stands which it has claimed."""

    CLAIMED = "Claimed"
    """Taken from the queue, not begun."""
    RUNNING = "Running"
    PAUSED = "Paused"
    """A label: whatever runs goes on, and its time-out too."""
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    """The task's own answer, which is repeated only where ``restartOn`` has ``ProcessError``."""
    CRASHED = "Crashed"
    """It ended without an answer: to be repeated within the restart limit."""
    RELEASED = "Released"
    """Given back unfinished: to be repeated, uncounted."""


CLAIM_ENDED = frozenset(
    {ClaimState.SUCCEEDED, ClaimState.FAILED, ClaimState.CRASHED, ClaimState.RELEASED}
)
"""A consumer's last word on its attempt: what it says later counts no more."""
