"""Times as Kubernetes' MicroTime: RFC 3339 in UTC with microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def format_time(moment: datetime) -> str:
    """*moment* (aware) as ``2026-01-31T09:30:00.000000Z``."""
    # Not strftime: it writes the year 33 with two digits.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def format_seconds(moment: datetime) -> str:
    """*moment* as Kubernetes' Time, which ``lastTransitionTime`` is: to the second."""
    return format_time(moment).split(".")[0] + "Z"


def parse_time(text: str) -> datetime:
    """The aware datetime of an RFC 3339 string.

    Raises ValueError where *text* is none, or lacks the offset from UTC.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no offset from UTC; write it with a final Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"the time {text!r} is out of range") from None


def later(moment: datetime, seconds: float) -> datetime:
    """*moment* and *seconds* (not negative) more; the end of all days where it would be past it."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
