"""WpsJobs whose queue has consumers: what claims and reports of them become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.controller.objects import NOW, ago, merged, process, queue, view, wpsjob
from tests.unit.controller.test_lifecycle import only_patch, plan
from wpsjobs.api.phases import Phase, Reason
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.actions import DeleteWpsJob, PatchStatus
from wpsjobs.controller.view import View

CONSUMER = "consumer-0/1"


def waiting(name: str = "a", **arguments: Any) -> WpsJob:
    """A WpsJob in the queue, that may have a claim."""
    status = {"phase": "Accepted", "reason": "Queued", "sequence": 10, "attempt": 0}
    status |= {"acceptedAt": ago(100), **arguments.pop("status", {})}
    return wpsjob(name, status=status, **arguments)


def claim(state: str = "Claimed", attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {"consumer": CONSUMER, "attempt": attempt, "state": state, **more}


def held_status(state: str = "Claimed", **status: Any) -> dict[str, Any]:
    """The status of a WpsJob of whose claim the operator has taken note, 50 s ago."""
    begun = "startedAt" in status
    return {
        "phase": "Started" if begun else "Scheduled",
        "reason": "ConsumerRunning" if begun else "Claimed",
        "sequence": 10,
        "attempt": 1,
        "restarts": 0,
        "scheduledAt": ago(50),
        "claim": claim(state, reports=[]),
        "attempts": [{"number": 1, "consumer": CONSUMER}],
        "history": [{"time": ago(50), "phase": "Scheduled", "message": "claimed"}],
        **status,
    }


def held(state: str = "Claimed", *, spec: Mapping[str, Any] | None = None, **status: Any) -> WpsJob:
    return wpsjob("a", spec=spec, status=held_status(state, **status))


def after(status: Mapping[str, Any], patch: Mapping[str, Any], **spec: Any) -> WpsJob:
    """The WpsJob of *status* after a patch of the operator's or of a consumer's."""
    return wpsjob("a", version=11, spec=spec, status=merged(status, patch))


def consumers(*jobs: WpsJob, spec: Mapping[str, Any] | None = None, **of_process: Any) -> View:
    """A namespace whose queue has consumers."""
    defaults = {"timeoutSeconds": 60, "restartLimit": 1}
    one = queue(executor="Consumers", **{"defaults": defaults, **(spec or {})})
    return view(*jobs, queues=[one], processes=[process(**of_process)])


def phases(patch: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(entry["phase"], entry["message"]) for entry in patch["history"]]


# -- the queue ------------------------------------------------------------------------------------


def test_a_new_wpsjob_waits_and_is_never_launched() -> None:
    patch = only_patch(consumers(wpsjob("a")))
    assert patch["phase"] == Phase.ACCEPTED
    accepted = after({}, patch)
    assert plan(consumers(accepted)).actions == []


def test_of_a_full_queue_the_latest_are_refused() -> None:
    jobs = [wpsjob(f"j{number}", version=number) for number in range(10, 15)]
    actions = plan(consumers(*jobs, spec={"maxQueued": 3, "parallelism": 1})).actions
    found = {a.job.metadata.name: a.patch["phase"] for a in actions if isinstance(a, PatchStatus)}
    assert found == {
        **dict.fromkeys(["j10", "j11", "j12"], Phase.ACCEPTED),
        **dict.fromkeys(["j13", "j14"], Phase.REJECTED),
    }


def test_refusals_wait_for_what_leaves_the_queue_and_not_for_what_ends() -> None:
    new, limit = wpsjob("new", version=99), {"maxQueued": 1}
    claimed = waiting(status={"claim": claim()})
    actions = plan(consumers(claimed, new, spec=limit)).actions
    assert [a.patch["phase"] for a in actions if isinstance(a, PatchStatus)] == ["Scheduled"]

    full = [held("Succeeded"), waiting("b"), new]
    actions = plan(consumers(*full, spec=limit)).actions
    found = {a.job.metadata.name: a.patch["phase"] for a in actions if isinstance(a, PatchStatus)}
    assert found == {"a": Phase.SUCCEEDED, "new": Phase.REJECTED}


# -- claims ---------------------------------------------------------------------------------------


def test_a_claim_takes_the_next_attempt() -> None:
    job = waiting(status={"claim": claim(message="mine", reports=[report("Claimed", "mine")])})
    patch = only_patch(consumers(job))
    assert (patch["phase"], patch["reason"]) == (Phase.SCHEDULED, Reason.CLAIMED)
    assert (patch["attempt"], patch["message"]) == (1, "mine")
    assert patch["scheduledAt"] == ago(0)
    assert patch["claim"] == {"reports": []}
    assert patch["attempts"] == [{"number": 1, "consumer": CONSUMER}]


def report(state: str, message: str = "") -> dict[str, str]:
    return {"state": state, "message": message}


@pytest.mark.parametrize(
    "bad",
    [claim(attempt=2), claim(attempt=0), {**claim(), "consumer": ""}, {}],
    ids=["an attempt too far", "an attempt before", "of nobody", "empty"],
)
def test_a_claim_that_is_none_is_removed(bad: dict[str, Any]) -> None:
    assert only_patch(consumers(waiting(status={"claim": bad}))) == {"claim": None}


def test_a_paused_wpsjob_cannot_be_claimed() -> None:
    job = waiting(spec={"suspend": True}, status={"phase": "Paused", "claim": claim()})
    assert only_patch(consumers(job)) == {"claim": None}


def test_a_claim_on_a_dismissed_wpsjob_ends_with_it() -> None:
    patch = only_patch(consumers(waiting(spec={"cancel": True}, status={"claim": claim()})))
    assert (patch["phase"], patch["claim"]) == (Phase.DISMISSED, None)


def test_a_claim_means_nothing_where_the_operator_launches() -> None:
    actions = plan(view(waiting(status={"claim": claim()}))).actions
    assert [type(action).__name__ for action in actions] == ["Launch"]


# -- reports --------------------------------------------------------------------------------------


def test_reports_become_phases_with_the_consumers_words() -> None:
    said = claim("Running", reports=[report("Running", "here we go")])
    status = held_status(claim=said)
    patch = only_patch(consumers(wpsjob("a", status=status)))
    assert (patch["phase"], patch["reason"]) == (Phase.STARTED, Reason.CONSUMER_RUNNING)
    assert (patch["message"], patch["startedAt"]) == ("here we go", ago(0))
    assert patch["claim"] == {"reports": []}
    assert plan(consumers(after(status, patch))).actions == []


def test_the_start_of_a_small_task_is_told_with_its_end() -> None:
    reports = [report("Running", "begun")]
    status = held_status(scheduledAt=ago(0.25), claim=claim("Running", reports=reports))
    whole = plan(consumers(wpsjob("a", status=status)))
    assert (whole.actions, whole.wake_in) == ([], pytest.approx(0.75))

    done = {"state": "Succeeded", "message": "", "reports": [*reports, report("Succeeded")]}
    patch = only_patch(consumers(after(status, {"claim": done})))
    assert [phase for phase, _ in phases(patch)[1:]] == ["Started", "Succeeded"]
    assert phases(patch)[1][1] == "begun"


def test_a_state_alone_is_a_report() -> None:
    """A consumer of somebody's own may leave the list of reports alone."""
    assert only_patch(consumers(held("Running")))["phase"] == Phase.STARTED
    assert only_patch(consumers(held("Succeeded")))["phase"] == Phase.SUCCEEDED


def test_no_words_are_lost_that_came_before_the_operator_looked() -> None:
    reports = [report("Claimed", "1"), report("Running", "2"), report("Paused", "3")]
    reports += [report("Running", "4"), report("Succeeded", "5")]
    said = {"claim": claim("Succeeded", message="5", reports=reports)}
    status = {"phase": "Accepted", "attempt": 0, "sequence": 10, **said}
    first = only_patch(consumers(wpsjob("a", status=status)))
    assert (first["phase"], phases(first)) == (Phase.SCHEDULED, [("Scheduled", "1")])
    assert first["claim"] == {"reports": reports[1:]}

    last = only_patch(consumers(after(status, first)))
    assert last["phase"] == Phase.SUCCEEDED
    assert phases(last)[1:] == [
        ("Started", "2"),
        ("Paused", "3"),
        ("Started", "4"),
        ("Succeeded", "5"),
    ]
    assert last["startedAt"] == ago(0)
    assert last["attempts"][0]["reason"] == "Completed"


def test_more_words_on_the_same_state_are_no_milestone() -> None:
    job = held(
        "Running", startedAt=ago(20), claim=claim("Running", reports=[report("Running", "half")])
    )
    (action,) = plan(consumers(job)).actions
    assert isinstance(action, PatchStatus)
    assert (action.patch["phase"], action.patch["message"]) == (Phase.STARTED, "half")
    assert action.milestone is None
    assert "history" not in action.patch, "there is no way from a phase to itself"
    assert "startedAt" not in action.patch


def test_a_failure_is_final_at_once_and_a_crash_is_not() -> None:
    failed = only_patch(consumers(held("Failed", claim=claim("Failed", message="no numbers"))))
    assert (failed["phase"], failed["reason"]) == (Phase.FAILED, Reason.PROCESS_ERROR)
    assert failed["message"] == "no numbers"

    crashed = held("Crashed")
    again = only_patch(consumers(crashed))
    assert (again["phase"], again["restarts"], again["claim"]) == (Phase.ACCEPTED, 1, None)
    assert again["scheduledAt"] is None
    assert again["attempts"][0]["reason"] == "Crash"

    given_up = only_patch(consumers(held("Crashed", restarts=1)))
    assert (given_up["phase"], given_up["reason"]) == (Phase.FAILED, Reason.CRASH)


def test_a_failure_is_repeated_where_that_is_asked_for() -> None:
    patch = only_patch(consumers(held("Failed"), restartOn=["ProcessError"]))
    assert (patch["phase"], patch["restarts"]) == (Phase.ACCEPTED, 1)


def test_what_is_given_back_is_repeated_uncounted() -> None:
    patch = only_patch(consumers(held("Released"), spec={"defaults": {"restartLimit": 0}}))
    assert (patch["phase"], patch["restarts"], patch["claim"]) == (Phase.ACCEPTED, 0, None)


def test_a_repeated_wpsjob_is_claimed_for_the_next_attempt_only() -> None:
    crashed = held_status("Crashed")
    patch = only_patch(consumers(wpsjob("a", status=crashed)))
    again = after(crashed, patch)
    assert (again.status.claim, again.has_attempt) == (None, False)
    late = after(crashed, {**patch, "claim": claim("Running", attempt=1)})
    assert only_patch(consumers(late)) == {"claim": None}
    next_one = after(crashed, {**patch, "claim": claim("Running", attempt=2)})
    assert only_patch(consumers(next_one))["attempt"] == 2


def test_nothing_goes_back_to_its_start() -> None:
    assert plan(consumers(held("Claimed", startedAt=ago(20)))).actions != []
    patch = only_patch(consumers(held("Claimed", startedAt=ago(20))))
    assert patch["phase"] == Phase.STARTED


def test_a_claim_that_was_removed_by_hand_is_a_crash() -> None:
    patch = only_patch(consumers(held(claim=None)))
    assert (patch["phase"], patch["restarts"]) == (Phase.ACCEPTED, 1)


def test_the_history_has_no_phase_twice_in_a_row() -> None:
    reports = [report("Running", "1"), report("Running", "2"), report("Paused"), report("Running")]
    job = held("Running", startedAt=ago(20), claim=claim("Running", reports=reports))
    entries = phases(only_patch(consumers(job)))[1:]
    assert [phase for phase, _ in entries] == ["Paused", "Started"]
    ended = held("Failed", startedAt=ago(20), claim=claim("Failed", reports=reports[:2]))
    assert [phase for phase, _ in phases(only_patch(consumers(ended)))[1:]] == ["Failed"]


# -- time -----------------------------------------------------------------------------------------


def test_the_time_out_runs_from_the_claim_on() -> None:
    job = held("Running", startedAt=ago(1), scheduledAt=ago(59))
    whole = plan(consumers(job))
    assert (whole.actions, whole.wake_in) == ([], pytest.approx(1))

    late = held("Running", startedAt=ago(1), scheduledAt=ago(60))
    patch = only_patch(consumers(late))
    assert (patch["phase"], patch["restarts"], patch["claim"]) == (Phase.ACCEPTED, 1, None)
    assert patch["attempts"][0]["reason"] == "Timeout"

    last = held("Running", startedAt=ago(1), scheduledAt=ago(60), restarts=1)
    patch = only_patch(consumers(last))
    assert (patch["phase"], patch["reason"], patch["claim"]) == (
        Phase.FAILED,
        Reason.TIMEOUT,
        None,
    )
    assert "given up after 1 restarts" in patch["message"]


def test_success_wins_over_the_time_out_and_over_a_cancel() -> None:
    job = held("Succeeded", scheduledAt=ago(600), spec={"cancel": True})
    assert only_patch(consumers(job))["phase"] == Phase.SUCCEEDED


def test_a_dismissed_wpsjob_is_taken_from_its_consumer() -> None:
    patch = only_patch(consumers(held("Running", startedAt=ago(20), spec={"cancel": True})))
    assert (patch["phase"], patch["claim"]) == (Phase.DISMISSED, None)


def test_who_sends_heartbeats_has_to_go_on() -> None:
    job = held("Running", startedAt=ago(5), claim=claim("Running", heartbeat=ago(9999)))
    seen = {job.metadata.uid: NOW - timedelta(seconds=59)}
    whole = plan(replace(consumers(job), heard=seen))
    assert (whole.actions, whole.wake_in) == ([], pytest.approx(1))

    seen = {job.metadata.uid: NOW - timedelta(seconds=60)}
    patch = only_patch(replace(consumers(job), heard=seen))
    assert (patch["phase"], patch["restarts"], patch["claim"]) == (Phase.ACCEPTED, 1, None)
    assert patch["attempts"][0]["reason"] == "Crash"


# -- pauses ---------------------------------------------------------------------------------------


def test_a_label_is_no_freeze() -> None:
    status = held_status("Paused", startedAt=ago(20))
    patch = only_patch(consumers(wpsjob("a", status=status)))
    assert (patch["phase"], patch["reason"]) == (Phase.PAUSED, Reason.PAUSED_BY_CONSUMER)

    paused = after(status, patch)
    assert paused.has_attempt
    assert plan(consumers(paused)).wake_in == pytest.approx(10), "its time goes on"
    again = after(merged(status, patch), {"claim": {"state": "Running"}})
    patch = only_patch(consumers(again))
    assert patch["phase"] == Phase.STARTED
    assert "pausedSeconds" not in patch


def test_what_is_suspended_has_time() -> None:
    job = held("Running", startedAt=ago(20), spec={"suspend": True})
    patch = only_patch(consumers(job))
    assert (patch["phase"], patch["reason"]) == (Phase.PAUSED, Reason.SUSPENDED)

    frozen = held(
        "Running",
        startedAt=ago(45),
        phase="Paused",
        reason="Suspended",
        history=[{"time": ago(40), "phase": "Paused"}],
        scheduledAt=ago(600),
        spec={"suspend": True},
    )
    assert plan(consumers(frozen)).actions == []
    resumed = replace(frozen, spec=replace(frozen.spec, suspend=False))
    patch = only_patch(consumers(resumed))
    assert (patch["phase"], patch["pausedSeconds"]) == (Phase.STARTED, 40)


def test_a_suspended_wpsjob_keeps_its_claim_and_its_condition() -> None:
    status = held_status("Running", startedAt=ago(20))
    patch = only_patch(consumers(wpsjob("a", spec={"suspend": True}, status=status)))
    paused = after(status, patch, suspend=True)
    assert paused.has_attempt
    assert plan(consumers(paused)).actions == []

    labelled = merged(status, {"claim": {"state": "Paused"}})
    labelled = merged(labelled, only_patch(consumers(wpsjob("a", status=labelled))))
    patch = only_patch(consumers(wpsjob("a", spec={"suspend": True}, status=labelled)))
    assert patch["reason"] == Reason.SUSPENDED
    admitted = [one for one in patch["conditions"] if one["type"] == "Admitted"]
    assert [one["status"] for one in admitted] == ["True"]


# -- afterwards -----------------------------------------------------------------------------------


def test_a_retry_clears_the_claim_and_an_expired_one_goes() -> None:
    fields = {
        "phase": "Succeeded",
        "attempt": 1,
        "finishedAt": ago(100),
        "claim": claim("Succeeded"),
    }
    retried = wpsjob("a", spec={"retries": 1}, status=fields)
    patch = only_patch(consumers(retried))
    assert (patch["phase"], patch["claim"]) == (Phase.ACCEPTED, None)

    old = wpsjob("a", spec={"ttlSecondsAfterFinished": 60}, status=fields)
    assert [type(action) for action in plan(consumers(old)).actions] == [DeleteWpsJob]
