"""Finished WpsJobs are looked at once, when they expire, and when lifetimes change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.controller.objects import NOW, raw_wpsjob
from wpsjobs.api.times import format_time
from wpsjobs.controller.state import NamespaceState


def finished(name: str, *, version: int = 10, **spec: Any) -> dict[str, Any]:
    status = {
        "phase": "Succeeded",
        "finishedAt": format_time(NOW),
        "attempt": 1,
        "history": [{"phase": "Succeeded", "time": format_time(NOW), "message": "well"}],
    }
    if spec.get("ttlSecondsAfterFinished", -1) >= 0:
        end = NOW + timedelta(seconds=spec["ttlSecondsAfterFinished"])
        status["expiresAt"] = format_time(end)
    raw = raw_wpsjob(name)
    raw["metadata"]["resourceVersion"] = str(version)
    raw["spec"] = {**raw["spec"], **spec}
    raw["status"] = status
    return dict(raw)


def names(state: NamespaceState, seconds: float = 0.0) -> list[str]:
    jobs = state.view(NOW + timedelta(seconds=seconds)).jobs
    return sorted(job.metadata.name for job in jobs)


def test_a_finished_wpsjob_is_looked_at_once_and_counted_for_ever() -> None:
    state = NamespaceState("wps", "worker")
    state.wpsjobs.put(finished("a"))
    state.wpsjobs.put(raw_wpsjob("b"))
    assert names(state) == ["a", "b"]
    assert names(state) == ["b"]
    assert state.view(NOW).job_counts == {"Echo": 2}


def test_it_is_looked_at_again_when_it_expires() -> None:
    state = NamespaceState("wps", "worker")
    state.wpsjobs.put(finished("a", ttlSecondsAfterFinished=60))
    names(state)
    assert names(state, 59) == []
    assert state.view(NOW).next_expiry == NOW + timedelta(seconds=60)
    assert names(state, 60) == ["a"]
    assert names(state, 61) == ["a"], "until it is gone"


def test_it_is_looked_at_again_when_it_changes_and_forgotten_with_its_deletion() -> None:
    state = NamespaceState("wps", "worker")
    state.wpsjobs.put(finished("a"))
    names(state)
    state.wpsjobs.put(finished("a", version=11, retries=1))
    assert names(state) == ["a"]
    assert names(state) == ["a"], "until the retry is acted on"
    state.wpsjobs.remove(finished("a", version=12))
    assert names(state) == []
    assert state.view(NOW).job_counts == {"Echo": 0}


def test_all_are_looked_at_again_when_a_process_sets_another_lifetime() -> None:
    state = NamespaceState("wps", "worker")
    state.wpsjobs.put(finished("a"))
    names(state)
    spec = {"identifier": "Echo", "ttlSecondsAfterFinished": 5}
    metadata = {"name": "echo", "namespace": "wps", "uid": "p", "resourceVersion": "20"}
    state.processes.put({"metadata": metadata, "spec": spec})
    assert names(state) == ["a"]


def test_the_story_is_kept_of_one_that_is_to_be_retried_alone() -> None:
    state = NamespaceState("wps", "worker")
    state.wpsjobs.put(finished("kept"))
    state.wpsjobs.put(finished("again", retries=1))
    histories = {job.metadata.name: len(job.status.history) for job in state.wpsjobs.values()}
    assert histories == {"kept": 0, "again": 1}
