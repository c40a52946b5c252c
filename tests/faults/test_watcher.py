"""The watcher itself: it finds each kind of fault, and a gap in what it saw raises no alarm."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.history import GROUP, Change, Ledger
from tests.faults.watcher import Recorder


def _origin(uid: str, attempt: int) -> dict[str, Any]:
    """Labels and annotations of an object of an attempt."""
    said = {"uid": uid, "number": attempt, "process": "Echo"}
    return {
        "labels": {f"{GROUP}/queue": "q"},
        "annotations": {f"{GROUP}/attempt": json.dumps(said)},
    }


class Story:
    """A history in the making: each change has the next version."""

    def __init__(self, parallelism: int = 1, most: int = 1) -> None:
        self.changes: list[Change] = []
        self.version = 0
        self._objects: dict[str, dict[str, Any]] = {}
        spec = {"parallelism": parallelism, "maxQueued": most}
        self._put("wpsqueues", "q", {"metadata": {"name": "q"}, "spec": spec})

    def job(self, name: str, **status: Any) -> Story:
        """Change the status of a WpsJob, made by the first call."""
        old = self._objects.get(name)
        if old is None:
            spec: dict[str, Any] = {"queue": "q"}
            old = self._put("wpsjobs", name, {"metadata": {"name": name}, "spec": spec})
            status.setdefault("sequence", self.version)
            if status.pop("only", False):
                return self
        new = {**old, "status": {**old.get("status", {}), **status}}
        if "phase" in status:
            entry = {"phase": status["phase"]}
            new["status"]["history"] = [*old.get("status", {}).get("history", []), entry]
        self._put("wpsjobs", name, {key: new[key] for key in ("metadata", "spec", "status")})
        return self

    def admit(self, name: str, attempt: int = 1) -> Story:
        self.job(name, phase="Scheduled", attempt=attempt, jobName=f"{name}-{attempt}")
        return self.child("jobs", name, attempt)

    def run(self, name: str, attempt: int = 1) -> Story:
        return self.child("pods", name, attempt, phase="Running").job(name, phase="Started")

    def end(self, name: str, attempt: int = 1, phase: str = "Succeeded") -> Story:
        self.child("pods", name, attempt, phase=phase)
        return self.child(
            "jobs", name, attempt, conditions=[{"type": "Complete", "status": "True"}]
        )

    def child(self, plural: str, name: str, attempt: int, **status: Any) -> Story:
        metadata = {"name": f"{name}-{attempt}", **_origin(name, attempt)}
        if plural == "pods":
            metadata["labels"]["batch.kubernetes.io/job-name"] = f"{name}-{attempt}"
        self._put(plural, f"{plural} {name}-{attempt}", {"metadata": metadata, "status": status})
        return self

    def twin(self, name: str, phase: str) -> Story:
        """Another pod of the Kubernetes Job of the first attempt."""
        metadata = {"name": f"{name}-1-twin", **_origin(name, 1)}
        metadata["labels"]["batch.kubernetes.io/job-name"] = f"{name}-1"
        raw = {"metadata": metadata, "status": {"phase": phase}}
        self._put("pods", f"pods {name}-1-twin", raw)
        return self

    def delete(self, plural: str, uid: str) -> Story:
        self.version += 1
        self._objects.pop(uid)
        self.changes.append(Change(self.version, plural, uid, None, gone=True))
        return self

    def spec(self, name: str, **spec: Any) -> Story:
        old = self._objects[name]
        self._put("wpsjobs", name, {**old, "spec": {**old["spec"], **spec}})
        return self

    def _put(self, plural: str, uid: str, raw: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**raw["metadata"], "uid": uid, "resourceVersion": str(self.version)}
        raw = {**raw, "metadata": metadata}
        begins = uid not in self._objects
        self._objects[uid] = raw
        self.changes.append(Change(self.version, plural, uid, raw, begins=begins))
        return raw

    def problems(self, *, finished: bool = False) -> list[str]:
        # Watches of different kinds run in no common order.
        by_kind = sorted(self.changes, key=lambda change: change.plural)
        return Ledger().read(by_kind).close(finished=finished)


def good() -> Story:
    """One that runs, one that waits for it, one that is refused, a relaunch, a retry."""
    story = Story().job("a", phase="Accepted").admit("a").run("a").job("b", phase="Accepted")
    story.job("c", phase="Rejected").end("a", phase="Failed")
    crash = [{"number": 1, "reason": "Crash"}]
    story.job("a", phase="Accepted", jobName=None, restarts=1, attempts=crash)
    story.admit("a", 2).run("a", 2).end("a", 2).job("a", phase="Succeeded")
    story.admit("b").run("b").end("b").job("b", phase="Succeeded")
    story.spec("b", retries=1).job("b", phase="Accepted", jobName=None, restarts=0)
    return story.admit("b", 2).run("b", 2).end("b", 2).job("b", phase="Succeeded")


def test_a_good_history_raises_no_alarm() -> None:
    assert good().problems(finished=True) == []


FAULTS: dict[str, Callable[[Story], Any]] = {
    "given slot 2 of 1": lambda s: s.admit("x").admit("y"),
    "x was given slot 2 of 1": lambda s: (
        s.admit("o").run("o").job("o", phase="Failed").admit("x")  # the pod of the other still runs
    ),
    "was let into q, where 1 waited": lambda s: s.job("x", phase="Accepted").job(
        "y", phase="Accepted"
    ),
    "went from Accepted to Started": lambda s: s.job("x", phase="Accepted").job(
        "x", phase="Started"
    ),
    "went from Succeeded to Failed": lambda s: (
        s.admit("x").job("x", phase="Succeeded").job("x", phase="Failed")
    ),
    "began anew though nobody asked": lambda s: (
        s.admit("x").job("x", phase="Succeeded").job("x", phase="Accepted")
    ),
    "x ended 2 times": lambda s: (
        s.admit("x")
        .end("x")
        .job("x", phase="Succeeded")
        .job("x", phase="Accepted")
        .admit("x", 2)
        .end("x", 2)
        .job("x", phase="Succeeded")
    ),
    "two pods of x at once": lambda s: s.admit("x").run("x").child("pods", "x", 2, phase="Pending"),
    "two pods of one attempt of x have run it": lambda s: (
        s.admit("x").run("x").twin("x", "Running").twin("x", "Succeeded").end("x")
    ),
    "x has not ended: Started": lambda s: s.admit("x").run("x"),
    "x was lost": lambda s: s.job("x", phase="Accepted").delete("wpsjobs", "x"),
    "went from attempt 1 to 3": lambda s: (
        s.admit("x")
        .end("x")
        .job("x", phase="Accepted", jobName=None, restarts=1)
        .job("x", phase="Scheduled", attempt=3)
    ),
    "changed to 2 without a launch": lambda s: s.admit("x").job("x", attempt=2),
    "changed without a relaunch": lambda s: s.admit("x").job("x", restarts=1),
    "after Crash counted 0": lambda s: (
        s.admit("x")
        .end("x")
        .job("x", phase="Accepted", jobName=None, attempts=[{"reason": "Crash"}])
    ),
    "after Disrupted counted 1": lambda s: (
        s.admit("x")
        .end("x")
        .job("x", phase="Accepted", jobName=None, restarts=1, attempts=[{"reason": "Disrupted"}])
    ),
    "was launched without a slot": lambda s: s.job("x", phase="Accepted").child("jobs", "x", 1),
    "the sequence of x changed": lambda s: s.admit("x").job("x", sequence=99),
    "has the sequence 99": lambda s: s.job("x", phase="Accepted", sequence=99),
    "its history ends with": lambda s: s.admit("x").job("x", history=[{"phase": "Accepted"}]),
    "the history of x goes from Succeeded to Failed": lambda s: s.admit("x").job(
        "x", history=[{"phase": phase} for phase in ("Scheduled", "Succeeded", "Failed")]
    ),
}


@pytest.mark.parametrize("words", FAULTS)
def test_each_fault_is_found(words: str) -> None:
    story = Story()
    FAULTS[words](story)
    assert any(words in problem for problem in story.problems(finished=True)), story.problems()


def test_a_second_pod_of_an_attempt_that_leaves_the_process_alone_raises_no_alarm() -> None:
    """The Job controller makes one where the answer to its first creation was lost."""
    story = Story().admit("x").run("x").twin("x", "Pending").twin("x", "Failed")
    story.end("x").job("x", phase="Succeeded")
    assert not story.problems(finished=True)


def test_what_happened_while_the_api_server_was_away_raises_no_alarm() -> None:
    """The gap hides that one has ended before the other was admitted."""
    story = good()
    for gap_from in range(1, story.version):
        for gap_to in range(gap_from, story.version + 1):
            changes: list[Change] = []
            recorders = {
                plural: Recorder(plural, changes)
                for plural in ("wpsqueues", "wpsjobs", "jobs", "pods")
            }
            for recorder in recorders.values():
                recorder.listed([], 0)
            latest: dict[str, Change] = {}
            for change in story.changes:
                recorder = recorders[change.plural]
                latest[change.uid] = change
                assert change.raw is not None
                if not gap_from <= change.version <= gap_to:
                    recorder.event("ADDED" if change.begins else "MODIFIED", change.raw)
                if change.version == gap_to:
                    for plural, one in recorders.items():
                        there = [c.raw for c in latest.values() if c.plural == plural and c.raw]
                        one.listed(there, change.version)
            assert Ledger().read(changes).close() == [], (gap_from, gap_to)


def test_a_fault_after_a_gap_is_found() -> None:
    changes: list[Change] = []
    story = Story().admit("x").run("x").admit("y")
    recorders = {p: Recorder(p, changes) for p in ("wpsqueues", "wpsjobs", "jobs", "pods")}
    for plural, recorder in recorders.items():
        of_kind = [change for change in story.changes if change.plural == plural]
        recorder.listed([], 0)
        there = {c.uid: c.raw for c in of_kind if c.raw is not None and "y" not in c.uid}
        recorder.listed(there.values(), 8)
        for change in of_kind:
            if "y" in change.uid and change.raw is not None:
                recorder.event("ADDED" if change.begins else "MODIFIED", change.raw)
    assert any("y was given slot 2 of 1" in words for words in Ledger().read(changes).close())
