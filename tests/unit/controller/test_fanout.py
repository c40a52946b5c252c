"""Fan-outs: what becomes of parts, who gets slots, and when the merge step comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controller.objects import (
    NOW,
    ago,
    origin,
    process,
    queue,
    raw_kubernetes_job,
    raw_pod,
    scheduled,
    started,
    view,
    wpsjob,
)
from wpsjobs.api.attempt import ExitCode
from wpsjobs.api.names import kubernetes_job_name
from wpsjobs.api.parts import Parts, Restarts
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.actions import (
    Action,
    DeleteKubernetesJob,
    Launch,
    PatchStatus,
)
from wpsjobs.controller.children import KubernetesJob, Pod
from wpsjobs.controller.decisions import decide, take_over
from wpsjobs.controller.view import View

EIGHT = [f"tile {index}" for index in range(8)]


def fan_out(name: str = "f", parts: Parts | None = None, **arguments: Any) -> WpsJob:
    """A fan-out over eight tiles, new or with its parts under way."""
    spec = {"parts": EIGHT, **arguments.pop("spec", {})}
    if parts is None:
        return wpsjob(name, spec=spec, **arguments)
    status = {**started(name), **arguments.pop("status", {})}
    status |= {"jobName": None, "attempts": [{"number": 1}], "parts": parts.to_json()}
    return wpsjob(name, spec=spec, status=status, **arguments)


def running(*indexes: int, **more: Any) -> Parts:
    return Parts(1, 8, running=frozenset(indexes), launched_at=NOW - timedelta(minutes=2), **more)


def children(
    index: int, name: str = "f", tried: int = 0, *, end: int | None = None, **pod: Any
) -> list[KubernetesJob | Pod]:
    """Kubernetes Job and pod of a part; *end* is the exit code."""
    job_name = kubernetes_job_name(name, 1, index, tried)
    phase = "Running" if end is None else "Failed" if end else "Succeeded"
    raws = [
        raw_kubernetes_job(name, end=None if end is None else "Failed" if end else "Complete"),
        raw_pod(name, phase=phase, exit_code=end, **pod),
    ]
    for raw, suffix in zip(raws, ("", "-abcde"), strict=True):
        raw["metadata"] |= {"name": job_name + suffix, "uid": f"uid-{job_name}{suffix}"}
        of_part = origin(name, part=index, **{"try": tried})
        raw["metadata"]["annotations"] = of_part["annotations"]
    return [KubernetesJob.from_raw(raws[0]), Pod.from_raw(raws[1])]


def of(job: WpsJob, actions: Iterable[Action]) -> PatchStatus | Launch:
    """The one action on the status of *job*."""
    mine = [a for a in actions if isinstance(a, PatchStatus | Launch) and a.job == job]
    assert len(mine) == 1, mine
    return mine[0]


def patch_of(action: PatchStatus | Launch) -> dict[str, Any]:
    change = action.admission if isinstance(action, Launch) else action
    assert change is not None
    return dict(change.patch)


def parts_of(action: PatchStatus | Launch) -> Parts:
    return Parts.from_raw(patch_of(action)["parts"])


def launched(action: Action) -> list[str]:
    return [one["metadata"]["name"] for one in getattr(action, "manifests", [])]


def decided(a_view: View, job: WpsJob) -> PatchStatus | Launch:
    return of(job, decide(a_view, NOW).actions)


def ended(actions: Iterable[Action]) -> set[str]:
    """The Kubernetes Jobs that are to be deleted."""
    return {action.job.name for action in actions if isinstance(action, DeleteKubernetesJob)}


def test_a_fan_out_begins_with_as_many_parts_as_there_are_slots() -> None:
    job = fan_out()
    action = decided(view(job, queues=[queue(parallelism=3)]), job)
    assert launched(action) == ["f-1-p0", "f-1-p1", "f-1-p2"]
    patch = patch_of(action)
    assert (patch["phase"], patch["jobName"], patch["attempt"]) == ("Scheduled", None, 1)
    assert patch["parts"]["running"] == "0-2"


def test_a_fan_out_begins_within_its_own_limit() -> None:
    job = fan_out(spec={"partParallelism": 2})
    action = decided(view(job, queues=[queue(parallelism=4)]), job)
    assert launched(action) == ["f-1-p0", "f-1-p1"]


def test_a_wpsjob_that_waits_behind_gets_a_slot_before_the_second_part() -> None:
    job, single = fan_out(version=10), wpsjob("single", version=11)
    actions = decide(view(job, single, queues=[queue(parallelism=2)]), NOW).actions
    assert launched(of(job, actions)) == ["f-1-p0"]
    assert launched(of(single, actions)) == ["single-1"]


def test_an_ended_part_and_the_next_one_are_one_patch() -> None:
    job = fan_out(parts=running(0, 1))
    kin = [*children(0, end=0), *children(1)]
    action = decided(view(job, queues=[queue(parallelism=2)], children=kin), job)
    assert launched(action) == ["f-1-p2"]
    assert parts_of(action).succeeded == {0}
    assert parts_of(action).running == {1, 2}
    change = action.admission if isinstance(action, Launch) else action
    assert change is not None
    assert change.can_wait, "nobody else waits, so that such patches may come together"
    assert patch_of(action)["progress"]["percent"] == 11


def test_a_slot_that_others_wait_for_is_given_back_first() -> None:
    job, single = fan_out(parts=running(0, 1)), wpsjob("single", version=11)
    kin = [*children(0, end=0), *children(1)]
    actions = decide(view(job, single, queues=[queue(parallelism=2)], children=kin), NOW).actions
    action = of(job, actions)
    assert launched(action) == []
    assert isinstance(action, PatchStatus)
    assert not action.can_wait
    assert patch_of(of(single, actions))["phase"] == "Accepted"


def test_a_slot_whose_kubernetes_job_is_missing_gets_it() -> None:
    job = fan_out(parts=running(0, 1))
    action = decided(view(job, queues=[queue(parallelism=2)], children=children(0)), job)
    assert launched(action) == ["f-1-p1"]
    assert isinstance(action, Launch)
    assert action.admission is None


def test_a_crashed_part_is_launched_again_after_its_pause() -> None:
    job = fan_out(parts=running(0, 1, 2, 3))
    kin = [k for index in range(1, 4) for k in children(index)]
    crash = children(0, end=137, finished_at=ago(0))
    plan = decide(view(job, children=[*kin, *crash]), NOW)
    after = parts_of(of(job, plan.actions))
    assert after.restarts == {0: Restarts(1)}
    assert 0 not in after.running | after.failed
    again = fan_out(parts=after)
    plan = decide(view(again, children=[*kin, *crash, *children(4)]), NOW + timedelta(seconds=1))
    assert plan.wake_in == pytest.approx(1.0)
    later = decide(view(again, children=[*kin, *crash, *children(4, end=0)]), NOW + timedelta(0, 3))
    assert launched(of(again, later.actions)) == ["f-1-p0-r1"]


@pytest.mark.parametrize(
    ("code", "restarts", "reason"),
    [(137, 2, "Crash"), (10, 0, "ProcessError"), (11, 0, "ClientError"), (14, 0, "BadRequest")],
)
def test_a_part_that_fails_for_good_is_told_before_the_others_are_ended(
    code: int, restarts: int, reason: str
) -> None:
    before = running(3, 4, restarts={3: Restarts(restarts)} if restarts else {})
    job = fan_out(parts=before)
    kin = [*children(3, tried=restarts, end=code, message='{"message": "no luck"}'), *children(4)]
    plan = decide(view(job, children=kin), NOW)
    action = of(job, plan.actions)
    patch = patch_of(action)
    assert (patch["reason"], patch["parts"]["failed"]) == (reason, "3")
    assert patch["message"].startswith("Part 3 ('tile 3') failed: no luck")
    assert "phase" not in patch
    assert launched(action) == []
    assert not [one for one in plan.actions if isinstance(one, DeleteKubernetesJob)]

    told = fan_out(parts=parts_of(action))
    ends = [a for a in decide(view(told, children=kin), NOW).actions if hasattr(a, "why")]
    assert [end.job.name for end in ends if isinstance(end, DeleteKubernetesJob)] == ["f-1-p4"]

    gone = decided(view(told, children=[*kin[:2], *children(4, end=143)]), told)
    patch = patch_of(gone)
    assert (patch["phase"], patch["reason"]) == ("Failed", reason)
    assert patch["message"].startswith("Part 3 ('tile 3') failed: no luck")
    assert patch["parts"]["running"] == ""


def test_disruptions_of_parts_do_not_count() -> None:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    job = fan_out(parts=running(0))
    kin = children(0, end=143, conditions=[condition])
    after = parts_of(decided(view(job, children=kin), job))
    assert after.restarts == {0: Restarts(0, 1)}


def test_the_last_parts_slot_passes_on_to_the_merge_step() -> None:
    job = fan_out(parts=running(7, succeeded=frozenset(range(7))))
    single = wpsjob("single", version=11)
    a_view = view(job, single, queues=[queue(parallelism=1)], children=children(7, end=0))
    actions = decide(a_view, NOW).actions
    action = of(job, actions)
    assert launched(action) == ["f-1"]
    patch = patch_of(action)
    assert (patch["jobName"], patch["parts"]["succeeded"]) == ("f-1", "0-7")
    assert "phase" not in patch, "it stays Started"
    assert patch_of(of(single, actions))["phase"] == "Accepted"


def test_a_merge_step_is_repeated_without_the_parts() -> None:
    done = Parts(1, 8, succeeded=frozenset(range(8)))
    status = started("f", jobName="f-1", parts=done.to_json())
    job = wpsjob("f", spec={"parts": EIGHT}, status=status)
    kin = [
        KubernetesJob.from_raw(raw_kubernetes_job("f", end="Failed")),
        Pod.from_raw(raw_pod("f", phase="Failed", exit_code=137)),
    ]
    patch = patch_of(decided(view(job, children=kin), job))
    assert (patch["phase"], patch["restarts"]) == ("Accepted", 1)
    assert "parts" not in patch
    assert patch["progress"]["percent"] == 90
    attempts = [{"number": 1, "finishedAt": ago(60)}]
    status = {"phase": "Accepted", "attempt": 1, "restarts": 1, "attempts": attempts}
    again = wpsjob("f", spec={"parts": EIGHT}, status={**status, "parts": done.to_json()})
    action = decided(view(again), again)
    assert launched(action) == ["f-2"]
    assert "parts" not in patch_of(action)


def test_a_retry_runs_all_parts_anew() -> None:
    done = Parts(1, 8, failed=frozenset({1}), succeeded=frozenset({0}))
    status = {"phase": "Failed", "attempt": 1, "parts": done.to_json(), "finishedAt": ago(9)}
    job = wpsjob("f", spec={"parts": EIGHT, "retries": 1}, status=status)
    assert patch_of(decided(view(job), job))["parts"] is None


def test_a_dismissed_fan_out_ends_when_its_pods_have() -> None:
    job = fan_out(parts=running(0, 1), spec={"cancel": True})
    kin = [*children(0), *children(1, end=0)]
    plan = decide(view(job, children=kin), NOW)
    assert [a.job.name for a in plan.actions if isinstance(a, DeleteKubernetesJob)] == ["f-1-p0"]
    assert "phase" not in patch_of(of(job, plan.actions))
    last = fan_out(parts=running(0), spec={"cancel": True})
    patch = patch_of(decided(view(last, children=children(0, end=143)), last))
    assert patch["phase"] == "Dismissed"


def test_a_suspended_fan_out_launches_nothing_and_keeps_its_slots() -> None:
    job = fan_out(parts=running(0), spec={"suspend": True})
    action = decided(view(job, children=children(0)), job)
    assert patch_of(action)["phase"] == "Paused"
    assert launched(action) == []
    frozen = fan_out(parts=running(0), spec={"suspend": True}, status={"phase": "Paused"})
    a_view = view(frozen, children=children(0))
    assert set(a_view.held_slots("default")) == {("f", 0)}
    assert not [a for a in decide(a_view, NOW).actions if isinstance(a, PatchStatus | Launch)]


def test_a_held_queue_launches_no_parts() -> None:
    job = fan_out(parts=running(0))
    a_view = view(job, queues=[queue(suspend=True)], children=children(0))
    assert not [a for a in decide(a_view, NOW).actions if isinstance(a, PatchStatus | Launch)]


def test_parts_that_run_go_on_without_their_process_and_the_rest_waits() -> None:
    job = fan_out(parts=running(0, 1))
    kin = [*children(0, end=0), *children(1)]
    action = decided(view(job, processes=[], children=kin), job)
    assert (patch_of(action)["reason"], launched(action)) == ("UnknownProcess", [])
    assert parts_of(action).running == {1}
    status = {"reason": "UnknownProcess"}
    told = fan_out(parts=parts_of(action), status=status)
    a_view = view(told, processes=[], children=kin)
    assert not [a for a in decide(a_view, NOW).actions if isinstance(a, PatchStatus | Launch)]
    back = decided(view(told, children=kin), told)
    assert launched(back) == ["f-1-p2", "f-1-p3", "f-1-p4"]
    assert patch_of(back)["reason"] == "PodRunning"


def test_the_first_running_part_makes_it_started() -> None:
    job = fan_out(parts=running(0, 1, 2, 3), status=scheduled("f"))
    kin = [k for index in range(4) for k in children(index)]
    patch = patch_of(decided(view(job, children=kin), job))
    assert (patch["phase"], patch["startedAt"]) == ("Started", ago(60))


def test_a_part_that_never_starts_fails_the_fan_out() -> None:
    job = fan_out(parts=running(0, 1, 2, 3))
    old = NOW + timedelta(minutes=40)  # the objects were made at 9:00
    pending = children(0)
    pending[1] = Pod.from_raw(
        {
            "metadata": {
                **raw_pod("f", phase="Pending")["metadata"],
                "annotations": origin("f", part=0)["annotations"],
            },
            "status": {"phase": "Pending"},
        }
    )
    others = [k for index in range(1, 4) for k in children(index)]
    kin = [*pending, *others]
    actions = decide(view(job, children=kin), old).actions
    assert not ended(actions), "first it is written down"
    parts = parts_of(of(job, actions))
    assert (parts.failed, parts.running) == ({0}, {0, 1, 2, 3}), "it may still start"
    assert parts.message is not None
    assert parts.message.startswith("Part 0 ('tile 0') failed: it could not start within 300 s")
    told = fan_out(parts=parts)
    actions = decide(view(told, children=kin), old).actions
    assert ended(actions) == {"f-1-p0", "f-1-p1", "f-1-p2", "f-1-p3"}
    patch = patch_of(of(told, decide(view(told), old).actions))
    assert (patch["phase"], patch["reason"]) == ("Failed", "CannotStart")


def test_a_part_that_its_supervisor_does_not_end_is_ended_once_that_is_written_down() -> None:
    job, late = fan_out(parts=running(0)), NOW + timedelta(seconds=3600)
    policy = [process(timeoutSeconds=3600, restartOn=["Timeout"], restartLimit=1)]
    actions = decide(view(job, processes=policy, children=children(0)), late).actions
    parts = parts_of(of(job, actions))
    assert (parts.late, ended(actions)) == ({0}, set())
    told = fan_out(parts=parts)
    actions = decide(view(told, processes=policy, children=children(0)), late).actions
    assert ended(actions) == {"f-1-p0"}
    # Whether its pod is heard of again or not, that was a time-out, which counts.
    for kin in (children(0, end=137), []):
        again = parts_of(decided(view(told, processes=policy, children=kin), told))
        assert (again.restarts, again.late) == ({0: Restarts(1)}, set())
        over = fan_out(parts=replace(parts, restarts={0: Restarts(1)}))
        last = children(0, tried=1, end=137) if kin else []
        given_up = parts_of(decided(view(over, processes=policy, children=last), over))
        assert (given_up.failed, given_up.reason) == ({0}, "Timeout")


def test_the_word_of_a_worker_goes_before_the_time_out_that_came_with_it() -> None:
    job = fan_out(parts=running(0, late=frozenset({0})))
    policy = [process(restartOn=["Timeout"], restartLimit=5)]
    kin = children(0, end=ExitCode.PROCESS_ERROR)
    parts = parts_of(decided(view(job, processes=policy, children=kin), job))
    assert (parts.failed, parts.reason) == ({0}, "ProcessError")


def test_two_fan_outs_take_turns_by_who_was_served_last() -> None:
    early = running(0, succeeded=frozenset({1}))
    late = Parts(1, 8, running=frozenset({0}), launched_at=NOW - timedelta(minutes=1))
    one, other = fan_out("one", late), fan_out("other", early)
    kin = [*children(0, "one"), *children(0, "other")]
    plan = decide(view(one, other, queues=[queue(parallelism=9)], children=kin), NOW)
    (action,) = [a for a in plan.actions if isinstance(a, Launch)]
    assert launched(action) == ["other-1-p2"], "one part in a round"


def test_a_fan_out_that_holds_no_slot_stands_by_when_it_was_served_last() -> None:
    """A steady stream of short WpsJobs does not keep it waiting for ever."""
    job = fan_out(parts=running(succeeded=frozenset({0})))
    fresh = {"phase": "Accepted", "acceptedAt": ago(5), "attempt": 0, "sequence": 50}
    single = wpsjob("single", status=fresh)
    actions = decide(view(job, single, queues=[queue(parallelism=1)]), NOW).actions
    assert [launched(a) for a in actions if isinstance(a, Launch)] == [["f-1-p1"]]


def test_a_takeover_rewrites_a_fan_out_so_that_late_launches_conflict() -> None:
    job = fan_out(parts=running(0))
    (action,) = take_over(view(job, children=children(0)), NOW)
    assert isinstance(action, PatchStatus)
    assert set(action.patch) == {"message"}


@given(
    parallelism=st.integers(0, 6),
    own=st.none() | st.integers(1, 4),
    most_of_process=st.none() | st.integers(0, 4),
    held=st.sets(st.integers(0, 7), max_size=5),
    ended=st.sets(st.integers(0, 7), max_size=5),
    singles=st.integers(0, 3),
)
def test_no_limit_is_exceeded_whatever_is_written(
    parallelism: int,
    own: int | None,
    most_of_process: int | None,
    held: set[int],
    ended: set[int],
    singles: int,
) -> None:
    """Whichever of a round's writes are done."""
    spec: dict[str, Any] = {"partParallelism": own} if own else {}
    job = fan_out(parts=running(*held), spec=spec)
    kin = [k for i in held for k in children(i, end=0 if i in ended else None)]
    waiting = [wpsjob(f"s{number}", version=20 + number) for number in range(singles)]
    echo = process(parallelism=most_of_process) if most_of_process is not None else process()
    a_view = view(
        job, *waiting, queues=[queue(parallelism=parallelism)], processes=[echo], children=kin
    )
    launches = [a for a in decide(a_view, NOW).actions if isinstance(a, Launch)]
    most = min(parallelism, most_of_process if most_of_process is not None else parallelism)
    others = sum(len(a.manifests) for a in launches if a.job != job and a.admission)
    after = set(held)
    for action in launches:
        if action.job == job and action.admission is not None:
            after = set(parts_of(action).running)
            if own:
                assert len(after) <= max(own, len(held))
    for mine in (len(held), len(after)):
        for theirs in (0, others):
            grown = mine > len(held) or theirs
            assert not grown or mine + theirs <= most
