"""Each arrow between phases, and what is written on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.controller.objects import (
    NOW,
    ago,
    kubernetes_job,
    pod,
    process,
    queue,
    raw_kubernetes_job,
    scheduled,
    started,
    view,
    wpsjob,
)
from wpsjobs.api.attempt import ExitCode, TerminationMessage
from wpsjobs.api.phases import Phase, Reason
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.actions import (
    DeleteKubernetesJob,
    DeleteWpsJob,
    Launch,
    PatchProcessStatus,
    PatchQueueStatus,
    PatchStatus,
    Plan,
)
from wpsjobs.controller.children import KubernetesJob, Pod
from wpsjobs.controller.decisions import decide
from wpsjobs.controller.view import View


def plan(a_view: View) -> Plan:
    """The plan without the counts of queues and processes."""
    whole = decide(a_view, NOW)
    counts = (PatchQueueStatus, PatchProcessStatus)
    actions = [action for action in whole.actions if not isinstance(action, counts)]
    return Plan(actions, wake_in=whole.wake_in)


def only_patch(a_view: View) -> dict[str, Any]:
    actions = plan(a_view).actions
    assert len(actions) == 1, actions
    assert isinstance(actions[0], PatchStatus)
    return dict(actions[0].patch)


def only_launch(a_view: View) -> Launch:
    actions = plan(a_view).actions
    assert len(actions) == 1, actions
    assert isinstance(actions[0], Launch)
    return actions[0]


def ended(name: str, code: int, number: int = 1, **more: Any) -> tuple[KubernetesJob, Pod]:
    """An attempt that ended with an exit code."""
    phase, end = ("Succeeded", "Complete") if code == 0 else ("Failed", "Failed")
    return (
        kubernetes_job(name, number, end=end),
        pod(name, number, phase=phase, exit_code=code, **more),
    )


def applied(job: WpsJob, patch: Mapping[str, Any]) -> WpsJob:
    """*job* after a merge patch of its status."""
    raw = {
        "metadata": {
            "name": job.metadata.name,
            "namespace": job.metadata.namespace,
            "uid": job.metadata.uid,
            "resourceVersion": job.metadata.resource_version + 1,
        },
        "status": {key: value for key, value in patch.items() if value is not None},
    }
    return replace(WpsJob.from_raw(raw), spec=job.spec)


# -- a WpsJob that was just created -------------------------------------------------------------


def test_new_to_scheduled_in_one_write() -> None:
    launch = only_launch(view(wpsjob("a", version=42)))
    assert launch.admission is not None
    patch = launch.admission.patch
    assert patch["phase"] == "Scheduled"
    assert patch["sequence"] == 42
    assert (patch["attempt"], patch["jobName"]) == (1, "a-1")
    assert patch["acceptedAt"] == patch["scheduledAt"] == format_time(NOW)
    assert patch["attempts"] == [{"number": 1, "jobName": "a-1"}]
    assert launch.manifests[0]["metadata"]["name"] == "a-1"
    assert launch.admission.milestone is not None


def test_new_to_accepted() -> None:
    patch = only_patch(view(wpsjob("a", version=42), queues=[queue(parallelism=0)]))
    assert (patch["phase"], patch["reason"], patch["sequence"]) == ("Accepted", "Queued", 42)
    assert patch["acceptedAt"] == format_time(NOW)
    assert (patch["attempt"], patch["restarts"], patch["retriesSeen"]) == (0, 0, 0)


def test_new_to_paused() -> None:
    patch = only_patch(view(wpsjob("a", spec={"suspend": True})))
    assert (patch["phase"], patch["reason"]) == ("Paused", "Suspended")
    assert patch["acceptedAt"] == format_time(NOW)


def test_new_to_rejected_when_the_queue_is_full() -> None:
    patch = only_patch(view(wpsjob("a"), queues=[queue(parallelism=0, maxQueued=0)]))
    assert (patch["phase"], patch["reason"]) == ("Rejected", "QueueFull")
    assert "full" in patch["message"]
    assert patch["finishedAt"] == format_time(NOW)


def test_new_to_rejected_when_seen_too_late() -> None:
    patch = only_patch(view(wpsjob("a", spec={"acceptBefore": ago(0.001)})))
    assert (patch["phase"], patch["reason"]) == ("Rejected", "TooLate")


def test_a_wpsjob_seen_in_time_is_not_too_late() -> None:
    assert only_launch(view(wpsjob("a", spec={"acceptBefore": ago(-1)})))


def test_new_to_failed_for_an_unknown_process_names_those_there_are() -> None:
    job = wpsjob("a", spec={"process": "Hilshade"})
    patch = only_patch(view(job, processes=[process("NDVI"), process("Hillshade")]))
    assert (patch["phase"], patch["reason"]) == ("Failed", "UnknownProcess")
    assert "Hilshade" in patch["message"]
    assert "Hillshade, NDVI" in patch["message"]


def test_new_to_failed_for_an_unknown_queue_names_those_there_are() -> None:
    job = wpsjob("a", spec={"queue": "night"})
    patch = only_patch(view(job, queues=[queue("slow"), queue("fast")]))
    assert (patch["phase"], patch["reason"]) == ("Failed", "UnknownQueue")
    assert "night" in patch["message"]
    assert "fast, slow" in patch["message"]


@pytest.mark.parametrize("unknown", ["queues", "processes"])
def test_an_unknown_name_is_looked_up_once_more_where_it_may_be_news(unknown: str) -> None:
    """Its watch may lag behind the one that told of the WpsJob."""
    job = wpsjob("a")
    known = view(job, **{unknown: []})
    before = decide(replace(known, names_listed_at=job.sequence - 1), NOW)
    assert before.list_again
    assert not [action for action in before.actions if isinstance(action, PatchStatus)]
    after = decide(replace(known, names_listed_at=job.sequence), NOW)
    assert not after.list_again
    assert only_patch(replace(known, names_listed_at=job.sequence))["phase"] == "Failed"


def test_unknown_names_are_told_where_there_are_none_at_all() -> None:
    assert "no processes" in only_patch(view(wpsjob("a"), processes=[]))["message"]
    assert "no WpsQueues" in only_patch(view(wpsjob("a"), queues=[]))["message"]


def test_new_to_failed_for_parts_in_a_queue_of_consumers() -> None:
    job = wpsjob("a", spec={"parts": ["x", "y"]})
    patch = only_patch(view(job, queues=[queue(executor="Consumers")]))
    assert (patch["phase"], patch["reason"]) == ("Failed", "BadRequest")
    assert "executor is Jobs" in patch["message"]


def test_new_to_dismissed() -> None:
    patch = only_patch(view(wpsjob("a", spec={"cancel": True})))
    assert patch["phase"] == "Dismissed"


def test_retries_of_a_new_wpsjob_are_taken_as_seen() -> None:
    launch = only_launch(view(wpsjob("a", spec={"retries": 3})))
    assert launch.admission is not None
    assert launch.admission.patch["retriesSeen"] == 3


# -- in the queue ----------------------------------------------------------------------------------

ACCEPTED = {"phase": "Accepted", "reason": "Queued", "sequence": 3, "attempt": 0}


def test_accepted_to_scheduled_keeps_sequence_and_acceptance() -> None:
    status = {**ACCEPTED, "acceptedAt": ago(5)}
    launch = only_launch(view(wpsjob("a", version=99, status=status)))
    assert launch.admission is not None
    patch = launch.admission.patch
    assert patch["phase"] == "Scheduled"
    assert not {"sequence", "acceptedAt"} & set(patch)


def test_accepted_to_dismissed() -> None:
    patch = only_patch(view(wpsjob("a", spec={"cancel": True}, status=ACCEPTED)))
    assert patch["phase"] == "Dismissed"


def test_an_accepted_wpsjob_whose_process_is_gone_says_so_once() -> None:
    job = wpsjob("a", spec={"process": "Gone"}, status=ACCEPTED)
    patch = only_patch(view(job))
    assert patch["reason"] == "UnknownProcess"
    assert "Gone" in patch["message"]
    status = {**ACCEPTED, **patch}
    assert not plan(view(wpsjob("a", spec={"process": "Gone"}, status=status))).actions


def test_an_accepted_wpsjob_whose_process_is_back_says_so() -> None:
    status = {**ACCEPTED, "reason": "UnknownProcess"}
    patch = only_patch(view(wpsjob("a", status=status), queues=[queue(suspend=True)]))
    assert patch["reason"] == "Queued"


# -- with a slot -----------------------------------------------------------------------------------


def test_a_slot_taken_by_an_operator_that_got_no_further_is_used() -> None:
    launch = only_launch(view(wpsjob("a", status=scheduled("a", 2))))
    assert launch.admission is None
    assert launch.manifests[0]["metadata"]["name"] == "a-2"


def test_a_slot_taken_is_used_though_accept_before_has_passed() -> None:
    job = wpsjob("a", spec={"acceptBefore": ago(50)}, status=scheduled("a"))
    assert only_launch(view(job)).admission is None


def test_a_slot_taken_is_given_back_where_the_queue_is_gone() -> None:
    job = wpsjob("a", spec={"acceptBefore": ago(50)}, status=scheduled("a"))
    patch = only_patch(view(job, queues=[]))
    assert (patch["phase"], patch["reason"]) == ("Failed", "UnknownQueue")


def test_scheduled_to_dismissed_before_there_is_a_pod() -> None:
    patch = only_patch(view(wpsjob("a", spec={"cancel": True}, status=scheduled("a"))))
    assert patch["phase"] == "Dismissed"


def test_nothing_is_done_while_a_pod_is_awaited() -> None:
    a_view = view(wpsjob("a", status=scheduled("a")), children=[kubernetes_job("a"), pod("a")])
    assert not plan(a_view).actions


def test_scheduled_to_started() -> None:
    children = [kubernetes_job("a"), pod("a", phase="Running", started_at=ago(3))]
    patch = only_patch(view(wpsjob("a", status=scheduled("a")), children=children))
    assert (patch["phase"], patch["reason"]) == ("Started", "PodRunning")
    assert patch["startedAt"] == ago(3)
    assert patch["attempts"] == [
        {
            "number": 1,
            "jobName": "a-1",
            "podName": "a-1-abcde",
            "node": "node-1",
            "startedAt": ago(3),
        }
    ]


def beside(count: int, *children: KubernetesJob | Pod, **spec: Any) -> View:
    """The WpsJob ``a`` of that *spec*, which has a slot, and *count* others whose pods run."""
    others = [wpsjob(f"b{number}", status=started(f"b{number}")) for number in range(count)]
    theirs = [
        child
        for job in others
        for child in (
            kubernetes_job(job.metadata.name),
            pod(job.metadata.name, phase="Running"),
        )
    ]
    job = wpsjob("a", status=scheduled("a"), spec=spec)
    return view(job, *others, queues=[queue(parallelism=200)], children=[*children, *theirs])


@pytest.mark.parametrize("seconds", [0.0, 3.0, 4.999])
def test_among_many_a_start_is_told_a_little_later(seconds: float) -> None:
    children = [kubernetes_job("a"), pod("a", phase="Running", started_at=ago(seconds))]
    later = plan(beside(63, *children))
    assert not later.actions
    assert later.wake_in == pytest.approx(5.0 - seconds, abs=1e-3)
    assert only_patch(beside(62, *children))["phase"] == "Started"  # not among so many


@pytest.mark.parametrize("seconds", [5.0, 60.0, -0.5])
def test_among_many_a_start_is_told_in_the_end_whatever_the_clock_of_the_node(
    seconds: float,
) -> None:
    children = [kubernetes_job("a"), pod("a", phase="Running", started_at=ago(seconds))]
    assert only_patch(beside(63, *children))["phase"] == "Started"


def test_among_many_a_start_is_told_before_a_pause_for_which_its_time_stands_still() -> None:
    ours = [kubernetes_job("a"), pod("a", phase="Running", started_at=ago(2))]
    patch = only_patch(beside(63, *ours, suspend=True))
    assert (patch["phase"], patch["startedAt"]) == ("Started", ago(2))
    told = wpsjob("a", status={**scheduled("a"), **patch}, spec={"suspend": True})
    assert only_patch(view(told, children=ours))["phase"] == "Paused"


def test_what_begins_while_it_is_frozen_is_told_and_goes_on_with_all_its_time() -> None:
    status = {**scheduled("a"), "phase": "Paused", "reason": "Suspended"}
    status["history"] = [{"phase": "Paused", "time": ago(3700), "message": ""}]
    spec = {"timeoutSeconds": 60}
    frozen = wpsjob("a", status=status, spec={**spec, "suspend": True})
    ours = [kubernetes_job("a"), pod("a", phase="Running", started_at=ago(3600))]
    patch = only_patch(view(frozen, children=ours))
    assert "phase" not in patch
    assert patch["startedAt"] == ago(3600)
    told = {**status, **patch}
    assert not plan(
        view(wpsjob("a", status=told, spec={**spec, "suspend": True}), children=ours)
    ).actions
    resumed = only_patch(view(wpsjob("a", status=told, spec=spec), children=ours))
    assert (resumed["phase"], resumed["pausedSeconds"]) == ("Started", 3700.0)
    after = wpsjob("a", status={**told, **resumed}, spec=spec)
    assert not plan(view(after, children=ours)).actions  # no time-out


def test_among_many_an_end_is_told_at_once_and_with_the_start() -> None:
    patch = only_patch(beside(63, *ended("a", 0, started_at=ago(2))))
    assert (patch["phase"], patch["startedAt"]) == ("Succeeded", ago(2))
    assert patch["attempts"][0]["startedAt"] == ago(2)


@pytest.mark.parametrize("status", [scheduled("a"), started("a")])
def test_scheduled_or_started_to_succeeded(status: dict[str, Any]) -> None:
    patch = only_patch(view(wpsjob("a", status=status), children=ended("a", 0)))
    assert (patch["phase"], patch["reason"]) == ("Succeeded", "Completed")
    assert patch["finishedAt"] == format_time(NOW)
    assert patch["attempts"][0]["exitCode"] == 0
    assert patch["attempts"][0]["finishedAt"] == ago(5)
    assert "expiresAt" not in patch


def test_success_wins_over_cancel() -> None:
    job = wpsjob("a", spec={"cancel": True}, status=started("a"))
    assert only_patch(view(job, children=ended("a", 0)))["phase"] == "Succeeded"


def test_a_cancelled_attempt_is_ended_and_keeps_its_slot_until_its_pod_has_ended() -> None:
    job = wpsjob("a", spec={"cancel": True}, status=started("a"))
    running = [kubernetes_job("a"), pod("a", phase="Running")]
    actions = plan(view(job, children=running)).actions
    assert [type(action) for action in actions] == [DeleteKubernetesJob]
    deleting = kubernetes_job("a", deletionTimestamp=ago(1))
    assert not plan(view(job, children=[deleting, running[1]])).actions
    a_view = view(job, children=[deleting, running[1]])
    assert set(a_view.held_slots("default")) == {("a", None)}
    for children in ([], [deleting, pod("a", phase="Failed", exit_code=143)]):
        assert only_patch(view(job, children=children))["phase"] == "Dismissed"


@pytest.mark.parametrize("status", [scheduled("a"), started("a")])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ExitCode.CRASHED, "Crash"),
        (ExitCode.OUT_OF_MEMORY, "OutOfMemory"),
        (ExitCode.TIMEOUT, "Timeout"),
        (137, "Crash"),
    ],
)
def test_a_failed_attempt_is_relaunched_and_counted(
    status: dict[str, Any], code: int, reason: str
) -> None:
    job = wpsjob("a", status={**status, "progress": {"percent": 70}})
    patch = only_patch(view(job, children=ended("a", code)))
    assert (patch["phase"], patch["reason"], patch["restarts"]) == ("Accepted", "Relaunch", 1)
    cleared = ("jobName", "scheduledAt", "startedAt", "progress")
    assert all(patch[key] is None for key in cleared)
    assert patch["attempts"][0]["reason"] == reason
    assert patch["attempts"][0]["exitCode"] == code
    assert "restart 1 of at most 2" in patch["message"]
    assert "attempt" not in patch


def test_the_attempt_after_a_relaunch_has_the_next_number() -> None:
    status = {
        "phase": "Accepted",
        "sequence": 1,
        "attempt": 1,
        "restarts": 1,
        "attempts": [{"number": 1, "reason": "Crash", "finishedAt": ago(100)}],
    }
    launch = only_launch(view(wpsjob("a", status=status)))
    assert launch.admission is not None
    assert launch.admission.patch["attempt"] == 2
    assert [entry["number"] for entry in launch.admission.patch["attempts"]] == [1, 2]
    assert launch.manifests[0]["metadata"]["name"] == "a-2"


def test_started_to_failed_when_the_restarts_are_used_up() -> None:
    job = wpsjob("a", status=started("a", 3, restarts=2))
    patch = only_patch(view(job, children=ended("a", 137, 3)))
    assert (patch["phase"], patch["reason"]) == ("Failed", "Crash")
    assert "after 2 restarts" in patch["message"]
    assert "restarts" not in patch


def test_with_restart_limit_0_the_first_crash_is_final() -> None:
    job = wpsjob("a", spec={"restartLimit": 0}, status=started("a"))
    patch = only_patch(view(job, children=ended("a", 137)))
    assert patch["phase"] == "Failed"
    assert "restarts" not in patch["message"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ExitCode.CLIENT_ERROR, "ClientError"),
        (ExitCode.BAD_REQUEST, "BadRequest"),
        (ExitCode.PROCESS_ERROR, "ProcessError"),
    ],
)
def test_an_error_of_the_client_or_the_process_is_final_and_has_its_words(
    code: ExitCode, reason: str
) -> None:
    words = TerminationMessage("azimuth must be under 360").to_json()
    children = ended("a", code, message=words)
    patch = only_patch(view(wpsjob("a", status=started("a")), children=children))
    assert (patch["phase"], patch["reason"]) == ("Failed", reason)
    assert patch["message"] == "azimuth must be under 360"


def test_a_raise_is_repeated_where_restart_on_asks_for_it() -> None:
    a_view = view(
        wpsjob("a", status=started("a")),
        processes=[process(restartOn=["ProcessError"])],
        children=ended("a", ExitCode.PROCESS_ERROR),
    )
    assert only_patch(a_view)["phase"] == "Accepted"


def test_a_crash_is_final_where_restart_on_does_not_have_it() -> None:
    a_view = view(
        wpsjob("a", status=started("a")),
        queues=[queue(restartOn=["Timeout"])],
        children=ended("a", 137),
    )
    assert only_patch(a_view)["phase"] == "Failed"


def test_an_error_of_the_client_is_never_repeated() -> None:
    a_view = view(
        wpsjob("a", status=started("a")),
        queues=[queue(restartOn=["Crash", "OutOfMemory", "Timeout", "ProcessError"])],
        children=ended("a", ExitCode.CLIENT_ERROR),
    )
    assert only_patch(a_view)["phase"] == "Failed"


# -- what does not count ---------------------------------------------------------------------------

EVICTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]


def endure(
    code: int, conditions: Iterable[Mapping[str, str]] = (), *, job: WpsJob, most: int = 40
) -> list[Mapping[str, Any]]:
    """Let every attempt of *job* end alike; the patches of the ends, until one is final."""
    patches: list[Mapping[str, Any]] = []
    while len(patches) < most:
        number = job.status.attempt
        children = ended(job.metadata.name, code, number, conditions=conditions)
        patch = only_patch(view(job, children=children))
        patches.append(patch)
        history = [dict(entry) for entry in patch["history"]]
        if patch["phase"] != "Accepted":
            break
        restarts = patch.get("restarts", job.status.restarts)
        status = {**patch, "history": history, "attempt": number, "restarts": restarts}
        status["attempts"] = [{**entry, "finishedAt": ago(1000)} for entry in status["attempts"]]
        waiting = replace(applied(job, status), spec=job.spec)
        admission = only_launch(view(waiting)).admission
        assert admission is not None
        job = applied(waiting, {**status, **admission.patch})
    return patches


def test_a_disruption_relaunches_uncounted() -> None:
    children = ended("a", 143, conditions=EVICTED)
    patch = only_patch(view(wpsjob("a", status=started("a", restarts=2)), children=children))
    assert (patch["phase"], patch["restarts"]) == ("Accepted", 2)
    assert patch["attempts"][0]["reason"] == "Disrupted"


def test_ten_disruptions_are_uncounted_and_further_ones_are_crashes() -> None:
    patches = endure(143, EVICTED, job=wpsjob("a", status=started("a")))
    assert [patch["phase"] for patch in patches] == ["Accepted"] * 12 + ["Failed"]
    assert [patch.get("restarts") for patch in patches] == [0] * 10 + [1, 2, None]


def test_superseded_pods_are_uncounted_up_to_the_same_bound() -> None:
    patches = endure(ExitCode.SUPERSEDED, job=wpsjob("a", status=started("a")))
    assert [patch.get("restarts") for patch in patches] == [0] * 10 + [1, 2, None]


def test_disruptions_beyond_the_bound_are_final_where_crashes_are() -> None:
    job = wpsjob("a", status=started("a", 11))
    a_view = view(
        job,
        queues=[queue(restartOn=["Timeout"])],
        children=ended("a", 143, 11, conditions=EVICTED),
    )
    assert only_patch(a_view)["phase"] == "Failed"


def test_the_bound_of_disruptions_begins_anew_with_a_retry() -> None:
    history = [
        *({"phase": "Scheduled"},) * 12,
        {"phase": "Failed"},
        {"phase": "Accepted"},
        {"phase": "Scheduled"},
    ]
    job = wpsjob("a", status=started("a", 13, history=history))
    patch = only_patch(view(job, children=ended("a", 143, 13, conditions=EVICTED)))
    assert (patch["phase"], patch["restarts"]) == ("Accepted", 0)


def test_an_attempt_that_died_while_finalising_is_repeated_once_uncounted() -> None:
    finalising = {"percent": 100, "finalising": True}
    first = wpsjob("a", status=started("a", progress=finalising))
    patch = only_patch(view(first, children=ended("a", 137)))
    assert (patch["phase"], patch["restarts"]) == ("Accepted", 0)
    entries = [*patch["attempts"], {"number": 2, "jobName": "a-2"}]
    second = wpsjob("a", status=started("a", 2, progress=finalising, attempts=entries))
    patch = only_patch(view(second, children=ended("a", 137, 2)))
    assert (patch["phase"], patch["restarts"]) == ("Accepted", 1)


def test_an_attempt_that_died_while_finalising_is_repeated_even_at_the_limit() -> None:
    status = started("a", 3, restarts=2, progress={"percent": 100, "finalising": True})
    patch = only_patch(view(wpsjob("a", status=status), children=ended("a", 137, 3)))
    assert (patch["phase"], patch["restarts"]) == ("Accepted", 2)


# -- whose pod is it, and is it gone ---------------------------------------------------------------


def test_a_running_pod_of_a_finished_kubernetes_job_is_waited_for() -> None:
    children = [kubernetes_job("a", end="Failed"), pod("a", phase="Running")]
    assert not plan(view(wpsjob("a", status=started("a")), children=children)).actions


def test_an_ended_pod_is_enough_where_its_kubernetes_job_does_not_say_so_yet() -> None:
    children = [kubernetes_job("a"), pod("a", phase="Succeeded", exit_code=0)]
    patch = only_patch(view(wpsjob("a", status=started("a")), children=children))
    assert patch["phase"] == "Succeeded"


def test_a_failed_kubernetes_job_waits_for_the_news_of_its_pod() -> None:
    failed = kubernetes_job("a", end="Failed", finished_at=ago(1))
    waiting = plan(view(wpsjob("a", status=started("a")), children=[failed]))
    assert not waiting.actions
    assert waiting.wake_in == pytest.approx(4.0)
    failed = kubernetes_job("a", end="Failed", finished_at=ago(6))
    patch = only_patch(view(wpsjob("a", status=started("a")), children=[failed]))
    assert (patch["phase"], patch["attempts"][0]["reason"]) == ("Accepted", "Crash")


def test_a_started_wpsjob_whose_pod_somebody_deleted_is_relaunched() -> None:
    patch = only_patch(view(wpsjob("a", status=started("a"))))
    assert (patch["phase"], patch["restarts"]) == ("Accepted", 1)


def test_the_end_of_a_deleted_wpsjob_of_the_same_name_is_not_taken() -> None:
    old = [
        kubernetes_job("a", end="Complete", owner_uid="old"),
        pod("a", phase="Succeeded", exit_code=0, owner_uid="old"),
    ]
    actions = plan(view(wpsjob("a", status=scheduled("a")), children=old)).actions
    assert [type(action) for action in actions] == [DeleteKubernetesJob]


def test_a_kubernetes_job_of_the_same_name_that_is_being_deleted_is_waited_for() -> None:
    old = kubernetes_job("a", end="Complete", owner_uid="old", deletionTimestamp=ago(1))
    assert not plan(view(wpsjob("a", status=scheduled("a")), children=[old])).actions


def test_a_wpsjob_waits_while_the_pod_of_a_deleted_one_of_its_name_runs() -> None:
    old = pod("a", phase="Running", owner_uid="old")
    patch = only_patch(view(wpsjob("a"), children=[old]))
    assert patch["phase"] == "Accepted"


def test_the_kubernetes_job_of_another_attempt_is_not_taken_for_the_current() -> None:
    children = ended("a", 137, 1)
    launch = only_launch(view(wpsjob("a", status=scheduled("a", 2)), children=children))
    assert launch.manifests[0]["metadata"]["name"] == "a-2"


# -- after the end ---------------------------------------------------------------------------------


def finished(phase: str = "Succeeded", **status: Any) -> dict[str, Any]:
    return {
        "phase": phase,
        "reason": "Completed",
        "sequence": 3,
        "attempt": 1,
        "jobName": "a-1",
        "acceptedAt": ago(200),
        "finishedAt": ago(100),
        **status,
    }


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Dismissed"])
def test_raised_retries_put_a_finished_wpsjob_back_into_the_queue(phase: str) -> None:
    status = finished(phase, restarts=2, attempt=3, retriesSeen=1)
    patch = only_patch(view(wpsjob("a", spec={"retries": 2}, status=status)))
    assert (patch["phase"], patch["reason"]) == ("Accepted", "Retry")
    assert (patch["restarts"], patch["retriesSeen"]) == (0, 2)
    assert patch["acceptedAt"] == ago(200)
    cleared = ("jobName", "startedAt", "finishedAt", "expiresAt", "progress")
    assert all(patch[key] is None for key in cleared)


def test_a_retry_is_let_in_past_the_limit_of_the_queue() -> None:
    job = wpsjob("a", spec={"retries": 1}, status=finished("Failed"))
    patch = only_patch(view(job, queues=[queue(parallelism=0, maxQueued=0)]))
    assert patch["phase"] == "Accepted"


def test_a_retry_of_a_dismissed_wpsjob_is_not_dismissed_again() -> None:
    history = [{"phase": "Scheduled"}, {"phase": "Dismissed"}, {"phase": "Accepted"}]
    status = {"phase": "Accepted", "sequence": 3, "attempt": 1, "history": history}
    launch = only_launch(view(wpsjob("a", spec={"cancel": True, "retries": 1}, status=status)))
    assert launch.manifests[0]["metadata"]["name"] == "a-2"


def test_a_retry_waits_until_no_old_pod_can_run() -> None:
    job = wpsjob("a", spec={"retries": 1}, status=finished("Failed"))
    assert not plan(view(job, children=[pod("a", phase="Running")])).actions


def test_a_rejected_wpsjob_is_not_retried() -> None:
    job = wpsjob("a", spec={"retries": 1}, status=finished("Rejected"))
    assert not plan(view(job)).actions


def test_a_ttl_of_minus_1_keeps_for_ever() -> None:
    assert not plan(view(wpsjob("a", status=finished()))).actions


def test_expiry_is_written_with_the_end() -> None:
    job = wpsjob("a", spec={"ttlSecondsAfterFinished": 60}, status=started("a"))
    patch = only_patch(view(job, children=ended("a", 0)))
    assert patch["expiresAt"] == ago(-60)


def test_an_expired_wpsjob_is_deleted_even_where_the_ttl_came_later() -> None:
    job = wpsjob("a", spec={"ttlSecondsAfterFinished": 100}, status=finished())
    assert plan(view(job)).actions == [DeleteWpsJob(job)]


def test_the_next_expiry_wakes_the_loop() -> None:
    spec = {"ttlSecondsAfterFinished": 130}
    job = wpsjob("a", spec=spec, status=finished(expiresAt=ago(-30)))
    result = plan(view(job))
    assert (result.actions, result.wake_in) == ([], 30.0)


@pytest.mark.parametrize(("ttl", "expires_at"), [(300, ago(-200)), (-1, None)])
def test_a_changed_ttl_changes_the_expiry(ttl: int, expires_at: str | None) -> None:
    spec = {"ttlSecondsAfterFinished": ttl}
    patch = only_patch(view(wpsjob("a", spec=spec, status=finished(expiresAt=ago(0)))))
    assert patch == {"expiresAt": expires_at}


def test_a_ttl_of_0_deletes_at_once() -> None:
    job = wpsjob("a", spec={"ttlSecondsAfterFinished": 0}, status=finished(finishedAt=ago(0)))
    assert plan(view(job)).actions == [DeleteWpsJob(job)]


def test_a_finished_wpsjob_without_a_time_of_its_end_is_left_alone() -> None:
    spec = {"ttlSecondsAfterFinished": 0}
    assert not plan(view(wpsjob("a", spec=spec, status=finished(finishedAt="soon")))).actions


# -- the rest of a round ---------------------------------------------------------------------------


def test_a_wpsjob_that_is_being_deleted_is_left_alone() -> None:
    for status in (None, ACCEPTED, scheduled("a"), started("a"), finished()):
        job = wpsjob("a", status=status, deletionTimestamp=ago(1))
        assert not plan(view(job)).actions


def test_kubernetes_jobs_are_kept_for_their_logs_and_then_removed() -> None:
    queues = [queue(keepPodsSeconds=60)]
    old = kubernetes_job("gone", end="Complete", finished_at=ago(60))
    young = kubernetes_job("other", end="Failed", finished_at=ago(20))
    result = plan(view(queues=queues, children=[old, young]))
    assert [action.job.name for action in result.actions] == ["gone-1"]  # type: ignore[union-attr]
    assert result.wake_in == 40.0


def test_the_kubernetes_job_of_an_attempt_whose_end_is_not_written_yet_stays() -> None:
    failed = kubernetes_job("a", end="Failed", finished_at=ago(3600))
    running = pod("a", phase="Running")
    a_view = view(wpsjob("a", status=started("a")), children=[failed, running])
    assert not plan(a_view).actions


def test_a_kubernetes_job_whose_queue_is_gone_is_removed_at_once() -> None:
    old = kubernetes_job("gone", end="Complete", finished_at=ago(1))
    assert len(plan(view(queues=[], children=[old])).actions) == 1


def test_counts_of_queues_and_processes_are_told_when_they_change() -> None:
    jobs = [
        wpsjob("a", status=ACCEPTED),
        wpsjob("b", status=started("b")),
        wpsjob(
            "c", spec={"process": "Echo", "suspend": True}, status={**ACCEPTED, "phase": "Paused"}
        ),
    ]
    counts = {"queued": 2, "running": 1, "paused": 1}
    children = [kubernetes_job("b"), pod("b", phase="Running")]
    held = {"suspend": True}
    stale = view(*jobs, queues=[queue(**held)], children=children)
    told = [a for a in decide(stale, NOW).actions if isinstance(a, PatchQueueStatus)]
    (status,) = (action.status for action in told)
    assert {key: status[key] for key in counts} == counts
    tell = [a for a in decide(stale, NOW).actions if isinstance(a, PatchProcessStatus)]
    assert [action.status for action in tell] == [{"jobs": 3}]
    fresh = view(
        *jobs,
        queues=[queue(status=status, **held)],
        processes=[process(status={"jobs": 3})],
        children=children,
    )
    assert not decide(fresh, NOW).actions


def test_refusals_wait_until_what_leaves_the_queue_now_has_left() -> None:
    leaving = wpsjob("a", spec={"cancel": True}, status=ACCEPTED)
    fresh = wpsjob("b", version=20)
    queues = [queue(parallelism=0, maxQueued=1)]
    actions = plan(view(leaving, fresh, queues=queues)).actions
    assert [action.job.metadata.name for action in actions] == ["a"]  # type: ignore[union-attr]


def test_rounds_come_to_rest() -> None:
    """What a round decides is not decided again once it was done."""
    job = wpsjob("a", version=42)
    launch = only_launch(view(job))
    assert launch.admission is not None
    after = applied(job, launch.admission.patch)
    assert after.status.phase is Phase.SCHEDULED
    child = KubernetesJob.from_raw(raw_kubernetes_job("a"))
    assert not plan(view(after, children=[child])).actions


def test_each_reason_of_a_patch_is_one_of_the_known() -> None:
    for code in (0, 1, *ExitCode):
        patch = only_patch(view(wpsjob("a", status=started("a")), children=ended("a", code)))
        assert patch["reason"] in list(Reason)


def test_a_relaunch_in_the_same_round_takes_a_place_in_the_queue() -> None:
    """At no instant are more let in than maxQueued, whichever write comes first."""
    failing, fresh = wpsjob("a", status=started("a")), wpsjob("b", version=20)
    queues = [queue(parallelism=1, maxQueued=1)]
    actions = plan(view(failing, fresh, queues=queues, children=ended("a", 137))).actions
    assert [action.job.metadata.name for action in actions] == ["a"]  # type: ignore[union-attr]


def test_an_attempt_that_could_not_start_is_not_begun_again_when_it_is_gone() -> None:
    entry = {"number": 1, "jobName": "a-1", "reason": "CannotStart"}
    job = wpsjob("a", status=scheduled("a", attempts=[entry], reason="CannotStart"))
    patch = only_patch(view(job))
    assert (patch["phase"], patch["reason"]) == ("Failed", "CannotStart")


def test_a_refused_launch_is_told_once_and_given_up_at_the_deadline() -> None:
    waiting = wpsjob("a", status=scheduled("a", scheduledAt=ago(5)))
    here = replace(view(waiting, queues=[queue(startDeadlineSeconds=60)]), refusals={"uid-a": "no"})
    launch, told = plan(here).actions
    assert isinstance(launch, Launch)
    assert told.patch["reason"] == "CannotStart"
    assert told.patch["message"].endswith("cannot start yet: no")
    known = wpsjob("a", status=scheduled("a", scheduledAt=ago(5), reason="CannotStart"))
    again = replace(view(known, queues=[queue(startDeadlineSeconds=60)]), refusals={"uid-a": "no"})
    assert [type(action) for action in plan(again).actions] == [Launch]
    overdue = scheduled("a", scheduledAt=ago(61))
    late = wpsjob("a", status=overdue)
    given_up = replace(
        view(late, queues=[queue(startDeadlineSeconds=60)]), refusals={"uid-a": "no"}
    )
    (mark,) = plan(given_up).actions
    assert mark.patch["attempts"][-1]["reason"] == "CannotStart"
    assert "within 60 s: no" in mark.patch["message"]
    marked = wpsjob("a", status={**overdue, **mark.patch})
    (end,) = plan(view(marked)).actions
    assert (end.patch["phase"], end.patch["reason"]) == ("Failed", "CannotStart")


def test_a_dismissed_attempt_that_finalises_is_left_to_end_for_a_while() -> None:
    def finalising(seconds: float) -> WpsJob:
        progress = {"percent": 100, "finalising": True, "updatedAt": ago(seconds)}
        return wpsjob("a", spec={"cancel": True}, status=started("a", progress=progress))

    children = [kubernetes_job("a"), pod("a", phase="Running")]
    patient = plan(view(finalising(5), children=children))
    assert (patient.actions, patient.wake_in) == ([], 55.0)
    (end,) = plan(view(finalising(61), children=children)).actions
    assert isinstance(end, DeleteKubernetesJob)


def test_a_pod_through_before_it_was_seen_to_run_has_its_start_told() -> None:
    ended = pod("a", phase="Succeeded", exit_code=0, started_at=ago(3), finished_at=ago(1))
    quick = wpsjob("a", status=scheduled("a"))
    (end,) = plan(view(quick, children=[kubernetes_job("a"), ended])).actions
    assert (end.patch["phase"], end.patch["startedAt"]) == ("Succeeded", ago(3))


def test_a_queued_wpsjob_tells_that_its_queue_is_gone_and_is_back() -> None:
    waiting = wpsjob("a", status=ACCEPTED)
    (told,) = plan(view(waiting, queues=[])).actions
    assert told.patch["reason"] == "UnknownQueue"
    gone = wpsjob("a", status={**ACCEPTED, "reason": "UnknownQueue"})
    assert not plan(view(gone, queues=[])).actions
    held = view(gone, queues=[queue(suspend=True)])
    assert plan(held).actions[0].patch["reason"] == "Queued"


def test_the_condition_of_a_queue_is_told_when_it_is_held_and_keeps_its_time() -> None:
    def told(at: datetime, **arguments: Any) -> Mapping[str, Any] | None:
        actions = decide(view(queues=[queue(**arguments)]), at).actions
        found = [action for action in actions if isinstance(action, PatchQueueStatus)]
        return found[0].status if found else None

    first = told(NOW)
    assert first is not None
    (active,) = first["conditions"]
    assert (active["type"], active["status"], active["reason"]) == ("Active", "True", "Serving")
    assert told(NOW + timedelta(hours=1), status=first) is None

    held = told(NOW + timedelta(hours=2), status=first, suspend=True)
    assert held is not None
    (condition,) = held["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "Held")
    assert condition["lastTransitionTime"] > active["lastTransitionTime"]

    consumers = told(NOW + timedelta(hours=3), status=first, executor="Consumers")
    assert consumers is not None
    (condition,) = consumers["conditions"]
    assert condition["reason"] == "Consumers"
    assert condition["lastTransitionTime"] == active["lastTransitionTime"], "it stayed active"
