"""What a task stands at, given its WpsJob: with all that was asked or reported by now."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.tracker.objects import job
from wpsjobs.api.phases import ClaimState, Phase
from wpsjobs.tracker.status import OF_PHASE, Status, status_of


def test_codes_and_words_are_those_of_the_reference() -> None:
    assert [status.pair for status in Status] == [
        (1, "ACCEPTED"),
        (2, "SCHEDULED"),
        (3, "RUNNING"),
        (4, "PAUSED"),
        (5, "FINISHED"),
        (6, "FAILED"),
    ]


def test_every_phase_has_a_status() -> None:
    assert set(OF_PHASE) == set(Phase)
    assert OF_PHASE[Phase.DISMISSED] is Status.FAILED


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({}, {}, Status.ACCEPTED),
        ({}, {"phase": "Started"}, Status.RUNNING),
        ({"suspend": True}, {"phase": "Started"}, Status.PAUSED),
        ({"suspend": True}, {"phase": "Succeeded"}, Status.FINISHED),
        ({}, {"phase": "Paused", "startedAt": "2026-01-01T00:00:00Z"}, Status.RUNNING),
        ({}, {"phase": "Paused"}, Status.ACCEPTED),
        ({"cancel": True}, {"phase": "Started"}, Status.FAILED),
        ({"retries": 1}, {"phase": "Failed"}, Status.ACCEPTED),
        ({"retries": 1}, {"phase": "Failed", "retriesSeen": 1}, Status.FAILED),
        ({"retries": 1}, {"phase": "Started"}, Status.ACCEPTED),
    ],
)
def test_a_caller_reads_what_was_asked_before_the_operator_acts(
    spec: dict[str, Any], status: dict[str, Any], expected: Status
) -> None:
    assert status_of(job(spec, **status)) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (ClaimState.CLAIMED, Status.SCHEDULED),
        (ClaimState.RUNNING, Status.RUNNING),
        (ClaimState.PAUSED, Status.PAUSED),
        (ClaimState.SUCCEEDED, Status.FINISHED),
        (ClaimState.FAILED, Status.FAILED),
        (ClaimState.CRASHED, Status.ACCEPTED),
        (ClaimState.RELEASED, Status.ACCEPTED),
    ],
)
def test_a_consumers_report_counts_at_once(state: ClaimState, expected: Status) -> None:
    claim = {"consumer": "one", "attempt": 1, "state": state}
    assert status_of(job(phase="Accepted", attempt=0, claim=claim)) is expected


def test_the_claim_of_an_attempt_before_does_not_count() -> None:
    claim = {"consumer": "one", "attempt": 1, "state": "Paused"}
    assert status_of(job(phase="Accepted", attempt=2, claim=claim)) is Status.ACCEPTED


def test_a_handlers_label_counts_while_its_pod_runs() -> None:
    assert status_of(job(phase="Started"), Status.PAUSED) is Status.PAUSED
    assert status_of(job(phase="Started"), Status.FINISHED) is Status.RUNNING
    assert status_of(job(phase="Succeeded"), Status.PAUSED) is Status.FINISHED
