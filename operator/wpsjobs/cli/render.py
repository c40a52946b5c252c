"""What is printed: columns that fit the terminal, or data for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from wpsjobs.api.phases import Phase
from wpsjobs.api.times import parse_time
from wpsjobs.api.wpsjob import WpsJob

PIPED_COLUMNS = 10_000
"""Width where no terminal is there to be too narrow: nothing is cut."""
BAR_COLUMNS = 20
_GAP = 3

_STYLES = {
    Phase.ACCEPTED: "yellow",
    Phase.SCHEDULED: "cyan",
    Phase.STARTED: "cyan",
    Phase.PAUSED: "magenta",
    Phase.SUCCEEDED: "green",
    Phase.FAILED: "red",
    Phase.DISMISSED: "bright_black",
    Phase.REJECTED: "red",
}


class Format(StrEnum):
    """Of what is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def console(*, stderr: bool = False) -> Console:
    """Where to print: as wide as the terminal, without limit where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_COLUMNS
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=False, emoji=False)


def print_data(data: Any, form: Format) -> None:
    """As JSON or YAML."""
    if form is Format.JSON:
        print(json.dumps(data, indent=2, ensure_ascii=False, default=str))
    else:
        import yaml  # noqa: PLC0415 (seldom wanted)

        print(yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=True), end="")


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    heading: str
    priority: int = 0
    """In a narrow terminal, columns of the highest number go first; those of 0 stay."""
    right: bool = False


def print_table(
    columns: Sequence[Column], rows: Iterable[Sequence[str | Text]], to: Console | None = None
) -> None:
    """Columns as kubectl has them, less those for which there is no room."""
    out, cells = to or console(), [list(row) for row in rows]
    kept = _fitting(columns, cells, out.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for index in kept:
        column = columns[index]
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in cells:
        table.add_row(*(row[index] for index in kept))
    out.print(table)


def _fitting(columns: Sequence[Column], rows: list[list[str | Text]], width: int) -> list[int]:
    """Indexes of the columns that are shown."""
    widths = [
        max([len(column.heading), *(cell_len(str(row[index])) for row in rows)]) + _GAP
        for index, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[index] for index in kept) - _GAP > width:
        last = max(kept, key=lambda index: (columns[index].priority, index))
        if columns[last].priority == 0:
            break
        kept.remove(last)
    return kept


def phase_text(phase: Phase | None) -> Text:
    """A phase in its colour; a WpsJob that the operator has not seen yet has none."""
    return Text("New", "bright_black") if phase is None else Text(phase, _STYLES[phase])


def bar(part: int, whole: int) -> ProgressBar:
    """A bar of the usual width."""
    return ProgressBar(total=max(1, whole), completed=min(part, whole), width=BAR_COLUMNS)


def duration(seconds: float) -> str:
    """In the largest units, as kubectl writes ages: 45s, 12m, 3h, 2d."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= 2 * size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def since(moment: datetime | None, now: datetime) -> str:
    """How long ago; a dash where it has not been."""
    return "-" if moment is None else duration((now - moment).total_seconds())


def until(moment: datetime | None, now: datetime) -> str:
    """How long until then; a dash where nobody knows."""
    return "-" if moment is None else f"~{duration((moment - now).total_seconds())}"


def clock(text: object) -> str:
    """A time of a status as local time of day, with the day where it was another one."""
    try:
        moment = parse_time(str(text)).astimezone()
    except ValueError:
        return str(text)
    today = datetime.now(UTC).astimezone().date()
    return moment.strftime("%H:%M:%S" if moment.date() == today else "%Y-%m-%d %H:%M:%S")


def one_line(job: WpsJob) -> str:
    """What there is to say of a WpsJob at the moment, for a log of changes."""
    status = job.status
    words = [str(status.phase or "New")]
    if status.progress is not None and status.phase in {Phase.STARTED, Phase.PAUSED}:
        words.append(f"{status.progress.percent} %")
        words.append(status.progress.message or "")
    else:
        words.append(status.message or "")
    return "  ".join(word for word in words if word)


def _plain(data: Any) -> Any:
    """Without subclasses of str, which YAML would tag."""
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    return str(data) if isinstance(data, str) else data
