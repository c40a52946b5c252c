"""What an exit code, a pod's state and a termination message add up to."""

from __future__ import annotations

import pytest

from tests.unit.controller.objects import attempt, kubernetes_job, pod
from wpsjobs.api.attempt import ExitCode, TerminationMessage
from wpsjobs.api.phases import Cause, Reason
from wpsjobs.controller.outcome import outcome

WORDS = TerminationMessage("the azimuth is none").to_json()
EVICTED = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}


@pytest.mark.parametrize(
    ("code", "reason", "cause", "counted"),
    [
        (ExitCode.SUCCEEDED, Reason.COMPLETED, None, True),
        (ExitCode.PROCESS_ERROR, Reason.PROCESS_ERROR, Cause.PROCESS_ERROR, True),
        (ExitCode.CLIENT_ERROR, Reason.CLIENT_ERROR, None, True),
        (ExitCode.TIMEOUT, Reason.TIMEOUT, Cause.TIMEOUT, True),
        (ExitCode.SUPERSEDED, Reason.SUPERSEDED, None, False),
        (ExitCode.BAD_REQUEST, Reason.BAD_REQUEST, None, True),
        (ExitCode.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, Cause.OUT_OF_MEMORY, True),
        (ExitCode.CRASHED, Reason.CRASH, Cause.CRASH, True),
        (ExitCode.TERMINATED, Reason.CRASH, Cause.CRASH, True),
        (1, Reason.CRASH, Cause.CRASH, True),
        (137, Reason.CRASH, Cause.CRASH, True),
        (255, Reason.CRASH, Cause.CRASH, True),
    ],
)
def test_each_exit_code_has_its_reason_and_cause(
    code: int, reason: Reason, cause: Cause | None, counted: bool
) -> None:
    phase = "Succeeded" if code == 0 else "Failed"
    end = outcome(attempt(kubernetes_job("a"), pod("a", phase=phase, exit_code=code)))
    assert (end.reason, end.cause, end.counted, end.exit_code) == (reason, cause, counted, code)
    assert end.succeeded is (code == 0)
    assert end.message


def test_every_exit_code_is_thought_of() -> None:
    for code in ExitCode:
        end = outcome(attempt(None, pod("a", phase="Failed", exit_code=code)))
        assert end.exit_code == code


@pytest.mark.parametrize("code", [c for c in ExitCode if c != ExitCode.SUCCEEDED])
def test_the_workers_own_words_are_passed_on(code: ExitCode) -> None:
    end = outcome(attempt(None, pod("a", phase="Failed", exit_code=code, message=WORDS)))
    assert end.message == "the azimuth is none"


def test_a_termination_message_that_is_none_of_ours_is_no_words() -> None:
    end = outcome(attempt(None, pod("a", phase="Failed", exit_code=137, message="Killed")))
    assert end.reason is Reason.CRASH
    assert "signal 9" in end.message


def test_the_kernels_out_of_memory_is_told_from_a_crash() -> None:
    end = outcome(attempt(None, pod("a", phase="Failed", exit_code=137, reason="OOMKilled")))
    assert (end.reason, end.cause, end.counted) == (
        Reason.OUT_OF_MEMORY,
        Cause.OUT_OF_MEMORY,
        True,
    )


@pytest.mark.parametrize("code", [17, 137, 143, None])
@pytest.mark.parametrize(
    "reason", ["EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager"]
)
def test_evictions_and_drains_do_not_count(code: int | None, reason: str) -> None:
    condition = {**EVICTED, "reason": reason}
    end = outcome(attempt(None, pod("a", phase="Failed", exit_code=code, conditions=[condition])))
    assert (end.reason, end.counted) == (Reason.DISRUPTED, False)
    assert reason in end.message


def test_an_eviction_by_the_kubelet_counts() -> None:
    condition = {**EVICTED, "reason": "TerminationByKubelet"}
    end = outcome(
        attempt(
            None,
            pod(
                "a",
                phase="Failed",
                conditions=[condition],
                reason="Evicted",
                message=None,
                **{"containerStatuses": []},
            ),
        )
    )
    assert (end.reason, end.cause, end.counted) == (Reason.CRASH, Cause.CRASH, True)
    assert "Evicted" in end.message


def test_a_disruption_that_did_not_come_true_is_none() -> None:
    condition = {**EVICTED, "status": "False"}
    end = outcome(attempt(None, pod("a", phase="Failed", exit_code=143, conditions=[condition])))
    assert end.counted


def test_success_wins_over_a_disruption() -> None:
    end = outcome(attempt(None, pod("a", phase="Succeeded", exit_code=0, conditions=[EVICTED])))
    assert end.succeeded


def test_a_pod_that_is_gone_is_a_crash() -> None:
    end = outcome(attempt())
    assert (end.reason, end.cause) == (Reason.CRASH, Cause.CRASH)
    assert "gone" in end.message


def test_a_failed_kubernetes_job_without_a_pod_says_why() -> None:
    end = outcome(attempt(kubernetes_job("a", end="Failed")))
    assert end.reason is Reason.CRASH
    assert "BackoffLimitExceeded" in end.message


def test_a_complete_kubernetes_job_is_a_success_even_where_its_pod_is_not_known() -> None:
    """The watch of pods may lag behind that of Kubernetes Jobs, or the pod be gone already."""
    assert outcome(attempt(kubernetes_job("a", end="Complete"))).succeeded


def test_of_a_pod_and_its_replacement_that_which_ended_counts() -> None:
    ended = pod("a", phase="Succeeded", exit_code=0, suffix="aaaaa")
    other = pod("a", phase="Pending", suffix="zzzzz")
    assert outcome(attempt(None, other, ended)).succeeded
