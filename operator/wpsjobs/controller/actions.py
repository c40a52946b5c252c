"""What the pure part decides and ``cluster`` carries out: the only ways to change anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wpsjobs.api.metadata import Metadata
from wpsjobs.api.wpsjob import WpsJob


@dataclass(frozen=True)
class Milestone:
    """A Kubernetes Event on a WpsJob."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True)
class PatchStatus:
    """Change the status of *job* as it was seen, and no other version of it."""

    job: WpsJob
    patch: Mapping[str, Any]
    milestone: Milestone | None = None
    can_wait: bool = False
    """Whether it may come a moment later, so that such patches are few."""


@dataclass(frozen=True)
class Launch:
    """Take the slots in the status first, then make the Kubernetes Jobs (write-ahead).

    Without *admission* the slots had been taken before, by an operator that did not get further.
    """

    job: WpsJob
    manifests: Sequence[Mapping[str, Any]]
    """One, or one for each part of a fan-out that begins."""
    admission: PatchStatus | None = None


@dataclass(frozen=True)
class DeleteKubernetesJob:
    """End and remove a Kubernetes Job with its pods."""

    job: Metadata
    why: str
    ended: bool = False
    """Whether its pods have ended, so that it need not stay until they are gone."""


@dataclass(frozen=True)
class DeleteWpsJob:
    """Remove a WpsJob whose retention has ended."""

    job: WpsJob


@dataclass(frozen=True)
class PatchQueueStatus:
    """Tell the counts of a queue."""

    queue: Metadata
    status: Mapping[str, Any]


@dataclass(frozen=True)
class PatchProcessStatus:
    """Tell how many WpsJobs a process has."""

    process: Metadata
    status: Mapping[str, Any]


Action = (
    PatchStatus
    | Launch
    | DeleteKubernetesJob
    | DeleteWpsJob
    | PatchQueueStatus
    | PatchProcessStatus
)


@dataclass
class Plan:
    """The actions of one round, all independent of each other, and when to look again."""

    actions: list[Action] = field(default_factory=list)
    problems: list[tuple[WpsJob, Exception]] = field(default_factory=list)
    """WpsJobs about which nothing could be decided; they keep no other one waiting."""
    wake_in: float | None = None
    """Seconds until something becomes due without any event; None if nothing will."""

    list_again: bool = False
    """Whether something can only be decided by lists that are younger than the last ones."""

    def add(self, *actions: Action) -> None:
        """Put *actions* into the round."""
        self.actions.extend(actions)

    def wake(self, seconds: float) -> None:
        """Look again in *seconds* at the latest."""
        if self.wake_in is None or seconds < self.wake_in:
            self.wake_in = max(0.0, seconds)
