"""What is known of a namespace, whatever the order in which news comes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.controller.objects import NOW, raw_kubernetes_job, raw_pod, raw_wpsjob
from wpsjobs.api.phases import FINISHED
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.state import Kind, NamespaceState, Store


def store() -> Store[WpsJob]:
    return Store(WpsJob.from_raw)


def known(a_store: Store[WpsJob]) -> dict[str, int]:
    return {job.metadata.name: job.metadata.resource_version for job in a_store.values()}


def everything(_: WpsJob) -> bool:
    return True


def unfinished(job: WpsJob) -> bool:
    return job.status.phase not in FINISHED


def test_the_newest_version_stays_in_whatever_order_they_come() -> None:
    a_store = store()
    assert a_store.put(raw_wpsjob("a", version=9)) is not None
    assert a_store.put(raw_wpsjob("a", version=5)) is None
    assert a_store.put(raw_wpsjob("a", version=9)) is None
    assert a_store.put(raw_wpsjob("a", version=10)) is not None
    assert known(a_store) == {"a": 10}


def test_versions_are_numbers_and_not_text() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("a", version=10))
    assert a_store.put(raw_wpsjob("a", version=9)) is None


def test_an_event_that_comes_after_the_deletion_raises_no_ghost() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("a", version=5))
    a_store.remove(raw_wpsjob("a", version=8))
    assert a_store.put(raw_wpsjob("a", version=7)) is None
    assert not known(a_store)


def test_a_deletion_is_remembered_of_an_object_that_was_never_seen() -> None:
    a_store = store()
    a_store.remove(raw_wpsjob("a", version=8))
    assert a_store.put(raw_wpsjob("a", version=7)) is None


def test_a_new_object_of_the_same_name_takes_the_place_of_a_deleted_one() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("a", version=5))
    a_store.remove(raw_wpsjob("a", version=8))
    a_store.put(raw_wpsjob("a", version=9, uid="another"))
    a_store.remove(raw_wpsjob("a", version=8))  # told again, of the old one
    assert known(a_store) == {"a": 9}


def test_a_new_object_of_the_same_name_needs_no_word_of_the_deletion() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("a", version=5))
    a_store.put(raw_wpsjob("a", version=9, uid="another"))
    assert a_store.remove(raw_wpsjob("a", version=8)) is None
    assert known(a_store) == {"a": 9}


def test_a_list_drops_the_ghosts_of_a_deletion_that_no_watch_told() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("ghost", version=5))
    a_store.put(raw_wpsjob("there", version=6))
    a_store.replace([raw_wpsjob("there", version=6)], 7, everything)
    assert known(a_store) == {"there": 6}


def test_a_list_leaves_what_is_younger_than_itself() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("young", version=9))
    a_store.replace([], 7, everything)
    assert known(a_store) == {"young": 9}


def test_a_list_does_not_take_a_younger_version_back() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("a", version=9))
    a_store.replace([raw_wpsjob("a", version=4)], 7, everything)
    assert known(a_store) == {"a": 9}


def test_a_list_leaves_what_is_outside_its_selection() -> None:
    a_store = store()
    a_store.put(raw_wpsjob("done", version=5, status={"phase": "Succeeded"}))
    a_store.replace([], 7, unfinished)
    assert known(a_store) == {"done": 5}


def test_a_list_older_than_a_deletion_raises_no_ghost() -> None:
    a_store = store()
    a_store.remove(raw_wpsjob("a", version=8))
    a_store.replace([raw_wpsjob("a", version=5)], 7, everything)
    assert not known(a_store)


def test_an_event_older_than_the_list_raises_no_ghost() -> None:
    """The list is complete: what it does not have was deleted, and a watch that lags is late."""
    a_store = store()
    a_store.remove(raw_wpsjob("a", version=8))
    a_store.replace([], 20, everything)
    assert a_store.put(raw_wpsjob("a", version=7)) is None
    assert not known(a_store)


def test_an_event_older_than_the_list_counts_outside_its_selection() -> None:
    a_store = store()
    a_store.replace([], 20, unfinished)
    a_store.put(raw_wpsjob("done", version=7, status={"phase": "Failed"}))
    assert known(a_store) == {"done": 7}


def test_objects_that_are_none_of_ours_are_passed_over() -> None:
    state = NamespaceState("wps", "worker")
    assert state.pods.put({"metadata": {"name": "x", "uid": "x", "resourceVersion": "1"}}) is None
    assert state.kubernetes_jobs.put({}) is None
    assert state.kubernetes_jobs.remove({}) is None
    foreign = raw_pod("a")
    for said in (
        "first",
        "{}",
        "[]",
        "[" * 5000,
        '{"uid": "u", "number": null}',
        '{"uid": "u", "number": 1.5e400}',
    ):
        foreign["metadata"]["annotations"]["wps.eoxserver.org/attempt"] = said
        assert state.pods.put(foreign) is None


def test_a_view_is_not_touched_by_later_news() -> None:
    state = NamespaceState("wps", "worker")
    state.wpsjobs.put(raw_wpsjob("a"))
    before = state.view(NOW)
    state.wpsjobs.put(raw_wpsjob("b"))
    state.kubernetes_jobs.put(raw_kubernetes_job("a"))
    assert [job.metadata.name for job in before.jobs] == ["a"]
    assert before.job_counts == {"Echo": 1}
    assert not list(before.children.jobs())


def test_each_kind_has_its_store() -> None:
    assert set(NamespaceState("wps", "worker").stores) == set(Kind)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """Creations, changes and deletions as they happened: (name, version, what)."""
    log: list[tuple[str, int, str]] = []
    alive: set[str] = set()
    for version in range(1, draw(st.integers(1, 25)) + 1):
        name = draw(st.sampled_from("abc"))
        if name in alive and draw(st.booleans()):
            alive.discard(name)
            log.append((name, version, "DELETED"))
        else:
            log.append((name, version, "MODIFIED" if name in alive else "ADDED"))
            alive.add(name)
    return log


@given(histories(), st.data())
def test_after_all_news_in_any_order_the_truth_is_known(
    log: list[tuple[str, int, str]], data: st.DataObject
) -> None:
    """Delayed, repeated and out of order, with complete lists in between."""
    events: list[tuple[str, dict[str, Any]]] = []
    generation: dict[str, int] = {}
    truth_at: list[dict[str, dict[str, Any]]] = [{}]
    for name, version, what in log:
        if what == "ADDED":
            generation[name] = version
        raw = raw_wpsjob(name, version=version, uid=f"{name}{generation[name]}")
        truth = dict(truth_at[-1])
        if what == "DELETED":
            del truth[name]
        else:
            truth[name] = raw
        truth_at.append(truth)
        events.append((what, raw))
    a_store = store()
    for what, raw in data.draw(st.permutations(events + events[::2])):
        if what == "DELETED":
            a_store.remove(raw)
        else:
            a_store.put(raw)
        if data.draw(st.integers(0, 4)) == 0:
            version = data.draw(st.integers(0, len(log)))
            a_store.replace(truth_at[version].values(), version, everything)
    a_store.replace(truth_at[-1].values(), len(log), everything)
    truth = {n: int(raw["metadata"]["resourceVersion"]) for n, raw in truth_at[-1].items()}
    assert known(a_store) == truth
