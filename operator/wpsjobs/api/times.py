"""Times as Kubernetes' MicroTime: RFC 3339 in UTC with microseconds."""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(moment: datetime) -> str:
    """*moment* (aware) as ``2026-01-31T09:30:00.000000Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """The aware datetime of an RFC 3339 string.

    Raises ValueError where *text* is none, or lacks the offset from UTC.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no offset from UTC; write it with a final Z")
    return moment.astimezone(UTC)
