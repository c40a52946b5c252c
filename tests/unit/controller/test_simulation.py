"""The operator under failures, delays, crashes and a second leader (invariants 1-4, 7, 9)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.controller.simulation import FAULTS, Simulation
from wpsjobs.api.phases import FINISHED
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller import attempts, lifecycle
from wpsjobs.controller.state import Kind


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with Simulation() as simulation:
        simulation.deliver()
        simulation.turn()
        yield simulation


def phases(simulation: Simulation) -> dict[str, str]:
    return {job.metadata.name: str(job.status.phase or "") for job in simulation.server.wpsjobs()}


def test_a_wpsjob_runs_to_its_end(simulation: Simulation) -> None:
    simulation.create("a")
    simulation.settle(60)
    assert phases(simulation) == {"a": "Succeeded"}
    (job,) = simulation.server.wpsjobs()
    assert [entry["phase"] for entry in job.status.history] == [
        "Scheduled",
        "Started",
        "Succeeded",
    ] or [entry["phase"] for entry in job.status.history] == ["Scheduled", "Succeeded"]


def test_the_limits_are_exact_for_a_storm(simulation: Simulation) -> None:
    for number in range(20):
        simulation.create(f"j{number:02}")
    simulation.deliver()
    simulation.turn()
    found = phases(simulation)
    assert [found[f"j{n:02}"] for n in range(20)] == (
        ["Scheduled"] * 2 + ["Accepted"] * 3 + ["Rejected"] * 15
    )


def test_a_successful_wpsjob_takes_three_patches_if_admitted_at_once(
    simulation: Simulation,
) -> None:
    simulation.create("a")
    before = sum(1 for kind, event, _ in simulation.server.news if kind is Kind.WPSJOB)
    for _ in range(6):
        for what, name in simulation.server.can_step():
            simulation.server.step(what, name)
        simulation.deliver()
        simulation.turn()
    assert phases(simulation) == {"a": "Succeeded"}
    after = sum(1 for kind, event, _ in simulation.server.news if kind is Kind.WPSJOB)
    assert after - before == 3


def test_a_conflict_is_read_again_and_decided_anew(simulation: Simulation) -> None:
    simulation.create("a")
    simulation.deliver()
    simulation.edit("a", priority=5)  # not told yet
    simulation.turn()
    assert phases(simulation) == {"a": "Scheduled"}


def test_a_deletion_that_was_not_told_stops_nothing(simulation: Simulation) -> None:
    simulation.create("a")
    simulation.create("b")
    simulation.deliver()
    simulation.server.delete(Kind.WPSJOB, "a")
    simulation.turn()
    assert phases(simulation) == {"b": "Scheduled"}


@pytest.mark.parametrize("fault", ["lost", "late"])
@pytest.mark.parametrize("write", range(4))
def test_a_write_without_an_answer_is_looked_up_before_the_next_decision(
    simulation: Simulation, fault: str, write: int
) -> None:
    simulation.create("a")
    simulation.deliver()
    simulation.turn([""] * write + [fault])
    simulation.turn()
    assert phases(simulation) == {"a": "Scheduled"}
    assert set(simulation.server.objects[Kind.KUBERNETES_JOB]) == {"a-1"}


@pytest.mark.parametrize(
    ("fault", "write"), list(product(["crash before", "crash after"], range(5)))
)
def test_a_crash_at_any_write_loses_nothing_and_doubles_nothing(
    simulation: Simulation, fault: str, write: int
) -> None:
    for name in "abc":
        simulation.create(name)
    simulation.deliver()
    simulation.turn([""] * write + [fault])
    assert simulation.crashes == 1
    simulation.settle(120)
    assert phases(simulation) == dict.fromkeys("abc", "Succeeded")
    assert set(simulation.server.launched.values()) == {1}


def test_refusals_wait_until_room_has_been_made(simulation: Simulation) -> None:
    for number in range(5):
        simulation.create(f"j{number}")
    simulation.deliver()
    simulation.turn()
    simulation.edit("j4", cancel=True)
    simulation.create("late")
    simulation.deliver()
    simulation.turn()
    assert phases(simulation)["j4"] == "Dismissed"
    assert phases(simulation)["late"] == "Accepted"


def test_a_missed_event_is_made_up_for_by_the_next_list(simulation: Simulation) -> None:
    simulation.create("a")
    simulation.deliver(drop=True)
    simulation.turn()
    assert phases(simulation) == {"a": ""}
    simulation.clock.seconds += 45
    simulation.turn()
    assert phases(simulation) == {"a": "Scheduled"}


def test_a_late_admission_of_a_stopped_leader_conflicts(simulation: Simulation) -> None:
    for name in "abc":
        simulation.create(name)
    simulation.deliver()
    simulation.double_operator(parallelism=1)
    assert phases(simulation) == {"a": "Scheduled", "b": "Accepted", "c": "Accepted"}
    assert len(simulation.late) >= 3, "it had decided to admit both"
    while simulation.late:
        simulation.arrive_late(0)
    assert phases(simulation) == {"a": "Scheduled", "b": "Accepted", "c": "Accepted"}


SOAK = int(os.environ.get("WPSJOBS_SOAK", "1"))
"""How many times longer than in `make test` a storm lasts, with other examples each time."""


class Storm(RuleBasedStateMachine):
    """Users, Kubernetes, the network and the operator, in whatever order Hypothesis likes."""

    @initialize(parallelism=st.integers(0, 3), max_queued=st.integers(0, 4))
    def begin(self, parallelism: int, max_queued: int) -> None:
        self.simulation = Simulation(parallelism=parallelism, max_queued=max_queued)
        self.number = 0

    @rule(
        ttl=st.sampled_from([-1, -1, 0, 60]),
        suspend=st.sampled_from([False, False, False, True]),
        limit=st.integers(0, 2),
        priority=st.sampled_from([0, 0, 0, 1]),
        process=st.sampled_from(["Echo", "Other"]),
        user=st.sampled_from(["ada", "bob"]),
        parts=st.sampled_from([(0, 0), (0, 0), (0, 0), (1, 0), (2, 0), (4, 0), (4, 1), (4, 2)]),
    )
    def create(
        self,
        ttl: int,
        suspend: bool,
        limit: int,
        priority: int,
        process: str,
        user: str,
        parts: tuple[int, int],
    ) -> None:
        """*parts* are how many there are, and how many may run at once."""
        if self.number < 30:
            self.number += 1
            spec: dict[str, Any] = {"ttlSecondsAfterFinished": ttl, "restartLimit": limit}
            spec |= {"priority": priority, "process": process, "owner": {"user": user}}
            if parts[0]:
                spec["parts"] = [f"part {index}" for index in range(parts[0])]
                spec |= {"partParallelism": parts[1]} if parts[1] else {}
            self.simulation.create(f"j{self.number}", suspend=suspend, **spec)

    def _some(self, data: st.DataObject) -> str | None:
        names = sorted(self.simulation.server.objects[Kind.WPSJOB])
        return data.draw(st.sampled_from(names)) if names else None

    @rule(data=st.data(), change=st.sampled_from(["cancel", "suspend", "resume", "retry"]))
    def edit(self, data: st.DataObject, change: str) -> None:
        name = self._some(data)
        if name is None:
            return
        spec = self.simulation.server.objects[Kind.WPSJOB][name]["spec"]
        self.simulation.edit(
            name,
            **{
                "cancel": {"cancel": True},
                "suspend": {"suspend": True},
                "resume": {"suspend": False},
                "retry": {"retries": min(2, spec["retries"] + 1)},
            }[change],
        )

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self._some(data)
        if name is not None and data.draw(st.integers(0, 2)) == 0:
            self.simulation.server.delete(Kind.WPSJOB, name)
            if data.draw(st.booleans()):
                self.create_again(name)

    def create_again(self, name: str) -> None:
        """At once another one of the same name."""
        self.simulation.create(name)

    @rule(
        data=st.data(),
        times=st.integers(1, 4),
        code=st.sampled_from([0, 0, 10, 11, 12, 13, 137]),
    )
    def kubernetes(self, data: st.DataObject, times: int, code: int) -> None:
        for _ in range(times):
            steps = self.simulation.server.can_step()
            if steps:
                what, name = data.draw(st.sampled_from(steps))
                self.simulation.server.step(what, name, code)

    @rule(data=st.data(), drop=st.sampled_from([False, False, False, True]))
    def some_news(self, data: st.DataObject, drop: bool) -> None:
        self.simulation.collect_news()
        pending = range(len(self.simulation.pending))
        if pending:
            chosen = data.draw(st.lists(st.sampled_from(pending), max_size=8, unique=True))
            self.simulation.deliver(chosen, drop=drop)

    @rule()
    def all_news(self) -> None:
        self.simulation.deliver()

    @rule(faults=st.lists(st.sampled_from(FAULTS), max_size=8))
    def turn(self, faults: list[str]) -> None:
        self.simulation.turn(faults)

    @rule()
    def kill(self) -> None:
        self.simulation.start_operator()

    @rule(parallelism=st.integers(0, 3), at_once=st.booleans())
    def double(self, parallelism: int, at_once: bool) -> None:
        self.simulation.double_operator(parallelism)
        while at_once and self.simulation.late:
            self.simulation.arrive_late(0)

    @rule(data=st.data())
    def late_write(self, data: st.DataObject) -> None:
        if self.simulation.late:
            index = data.draw(st.integers(0, len(self.simulation.late) - 1))
            self.simulation.arrive_late(index)

    @rule(seconds=st.sampled_from([1, 5, 20, 50, 700]))
    def wait(self, seconds: int) -> None:
        self.simulation.clock.seconds += seconds

    @rule(parallelism=st.integers(0, 3), max_queued=st.integers(0, 4))
    def limits(self, parallelism: int, max_queued: int) -> None:
        """The operator hears of it at once: against a limit it cannot know, nothing is promised."""
        server = self.simulation.server
        changes = {"parallelism": parallelism, "maxQueued": max_queued}
        raw = server.patch(Kind.WPSQUEUE, "default", "spec", changes)
        self.simulation.loop.notice(Kind.WPSQUEUE, "MODIFIED", raw)

    @rule(
        kind=st.sampled_from(["perProcess", "perOwner"]),
        parallelism=st.none() | st.integers(0, 2),
        max_queued=st.none() | st.integers(0, 2),
    )
    def own_limits(self, kind: str, parallelism: int | None, max_queued: int | None) -> None:
        """As ``limits``, for each process or for each owner."""
        limits = {"parallelism": parallelism, "maxQueued": max_queued}
        changes = {kind: {key: most for key, most in limits.items() if most is not None}}
        raw = self.simulation.server.patch(Kind.WPSQUEUE, "default", "spec", changes)
        self.simulation.loop.notice(Kind.WPSQUEUE, "MODIFIED", raw)

    @precondition(lambda self: hasattr(self, "simulation"))
    @invariant()
    def slots_are_not_over_what_was_ever_allowed(self) -> None:
        assert len(self.simulation.server.held()) <= 2 * 3

    def teardown(self) -> None:
        if not hasattr(self, "simulation"):
            return
        with self.simulation as simulation:
            server = simulation.server
            more = {"parallelism": 3, "maxQueued": 4, "perProcess": None, "perOwner": None}
            server.patch(Kind.WPSQUEUE, "default", "spec", more)
            for job in server.wpsjobs():
                simulation.edit(job.metadata.name, suspend=False)
            simulation.settle(1800)
            left = {n: p for n, p in phases(simulation).items() if p not in list(FINISHED)}
            assert not left, f"lost: {left}"
            assert not server.held()
            assert not server.objects[Kind.KUBERNETES_JOB], "Kubernetes Jobs that nobody removes"
            for job in server.wpsjobs():
                assert job.spec.lifetimes.ttl_seconds_after_finished in (None, -1)


TestStorm = Storm.TestCase
TestStorm.settings = settings(max_examples=200 * SOAK, stateful_step_count=50)


class StormAmongMany(Storm):
    """The same where starts are told late, as they are where many WpsJobs are under way."""

    def __init__(self) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(attempts, "MANY_UNDER_WAY", 1)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self._patch.undo()


TestStormAmongMany = StormAmongMany.TestCase
TestStormAmongMany.settings = settings(max_examples=50 * SOAK, stateful_step_count=50)


def test_a_wpsjob_that_is_left_alone_is_logged_once_for_each_version(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(view: Any, job: WpsJob, *_: Any) -> Any:
        raise ValueError(f"no sense in {job.metadata.name}")

    monkeypatch.setattr(lifecycle, "refuse_at_sight", spoilt)
    simulation.create("bad")
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            simulation.deliver()
            simulation.turn()
            simulation.clock.seconds += 60
        assert [entry["event"] for entry in logs].count("WpsJob left alone") == 1
        simulation.edit("bad", suspend=True)
        simulation.deliver()
        simulation.turn()
        assert [entry["event"] for entry in logs].count("WpsJob left alone") == 2
