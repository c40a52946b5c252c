"""Which jobs' directories may go, decided without touching any of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from wpsjobs.eoxserver.storage import Marker

GRACE_SECONDS = 120.0
"""Age of a marker before its job can count as gone: an Execute writes it before the WpsJob."""
MIN_MASS = 10
MASS_FRACTION = 0.1
"""A removal of at least ``MIN_MASS`` jobs that is more than this part of all is not done:
somebody may have lost a cluster, not the results."""


@dataclass(frozen=True)
class Found:
    """A marker on the shared volume."""

    marker: Marker
    age: float
    """Seconds since it was written."""
    expired: bool = False
    """The job was to be deleted by now, as the operator had announced."""


@dataclass(frozen=True)
class Sweep:
    """What one pass came to."""

    remove: tuple[Marker, ...]
    """To be removed, after a last look at each."""
    absent: frozenset[str]
    """Identifiers of the jobs that this list lacked, for the next pass."""
    refusal: str | None = None
    """Why nothing is removed though something could be, or None."""


def decide(
    found: Collection[Found],
    present: Mapping[str, str | None],
    absent_before: Collection[str],
    namespace_uid: str,
    *,
    allow_mass: bool = False,
) -> Sweep:
    """What to remove, given the complete list *present* (WpsJob name → submission).

    A job must be absent from this list and from the one before, its marker must be of this very
    namespace and older than the grace period.
    """
    own = [item for item in found if item.marker.namespace_uid == namespace_uid]
    absent = [item for item in own if item.marker.name not in present]
    ripe = [
        item for item in absent if item.marker.id in absent_before and item.age >= GRACE_SECONDS
    ]
    seen = frozenset(item.marker.id for item in absent)
    # What the operator deleted because it had expired is no surprise, however much it is.
    surprising = [item for item in ripe if not item.expired]
    if not allow_mass and is_mass(len(surprising), len(own)):
        expired = tuple(item.marker for item in ripe if item.expired)
        return Sweep(
            expired,
            seen,
            f"{len(surprising)} of {len(own)} jobs have no WpsJob any more. Their directories are "
            "kept, for a cluster may be lost and not the results. Where they are to go, run: "
            "manage.py wpsjobs housekeep --once --allow-mass-removal",
        )
    return Sweep(tuple(item.marker for item in ripe), seen)


def is_mass(removed: int, total: int) -> bool:
    """Whether removing *removed* of *total* jobs is too much to be done unasked."""
    return removed >= MIN_MASS and removed > MASS_FRACTION * total


def is_expired(expires_at: datetime | None, now: datetime) -> bool:
    return expires_at is not None and expires_at <= now
