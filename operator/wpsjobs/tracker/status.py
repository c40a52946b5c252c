"""The status of a task, as codes and words, and how it follows from a WpsJob."""

from __future__ import annotations

from enum import IntEnum

from wpsjobs.api.phases import LAUNCHED, ClaimState, Phase
from wpsjobs.api.wpsjob import WpsJob

StatusTuple = tuple[int, str]
"""The code of a status and its text."""


class Status(IntEnum):
    """The states of a task and their codes."""

    ACCEPTED = 1
    SCHEDULED = 2
    RUNNING = 3
    PAUSED = 4
    FINISHED = 5
    FAILED = 6

    @property
    def pair(self) -> StatusTuple:
        """As the tracker's functions return it: (code, text)."""
        return int(self), self.name


ENDED = frozenset({Status.FINISHED, Status.FAILED})

OF_PHASE = {
    Phase.ACCEPTED: Status.ACCEPTED,
    Phase.SCHEDULED: Status.SCHEDULED,
    Phase.STARTED: Status.RUNNING,
    Phase.PAUSED: Status.PAUSED,
    Phase.SUCCEEDED: Status.FINISHED,
    Phase.FAILED: Status.FAILED,
    Phase.DISMISSED: Status.FAILED,
    Phase.REJECTED: Status.FAILED,
}
OF_CLAIM = {
    ClaimState.CLAIMED: Status.SCHEDULED,
    ClaimState.RUNNING: Status.RUNNING,
    ClaimState.PAUSED: Status.PAUSED,
    ClaimState.SUCCEEDED: Status.FINISHED,
    ClaimState.FAILED: Status.FAILED,
    ClaimState.CRASHED: Status.ACCEPTED,
    ClaimState.RELEASED: Status.ACCEPTED,
}
CLAIM_OF = {
    Status.RUNNING: ClaimState.RUNNING,
    Status.PAUSED: ClaimState.PAUSED,
    Status.FINISHED: ClaimState.SUCCEEDED,
    Status.FAILED: ClaimState.FAILED,
}
"""What a consumer reports for each status that it may set."""


def status_of(  # noqa: PLR0911 (one for each thing to look at, in their order)
    job: WpsJob, label: Status | None = None
) -> Status:
    """The status of the task *job*, with all that has been asked of it or reported by now.

    The operator makes phases of it some milliseconds later; a caller reads its own writes at once.
    *label* is what a handler in a pod has last said of the current attempt.
    """
    phase = job.status.phase
    if phase is not None and job.spec.retries > job.status.retries_seen:
        return Status.PAUSED if job.spec.suspend else Status.ACCEPTED
    if phase is None or job.finished:
        return Status.ACCEPTED if phase is None else OF_PHASE[phase]
    if job.cancelled:
        return Status.FAILED
    if job.spec.suspend:
        return Status.PAUSED
    claim = job.status.claim
    if claim is not None and claim.attempt == job.status.attempt + (phase is Phase.ACCEPTED):
        return OF_CLAIM[claim.state]
    if phase is Phase.PAUSED:  # no longer, the operator is about to say so
        phase = Phase.STARTED if job.status.started_at else Phase.ACCEPTED
    if phase in LAUNCHED and label is Status.PAUSED:
        return label
    return OF_PHASE[phase]
