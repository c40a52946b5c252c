"""Who gets a slot, who may wait, who is refused (invariants 1 and 2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controller.objects import (
    NOW,
    ago,
    kubernetes_job,
    pod,
    process,
    queue,
    raw_kubernetes_job,
    raw_pod,
    scheduled,
    started,
    view,
    wpsjob,
)
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.admission import Verdicts, judge
from wpsjobs.controller.children import KubernetesJob, Pod
from wpsjobs.controller.manifests import Assignment
from wpsjobs.controller.manifests import kubernetes_job as manifest
from wpsjobs.controller.view import View, is_admitted, is_queued


def verdicts(
    a_view: View, *new: WpsJob, settling: bool = False, queue_name: str = "default"
) -> Verdicts:
    return judge(a_view, a_view.queues[queue_name], new, NOW, settling=settling)


def names(jobs: Any) -> list[str]:
    return [job.metadata.name for job in jobs]


def accepted(name: str, sequence: int, **status: Any) -> WpsJob:
    fields = {"phase": "Accepted", "sequence": sequence, "attempt": 0, **status}
    spec = {key: fields.pop(key) for key in ("priority", "owner", "process") if key in fields}
    return wpsjob(name, version=1000 + sequence, spec=spec, status=fields)


def new(name: str, version: int, **spec: Any) -> WpsJob:
    return wpsjob(name, version=version, spec=spec)


def test_first_in_first_out_by_sequence_and_not_by_name_or_version() -> None:
    jobs = [accepted("a", 3), accepted("b", 1), accepted("c", 2)]
    assert names(verdicts(view(*jobs, queues=[queue(parallelism=2)])).admitted) == ["b", "c"]


def test_a_new_wpsjob_waits_behind_those_that_wait() -> None:
    waiting, fresh = accepted("old", 5), new("new", 9)
    result = verdicts(view(waiting, fresh, queues=[queue(parallelism=1)]), fresh)
    assert names(result.admitted) == ["old"]
    assert names(result.accepted) == ["new"]


def test_a_new_wpsjob_is_admitted_at_once_where_a_slot_is_free() -> None:
    fresh = new("new", 9)
    result = verdicts(view(fresh), fresh)
    assert names(result.admitted) == ["new"]
    assert not result.accepted


def test_higher_priority_goes_first_and_equal_priorities_are_fifo() -> None:
    jobs = [
        accepted("a", 1),
        accepted("b", 2, priority=5),
        accepted("c", 3, priority=5),
        accepted("d", 4, priority=-1),
    ]
    result = verdicts(view(*jobs, queues=[queue(parallelism=3)]))
    assert names(result.admitted) == ["b", "c", "a"]


def test_a_relaunch_goes_to_the_head_of_its_priority() -> None:
    again = accepted("again", 9, attempt=1)
    jobs = [accepted("a", 1), accepted("urgent", 8, priority=1), again]
    result = verdicts(view(*jobs, queues=[queue(parallelism=2)]))
    assert names(result.admitted) == ["urgent", "again"]


@pytest.mark.parametrize("status", [scheduled("holder"), started("holder")])
def test_a_slot_is_held_by_the_status_alone(status: dict[str, Any]) -> None:
    holder = wpsjob("holder", status=status)
    a_view = view(holder, accepted("a", 20), queues=[queue(parallelism=1)])
    assert not verdicts(a_view).admitted


def test_a_slot_is_held_by_a_frozen_wpsjob() -> None:
    frozen = wpsjob("frozen", status=started("frozen", phase="Paused"))
    assert is_admitted(frozen)
    assert not verdicts(view(frozen, accepted("a", 20), queues=[queue(parallelism=1)])).admitted


def test_a_slot_is_held_by_the_pod_of_a_wpsjob_that_is_deleted() -> None:
    a_view = view(
        accepted("a", 1),
        queues=[queue(parallelism=1)],
        children=[kubernetes_job("gone"), pod("gone", phase="Running")],
    )
    assert not verdicts(a_view).admitted


def test_a_slot_is_free_again_when_the_pod_of_a_deleted_wpsjob_has_ended() -> None:
    a_view = view(
        accepted("a", 1),
        queues=[queue(parallelism=1)],
        children=[kubernetes_job("gone", end="Failed"), pod("gone", phase="Failed", exit_code=1)],
    )
    assert names(verdicts(a_view).admitted) == ["a"]


@pytest.mark.parametrize(
    ("limits", "behind"),
    [
        ({"perProcess": {"parallelism": 1}}, {"owner": {"user": "bob"}}),
        ({"perOwner": {"parallelism": 1}}, {"process": "Other", "owner": {"user": "ada"}}),
    ],
    ids=["process", "owner"],
)
def test_the_pod_of_a_deleted_wpsjob_counts_to_the_limit_of_its(limits: Any, behind: Any) -> None:
    """Else who deletes a WpsJob and makes another one would have two pods for a while."""
    job = wpsjob("gone", spec={"owner": {"user": "ada"}})
    made = manifest(Assignment(job, 1), queue(), process(), "worker")
    annotations = made["spec"]["template"]["metadata"]["annotations"]
    assert made["metadata"]["annotations"] == annotations
    free = accepted("free", 2, process="Other", owner={"user": "bob"})
    raws = raw_kubernetes_job("gone"), raw_pod("gone", phase="Running")
    for kind, raw in zip((KubernetesJob, Pod), raws, strict=True):
        raw["metadata"]["annotations"] = annotations
        a_view = view(
            accepted("behind", 1, **behind),
            free,
            queues=[queue(parallelism=5, **limits)],
            processes=[process(), process("Other")],
            children=[kind.from_raw(raw)],
        )
        assert names(verdicts(a_view).admitted) == ["free"]


def test_slots_of_another_queue_do_not_count() -> None:
    other = wpsjob("other", spec={"queue": "night"}, status=started("other"))
    a_view = view(other, accepted("a", 20), queues=[queue(parallelism=1), queue("night")])
    assert names(verdicts(a_view).admitted) == ["a"]


def test_no_relaunch_while_an_old_pod_can_run() -> None:
    again, behind = accepted("again", 1, attempt=1), accepted("behind", 2)
    a_view = view(again, behind, queues=[queue(parallelism=2)], children=[pod("again", 1)])
    # The old pod holds a slot, too.
    assert names(verdicts(a_view).admitted) == ["behind"]


def test_the_pause_before_a_relaunch_lets_others_pass_and_says_when_it_ends() -> None:
    again = accepted(
        "again", 1, attempt=2, restarts=2, attempts=[{"number": 2, "finishedAt": ago(1)}]
    )
    backoff = {"initialSeconds": 2, "factor": 3, "maxSeconds": 60}
    a_view = view(again, accepted("b", 2), queues=[queue(parallelism=1, backoff=backoff)])
    result = verdicts(a_view)
    assert names(result.admitted) == ["b"]
    assert result.wake_in == pytest.approx(5.0)


def test_the_pause_before_a_relaunch_ends() -> None:
    again = accepted(
        "again", 1, attempt=1, restarts=1, attempts=[{"number": 1, "finishedAt": ago(2)}]
    )
    assert names(verdicts(view(again)).admitted) == ["again"]


def test_an_uncounted_relaunch_does_not_pause() -> None:
    again = accepted(
        "again", 1, attempt=1, restarts=0, attempts=[{"number": 1, "finishedAt": ago(0)}]
    )
    assert names(verdicts(view(again)).admitted) == ["again"]


def test_exactly_as_many_as_max_queued_may_wait() -> None:
    jobs = [new(f"n{i:02}", i) for i in range(1, 21)]
    a_view = view(*jobs, queues=[queue(parallelism=3, maxQueued=5)])
    result = verdicts(a_view, *jobs)
    assert names(result.admitted) == ["n01", "n02", "n03"]
    assert names(result.accepted) == [f"n{i:02}" for i in range(4, 9)]
    assert [job.metadata.name for job, _ in result.rejected] == [f"n{i:02}" for i in range(9, 21)]
    assert "full" in result.rejected[0][1]
    assert "5" in result.rejected[0][1]


def test_with_max_queued_0_only_those_with_a_slot_are_let_in() -> None:
    jobs = [new("a", 1), new("b", 2)]
    result = verdicts(view(*jobs, queues=[queue(parallelism=1, maxQueued=0)]), *jobs)
    assert names(result.admitted) == ["a"]
    assert [job.metadata.name for job, _ in result.rejected] == ["b"]


def test_a_paused_queued_wpsjob_counts_to_max_queued() -> None:
    paused, fresh = accepted("paused", 1, phase="Paused"), new("new", 9)
    assert is_queued(paused)
    a_view = view(paused, fresh, queues=[queue(parallelism=0, maxQueued=1)])
    result = verdicts(a_view, fresh)
    assert [job.metadata.name for job, _ in result.rejected] == ["new"]


def test_nobody_is_refused_while_room_is_being_made() -> None:
    fresh = new("new", 9)
    a_view = view(accepted("a", 1), fresh, queues=[queue(parallelism=0, maxQueued=1)])
    result = verdicts(a_view, fresh, settling=True)
    assert (result.admitted, result.accepted, result.rejected) == ([], [], [])


def test_an_admission_from_the_queue_puts_refusals_off_to_the_next_round() -> None:
    fresh = new("new", 9)
    a_view = view(accepted("a", 1), fresh, queues=[queue(parallelism=1, maxQueued=1)])
    result = verdicts(a_view, fresh)
    assert names(result.admitted) == ["a"]
    # Its place is counted until the write was done, and yet the new one is not refused for it.
    assert (result.accepted, result.rejected) == ([], [])


def test_a_held_queue_accepts_and_admits_none() -> None:
    fresh = new("new", 9)
    a_view = view(accepted("a", 1), fresh, queues=[queue(suspend=True)])
    result = verdicts(a_view, fresh)
    assert not result.admitted
    assert names(result.accepted) == ["new"]


def test_a_held_queue_still_refuses_what_is_too_much() -> None:
    fresh = new("new", 9)
    a_view = view(accepted("a", 1), fresh, queues=[queue(suspend=True, maxQueued=1)])
    assert len(verdicts(a_view, fresh).rejected) == 1


def test_a_suspended_new_wpsjob_waits_although_a_slot_is_free() -> None:
    fresh = new("new", 9, suspend=True)
    result = verdicts(view(fresh), fresh)
    assert not result.admitted
    assert names(result.accepted) == ["new"]


def test_a_limit_per_process_of_the_queue_does_not_block_others() -> None:
    running = wpsjob("running", status=started("running"))
    jobs = [running, accepted("a", 20), accepted("b", 21, process="NDVI")]
    a_view = view(
        *jobs,
        queues=[queue(perProcess={"parallelism": 1})],
        processes=[process(), process("NDVI")],
    )
    assert names(verdicts(a_view).admitted) == ["b"]


def test_a_limit_of_the_process_itself_does_not_block_others() -> None:
    running = wpsjob("running", status=started("running"))
    jobs = [running, accepted("a", 20), accepted("b", 21, process="NDVI")]
    a_view = view(*jobs, processes=[process(parallelism=1), process("NDVI")])
    assert names(verdicts(a_view).admitted) == ["b"]


def test_a_limit_per_owner_does_not_block_others() -> None:
    mine, hers = {"owner": {"user": "me"}}, {"owner": {"user": "her"}}
    jobs = [
        wpsjob("running", spec=mine, status=started("running")),
        accepted("a", 20, **mine),
        accepted("b", 21, **hers),
        accepted("c", 22),
    ]
    a_view = view(*jobs, queues=[queue(perOwner={"parallelism": 1})])
    assert names(verdicts(a_view).admitted) == ["b", "c"]


def test_waiting_limits_per_process_and_owner_name_what_is_full() -> None:
    owner = {"owner": {"remoteAddress": "192.0.2.7"}}
    jobs = [accepted("a", 1, **owner), new("b", 2, **owner), new("c", 3)]
    a_view = view(*jobs, queues=[queue(parallelism=0, perOwner={"maxQueued": 1})])
    result = verdicts(a_view, *jobs[1:])
    assert names(result.accepted) == ["c"]
    assert "192.0.2.7" in result.rejected[0][1]


def test_lowered_limits_admit_nobody_until_there_is_room() -> None:
    running = [wpsjob(f"r{i}", status=started(f"r{i}")) for i in range(4)]
    a_view = view(*running, accepted("a", 20), queues=[queue(parallelism=2)])
    assert not verdicts(a_view).admitted


def test_a_wpsjob_whose_process_was_deleted_waits_and_blocks_nobody() -> None:
    jobs = [accepted("a", 1, process="Gone"), accepted("b", 2)]
    assert names(verdicts(view(*jobs, queues=[queue(parallelism=1)])).admitted) == ["b"]


def test_a_wpsjob_that_is_being_deleted_gets_no_slot() -> None:
    deleting = wpsjob(
        "a",
        status={"phase": "Accepted", "sequence": 1},
        deletionTimestamp="2026-01-31T09:29:59Z",
    )
    assert names(verdicts(view(deleting, accepted("b", 2))).admitted) == ["b"]


# -- over random populations ---------------------------------------------------------------------

LIMITS = st.none() | st.integers(0, 3)


@st.composite
def populations(draw: st.DrawFn) -> tuple[View, list[WpsJob]]:
    """A namespace with WpsJobs in every phase, pods left over, and tight limits."""
    jobs, children, fresh = [], [], []
    size = draw(st.integers(0, 14))
    for index, sequence in enumerate(draw(st.permutations(range(100, 100 + size)))):
        name = f"j{index}"
        spec = {
            "process": draw(st.sampled_from(["Echo", "NDVI"])),
            "priority": draw(st.sampled_from([0, 0, 1])),
            "suspend": draw(st.sampled_from([False, False, False, True])),
            "owner": draw(st.sampled_from([{}, {"user": "a"}, {"user": "b"}])),
        }
        kind = draw(
            st.sampled_from(["new", "new", "queued", "queued", "relaunch", "paused", "running"])
        )
        number = draw(st.integers(1, 3))
        status: dict[str, Any] | None = {"phase": "Accepted", "sequence": sequence, "attempt": 0}
        if kind == "new":
            status = None
        elif kind == "relaunch":
            status |= {"attempt": number, "restarts": number - 1}
            status |= {"attempts": [{"number": number, "finishedAt": ago(draw(st.floats(0, 9)))}]}
            if draw(st.booleans()):
                children.append(
                    pod(name, number, phase=draw(st.sampled_from(["Running", "Failed"])))
                )
        elif kind == "paused":
            status |= {"phase": "Paused"}
        elif kind == "running":
            status = started(name, number, sequence=sequence)
            children.append(kubernetes_job(name, number))
        job = wpsjob(name, version=sequence, spec=spec, status=status)
        jobs.append(job)
        if kind == "new":
            fresh.append(job)
    children += [pod(f"gone{i}", phase="Running") for i in range(draw(st.integers(0, 2)))]
    a_queue = queue(
        parallelism=draw(st.integers(0, 6)),
        maxQueued=draw(st.integers(0, 6)),
        suspend=draw(st.sampled_from([False, False, False, True])),
        perProcess={k: v for k in ("maxQueued", "parallelism") if (v := draw(LIMITS)) is not None},
        perOwner={k: v for k in ("maxQueued", "parallelism") if (v := draw(LIMITS)) is not None},
    )
    processes = [process(), process("NDVI", **{"parallelism": draw(st.integers(0, 3))})]
    return view(*jobs, queues=[a_queue], processes=processes, children=children), fresh


@given(populations(), st.booleans())
def test_never_more_admissions_than_free_slots(
    case: tuple[View, list[WpsJob]], settling: bool
) -> None:
    a_view, fresh = case
    a_queue = a_view.queues["default"]
    result = verdicts(a_view, *fresh, settling=settling)
    held = len(a_view.held_slots("default"))
    assert len(result.admitted) <= max(0, a_queue.parallelism - held)
    running = [job for job in a_view.jobs if is_admitted(job)] + result.admitted
    for a_process in a_view.processes.values():
        mine = [job for job in running if job.spec.process == a_process.identifier]
        new_ones = [job for job in result.admitted if job.spec.process == a_process.identifier]
        for most in (a_process.parallelism, a_queue.per_process.parallelism):
            assert most is None or not new_ones or len(mine) <= most
    for owner in ("a", "b"):
        mine = [job for job in running if job.spec.owner.user == owner]
        most = a_queue.per_owner.parallelism
        admitted = [job for job in result.admitted if job.spec.owner.user == owner]
        assert most is None or not admitted or len(mine) <= most


@given(populations(), st.booleans())
def test_never_over_max_queued(case: tuple[View, list[WpsJob]], settling: bool) -> None:
    a_view, fresh = case
    a_queue = a_view.queues["default"]
    result = verdicts(a_view, *fresh, settling=settling)
    queued = [job for job in a_view.jobs if is_queued(job)]
    # Even if none of the admissions in this round should come true.
    assert not result.accepted or len(queued) + len(result.accepted) <= a_queue.max_queued
    for name in a_view.processes:
        accepted_now = [job for job in result.accepted if job.spec.process == name]
        waiting = [job for job in queued if job.spec.process == name]
        most = a_queue.per_process.max_queued
        assert most is None or not accepted_now or len(accepted_now) + len(waiting) <= most


@given(populations(), st.booleans())
def test_each_new_wpsjob_gets_at_most_one_verdict(
    case: tuple[View, list[WpsJob]], settling: bool
) -> None:
    a_view, fresh = case
    result = verdicts(a_view, *fresh, settling=settling)
    told = (
        names(result.admitted)
        + names(result.accepted)
        + [j.metadata.name for j, _ in result.rejected]
    )
    assert len(told) == len(set(told))
    assert {job.metadata.name for job, _ in result.rejected} <= set(names(fresh))
    assert set(names(result.accepted)) <= set(names(fresh))
    if not settling and not set(names(result.admitted)) - set(names(fresh)):
        assert set(names(fresh)) <= set(told)


def _eligible(a_view: View, job: WpsJob) -> bool:
    """It could run now if nobody else were there: no pause, no limit of its own in sight."""
    a_queue = a_view.queues["default"]
    return not (
        a_queue.suspend
        or job.spec.suspend
        or job.metadata.name in a_view.able_to_run
        or job.status.restarts
        or (job.status.phase is not None and not is_queued(job))
        or job.status.phase == "Paused"
    )


@given(populations())
def test_no_younger_wpsjob_overtakes_an_older_one_of_its_kind(
    case: tuple[View, list[WpsJob]],
) -> None:
    """Of the same process, owner and priority, the limits are the same: order alone decides."""
    a_view, fresh = case
    result = verdicts(a_view, *fresh)
    admitted = set(names(result.admitted))
    for younger in result.admitted:
        for older in a_view.jobs:
            if (
                older.sequence < younger.sequence
                and older.spec.priority == younger.spec.priority
                and older.spec.process == younger.spec.process
                and older.spec.owner == younger.spec.owner
                and not younger.status.attempt
                and _eligible(a_view, older)
                and older.metadata.name not in admitted
            ):
                raise AssertionError(f"{younger.metadata.name} overtakes {older.metadata.name}")


@given(populations())
def test_a_free_slot_does_not_stay_free_while_somebody_could_have_it(
    case: tuple[View, list[WpsJob]],
) -> None:
    a_view, fresh = case
    a_queue = a_view.queues["default"]
    if a_queue.per_owner.parallelism is not None or a_queue.per_process.parallelism is not None:
        return
    result = verdicts(a_view, *fresh)
    free = a_queue.parallelism - len(a_view.held_slots("default")) - len(result.admitted)
    left = [
        job
        for job in a_view.jobs
        if _eligible(a_view, job)
        and job.spec.process == "Echo"
        and job.metadata.name not in names(result.admitted)
    ]
    assert free <= 0 or not left
