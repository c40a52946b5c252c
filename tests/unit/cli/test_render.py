"""Columns in terminals of all widths, times, and data for programs."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import pytest
import yaml
from rich.console import Console

from tests.unit.cli.objects import NOW, make_job
from wpsjobs.api.phases import Phase
from wpsjobs.cli.render import (
    Column,
    Format,
    duration,
    one_line,
    phase_text,
    print_data,
    print_table,
    since,
    until,
)

COLUMNS = (Column("JOB"), Column("PROCESS", 1), Column("PHASE"), Column("OWNER", 2))
ROW = ["0e6a5b6e-5d0f-4c1c-9f0d-0a8f3d0c6a51", "Hillshade", phase_text(Phase.STARTED), "ada"]


def table(width: int) -> list[str]:
    out = io.StringIO()
    print_table(COLUMNS, [ROW], Console(file=out, width=width, highlight=False))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "headings"),
    [
        (10_000, ["JOB", "PROCESS", "PHASE", "OWNER"]),
        (66, ["JOB", "PROCESS", "PHASE", "OWNER"]),
        (64, ["JOB", "PROCESS", "PHASE"]),
        (50, ["JOB", "PHASE"]),
    ],
)
def test_a_narrow_terminal_drops_columns_and_cuts_no_identifier(
    width: int, headings: list[str]
) -> None:
    head, row = table(width)
    assert head.split() == headings
    assert row.split()[0] == ROW[0]
    assert len(row) <= width


def test_where_not_even_the_least_fits_it_is_marked_as_cut() -> None:
    _, row = table(30)
    assert len(row) <= 30
    assert "…" in row


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (86400 * 3, "3d")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_how_long_ago_and_how_long_yet() -> None:
    assert since(NOW - timedelta(seconds=30), NOW) == "30s"
    assert since(None, NOW) == "-"
    assert until(NOW + timedelta(minutes=3), NOW) == "~3m"
    assert until(None, NOW) == "-"


def test_data_are_the_same_in_both_formats(capsys: pytest.CaptureFixture[str]) -> None:
    data = [{"phase": Phase.STARTED, "message": "dé: 1", "progress": 3}]
    print_data(data, Format.JSON)
    assert json.loads(capsys.readouterr().out) == data
    print_data(data, Format.YAML)
    assert yaml.safe_load(capsys.readouterr().out) == data


def test_a_change_is_one_line() -> None:
    progress = {"percent": 40, "message": "row 4 of 10"}
    job = make_job("a", 1, {"phase": "Started", "message": "runs in a pod", "progress": progress})
    assert one_line(job) == "Started  40 %  row 4 of 10"
    assert one_line(make_job("a", 1, {"phase": "Failed", "message": "nope"})) == "Failed  nope"
    assert one_line(make_job("a")) == "New"
