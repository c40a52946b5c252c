"""What a transition writes into history, conditions and attempts, and that it stays bounded."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controller.objects import NOW, wpsjob
from wpsjobs.api.phases import FINISHED, Phase, Reason
from wpsjobs.controller.transitions import (
    HISTORY_ENDS,
    MAX_ATTEMPTS,
    MAX_MESSAGE,
    Transition,
    attempt_entry,
    shorten,
    transit,
)

LATER = NOW + timedelta(minutes=5)


def conditions(patch: Any) -> dict[str, tuple[str, str, str]]:
    return {
        one["type"]: (one["status"], one["reason"], one["lastTransitionTime"])
        for one in patch["conditions"]
    }


def test_history_gains_an_entry() -> None:
    old = [{"time": "2026-01-31T09:00:00.000000Z", "phase": "Accepted", "message": "waiting"}]
    job = wpsjob("a", status={"phase": "Accepted", "history": old})
    patch = transit(job, Transition(Phase.SCHEDULED, Reason.ADMITTED, "goes"), NOW).patch
    new = {"time": "2026-01-31T09:30:00.000000Z", "phase": "Scheduled", "message": "goes"}
    assert patch["history"] == [*old, new]


def test_of_a_long_history_the_first_and_the_last_100_are_kept() -> None:
    history: list[Any] = []
    for number in range(450):
        job = wpsjob("a", status={"phase": "Accepted", "history": history})
        to = Transition(Phase.ACCEPTED, Reason.RELAUNCH, f"relaunch {number}")
        history = list(transit(job, to, NOW).patch["history"])
        assert len(history) <= 2 * HISTORY_ENDS
    messages = [entry["message"] for entry in history]
    assert messages[:100] == [f"relaunch {number}" for number in range(100)]
    assert messages[100:] == [f"relaunch {number}" for number in range(350, 450)]


def test_the_last_ten_attempts_are_kept() -> None:
    entries: list[dict[str, Any]] = []
    for number in range(1, 16):
        entries = attempt_entry(entries, number, {"jobName": f"a-{number}"})
    assert len(entries) == MAX_ATTEMPTS
    assert [entry["number"] for entry in entries] == list(range(6, 16))


def test_an_attempt_has_one_entry_that_grows_and_the_old_list_is_left_alone() -> None:
    old = [{"number": 1, "jobName": "a-1"}]
    entries = attempt_entry(old, 1, {"exitCode": 0})
    assert entries == [{"number": 1, "jobName": "a-1", "exitCode": 0}]
    assert old == [{"number": 1, "jobName": "a-1"}]


def test_a_condition_that_stays_keeps_its_time_and_its_words() -> None:
    job = wpsjob("a")
    first = transit(job, Transition(Phase.ACCEPTED, Reason.QUEUED, "waits"), NOW).patch
    job = wpsjob("a", status={"phase": "Accepted", "conditions": first["conditions"]})
    second = transit(job, Transition(Phase.SCHEDULED, Reason.ADMITTED, "goes"), LATER).patch
    assert conditions(second) == {
        "Accepted": ("True", "Queued", "2026-01-31T09:30:00Z"),
        "Admitted": ("True", "Admitted", "2026-01-31T09:35:00Z"),
    }


@pytest.mark.parametrize(
    ("phase", "true"),
    [
        (Phase.ACCEPTED, {"Accepted"}),
        (Phase.SCHEDULED, {"Accepted", "Admitted"}),
        (Phase.STARTED, {"Accepted", "Admitted"}),
        (Phase.PAUSED, {"Accepted", "Suspended"}),
        (Phase.SUCCEEDED, {"Complete"}),
        (Phase.FAILED, {"Failed"}),
        (Phase.DISMISSED, {"Failed"}),
        (Phase.REJECTED, {"Failed"}),
    ],
)
def test_each_phase_has_its_conditions(phase: Phase, true: set[str]) -> None:
    patch = transit(wpsjob("a"), Transition(phase, Reason.QUEUED, "words"), NOW).patch
    assert {kind for kind, (status, *_) in conditions(patch).items() if status == "True"} == true


def test_a_wpsjob_that_was_never_accepted_says_so() -> None:
    patch = transit(wpsjob("a"), Transition(Phase.REJECTED, Reason.QUEUE_FULL, "full"), NOW).patch
    assert conditions(patch)["Accepted"][0] == "False"


def test_accepted_stays_true_to_the_end() -> None:
    job = wpsjob("a", status={"phase": "Started", "acceptedAt": "2026-01-31T09:00:00Z"})
    patch = transit(job, Transition(Phase.FAILED, Reason.CRASH, "crashed"), NOW).patch
    assert conditions(patch)["Accepted"][0] == "True"


def test_a_frozen_wpsjob_stays_admitted_and_a_paused_queued_one_never_was() -> None:
    for phase, admitted in (("Started", True), ("Accepted", False)):
        job = wpsjob("a", status={"phase": phase})
        patch = transit(job, Transition(Phase.PAUSED, Reason.SUSPENDED, "pause"), NOW).patch
        states = conditions(patch)
        assert (states.get("Admitted", ("False",))[0] == "True") is admitted


def test_the_sequence_is_stamped_once() -> None:
    to = Transition(Phase.ACCEPTED, Reason.QUEUED, "waits")
    assert transit(wpsjob("a", version=7), to, NOW).patch["sequence"] == 7
    stamped = wpsjob("a", version=9, status={"phase": "Paused", "sequence": 7})
    assert "sequence" not in transit(stamped, to, NOW).patch


@pytest.mark.parametrize("phase", list(Phase))
def test_each_transition_is_told_by_an_event(phase: Phase) -> None:
    milestone = transit(wpsjob("a"), Transition(phase, Reason.QUEUED, "words"), NOW).milestone
    assert milestone is not None
    assert (milestone.reason, milestone.message) == (phase, "words")
    assert milestone.warning is (phase in FINISHED and phase is not Phase.SUCCEEDED)


@given(st.text(max_size=20000), st.integers(10, 5000))
def test_a_message_is_shortened_in_its_middle(text: str, length: int) -> None:
    short = shorten(text, length)
    assert len(short) <= length
    assert short == text or (short[:2], short[-2:]) == (text[:2], text[-2:])


def test_a_huge_message_fits_the_schema() -> None:
    to = Transition(Phase.FAILED, Reason.CRASH, "ü" * 100_000)
    action = transit(wpsjob("a"), to, NOW)
    assert len(action.patch["message"]) <= MAX_MESSAGE
    assert len(action.patch["history"][-1]["message"]) <= MAX_MESSAGE
    json.dumps(action.patch)
