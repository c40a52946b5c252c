"""``status.parts``: how the parts of a fan-out stand, in texts that stay short for many of them.

Parts are named by their index in ``spec.parts``. As everywhere in a status, what is off is read as
absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count, groupby
from typing import Any

from wpsjobs.api.times import format_time, parse_time

MAX_PARTS = 10_000
"""Items of ``spec.parts``, by the schema."""
SHARE_OF_PARTS = 90
"""Per cent of the progress that is the parts'; the rest is the merge step's."""


@dataclass(frozen=True)
class Restarts:
    """How often one part was launched again."""

    counted: int = 0
    """Against its restart limit."""
    uncounted: int = 0
    """After disruptions."""

    @property
    def tries(self) -> int:
        """How many launches there were before the current one."""
        return self.counted + self.uncounted


@dataclass(frozen=True)
class Parts:
    """Where each part stands; one that is in none of the sets is still to be launched."""

    attempt: int
    """The attempt in which the parts run; a merge step that is repeated has another number."""
    total: int
    succeeded: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    """For good."""
    running: frozenset[int] = frozenset()
    """They hold a slot each."""
    late: frozenset[int] = frozenset()
    """Those of the running ones that the operator ends, as they have run for too long."""
    restarts: Mapping[int, Restarts] = field(default_factory=dict)
    launched_at: datetime | None = None
    """When one of them was last given a slot: whose turn it is, among several fan-outs."""
    reason: str | None = None
    """Why the fan-out fails, where a part has failed for good; with *message*."""
    message: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all have succeeded."""
        return len(self.succeeded) >= self.total > 0

    @property
    def percent(self) -> int:
        """The progress of the whole."""
        return SHARE_OF_PARTS * len(self.succeeded) // self.total if self.total else 0

    def tries(self, index: int) -> int:
        """How often the part *index* was launched before its current or next launch."""
        return self.restarts.get(index, Restarts()).tries

    def launched(self, indexes: Iterable[int], at: datetime) -> Parts:
        """These, with *indexes* given a slot each."""
        return replace(self, running=self.running | frozenset(indexes), launched_at=at)

    def to_json(self) -> dict[str, Any]:
        """As the status has it; every text is there, so that a merge patch replaces it."""
        fields: dict[str, Any] = {
            "attempt": self.attempt,
            "total": self.total,
            "succeeded": format_indexes(self.succeeded),
            "failed": format_indexes(self.failed),
            "running": format_indexes(self.running),
            "late": format_indexes(self.late),
            "restarts": ",".join(
                f"{index}:{one.counted}" + (f"+{one.uncounted}" if one.uncounted else "")
                for index, one in sorted(self.restarts.items())
            ),
        }
        if self.launched_at is not None:
            fields["launchedAt"] = format_time(self.launched_at)
        if self.reason is not None:
            fields |= {"reason": self.reason, "message": self.message or ""}
        return fields

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> Parts:
        """What can be read of *raw*; indexes beyond the total are none."""
        total = min(MAX_PARTS, _number(raw.get("total")))

        def indexes(key: str) -> frozenset[int]:
            return parse_indexes(_text(raw.get(key)), total)

        try:
            launched_at = parse_time(_text(raw.get("launchedAt")))
        except ValueError:
            launched_at = None
        return cls(
            attempt=_number(raw.get("attempt")),
            total=total,
            succeeded=indexes("succeeded"),
            failed=indexes("failed"),
            running=indexes("running"),
            late=indexes("late"),
            restarts=_restarts(_text(raw.get("restarts")), total),
            launched_at=launched_at,
            reason=_text(raw.get("reason")) or None,
            message=_text(raw.get("message")) or None,
        )


def format_indexes(indexes: Iterable[int]) -> str:
    """*indexes* as intervals: ``0-4,7``."""
    # Within an interval, a number and its rank are equally far apart.
    rank = count()
    runs = [list(run) for _, run in groupby(sorted(indexes), lambda index: index - next(rank))]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def parse_indexes(text: str, total: int) -> frozenset[int]:
    """The indexes below *total* that the intervals in *text* name."""
    found: set[int] = set()
    for interval in text.split(","):
        first, _, last = interval.partition("-")
        if first.isascii() and first.isdigit():
            end = int(last) if last.isascii() and last.isdigit() else int(first)
            found.update(range(int(first), min(end + 1, total)))
    return frozenset(found)


def _restarts(text: str, total: int) -> dict[int, Restarts]:
    found = {}
    for item in text.split(","):
        index, _, counts = item.partition(":")
        counted, _, uncounted = counts.partition("+")
        numbers = [index, counted, uncounted or "0"]
        if all(number.isascii() and number.isdigit() for number in numbers) and int(index) < total:
            found[int(index)] = Restarts(int(counted), int(uncounted or 0))
    return found


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
