"""A measured figure beside its limit, and the table of them in Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    unit: str = ""
    most: float | None = None
    """The limit from above; None where there is none."""
    least: float | None = None
    """The limit from below."""
    note: str = ""
    """How it spreads, or what stands beside it."""

    @property
    def kept(self) -> bool:
        """Whether it keeps to its limits."""
        if math.isnan(self.value):
            return False
        if self.most is not None and self.value > self.most:
            return False
        return self.least is None or self.value >= self.least

    @property
    def limit(self) -> str:
        """In words."""
        if self.most is not None and self.most == self.least:
            return f"= {_text(self.most)} {self.unit}".rstrip()
        parts = [f"≤ {_text(self.most)}"] if self.most is not None else []
        parts += [f"≥ {_text(self.least)}"] if self.least is not None else []
        return f"{' and '.join(parts)} {self.unit}".strip() if parts else "-"

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.most is None and self.least is None:
            return "-"
        return "kept" if self.kept else "**broken**"


def table(figures: Sequence[Figure]) -> str:
    """All *figures* in Markdown."""
    lines = ["| figure | measured | limit | verdict | note |", "|---|---|---|---|---|"]
    for figure in figures:
        measured = f"{_text(figure.value)} {figure.unit}".rstrip()
        lines.append(
            f"| {figure.what} | {measured} | {figure.limit} | {figure.verdict} | {figure.note} |"
        )
    return "\n".join(lines)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that *percent* of *values* do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]


def spread(values: Sequence[float], unit: str) -> str:
    """Words for how many *values* there are and how they spread."""
    return (
        f"n = {len(values)}, p90 {_text(percentile(values, 90))}, "
        f"p99 {_text(percentile(values, 99))} {unit}"
    )


def median(values: Sequence[float]) -> float:
    """NaN where there is none."""
    return statistics.median(values) if values else math.nan


def _text(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
