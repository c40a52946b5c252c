"""The phases against the tables of the design."""

from __future__ import annotations

import pytest

from wpsjobs.api.phases import (
    DEFAULT_RESTART_ON,
    EOXSERVER_STATUS,
    FINISHED,
    LAUNCHED,
    UNFINISHED,
    Cause,
    Condition,
    Phase,
    Reason,
)


@pytest.mark.parametrize(
    ("phase", "eoxserver", "finished"),
    [
        ("Accepted", "ACCEPTED", False),
        ("Scheduled", "ACCEPTED", False),
        ("Started", "STARTED", False),
        ("Paused", "PAUSED", False),
        ("Succeeded", "SUCCEEDED", True),
        ("Failed", "FAILED", True),
        ("Dismissed", "CANCELLED", True),
        ("Rejected", "CANCELLED", True),
    ],
)
def test_each_phase_is_as_in_the_table(phase: str, eoxserver: str, finished: bool) -> None:
    assert EOXSERVER_STATUS[Phase(phase)] == eoxserver
    assert (phase in FINISHED) is finished
    assert (phase in UNFINISHED) is not finished


def test_there_are_no_other_phases() -> None:
    assert len(Phase) == len(EOXSERVER_STATUS) == 8
    assert set(Phase) == FINISHED | UNFINISHED
    assert {"Scheduled", "Started"} == LAUNCHED


def test_the_conditions_and_causes_are_those_of_the_design() -> None:
    assert set(Condition) == {"Accepted", "Admitted", "Suspended", "Complete", "Failed"}
    assert set(Cause) == {"Crash", "OutOfMemory", "Timeout", "ProcessError"}
    assert {"Crash", "OutOfMemory", "Timeout"} == DEFAULT_RESTART_ON


@pytest.mark.parametrize("word", [*Reason, *Condition, *Phase])
def test_words_for_programs_are_camel_case_and_fit_the_schema(word: str) -> None:
    assert word.isalpha()
    assert word[0].isupper()
    assert len(word) <= 64
