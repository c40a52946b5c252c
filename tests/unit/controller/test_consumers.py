"""Consumers under failures, delays and deaths, of their own and of the operator's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.unit.controller.consumers import (
    TIMEOUT,
    Consumer,
    held,
    simulation_with_consumers,
    without_waiting,
)
from tests.unit.controller.mutation import Mutation, is_noticed
from tests.unit.controller.simulation import Simulation
from tests.unit.controller.test_simulation import SOAK, Storm, phases
from wpsjobs.api.phases import FINISHED, ClaimState, Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import Executor
from wpsjobs.controller import admission, endings
from wpsjobs.controller import claims as decided
from wpsjobs.controller.state import Kind
from wpsjobs.tracker import claims

SPEC = {"timeoutSeconds": TIMEOUT, "restartLimit": 1}


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with without_waiting(), simulation_with_consumers() as simulation:
        yield simulation


def turn(simulation: Simulation, seconds: float = 0) -> None:
    simulation.clock.seconds += seconds
    simulation.deliver()
    simulation.turn()


def claimed(simulation: Simulation, name: str, **options: Any) -> Consumer:
    """A consumer with the head of the queue, which the operator has noted."""
    consumer = Consumer(simulation, name)
    consumer.look()
    consumer.claim(**options)
    turn(simulation)
    return consumer


def status(simulation: Simulation, name: str = "a") -> Any:
    return WpsJob.from_raw(simulation.server.get(Kind.WPSJOB, name)).status


def test_consumers_drain_a_queue_first_in_first_out(simulation: Simulation) -> None:
    for name in "abc":
        simulation.create(name, **SPEC)
    simulation.create("urgent", priority=1, **SPEC)
    turn(simulation)
    order = []
    for _ in range(4):
        consumer = claimed(simulation, "one")
        assert consumer.held is not None
        order.append(consumer.held["metadata"]["name"])
        consumer.report(ClaimState.SUCCEEDED)
        turn(simulation)
    assert order == ["urgent", "a", "b", "c"]
    assert phases(simulation) == dict.fromkeys([*"abc", "urgent"], "Succeeded")


def test_of_two_consumers_one_gets_it(simulation: Simulation) -> None:
    simulation.create("a", **SPEC)
    turn(simulation)
    one, two = Consumer(simulation, "one"), Consumer(simulation, "two")
    one.look()
    two.look()
    one.claim()
    two.claim()
    assert (one.held is not None, two.held is not None) == (True, False)


def test_a_dead_consumers_task_is_repeated_and_its_late_word_refused(
    simulation: Simulation,
) -> None:
    simulation.create("a", **SPEC)
    turn(simulation)
    dead = claimed(simulation, "dead")
    turn(simulation, TIMEOUT)
    assert (status(simulation).phase, status(simulation).restarts) == (Phase.ACCEPTED, 1)
    dead.report(ClaimState.SUCCEEDED)
    assert dead.held is None, "its claim is lost"

    alive = claimed(simulation, "alive", state=ClaimState.RUNNING)
    assert status(simulation).attempt == 2
    alive.report(ClaimState.SUCCEEDED)
    turn(simulation)
    assert phases(simulation) == {"a": "Succeeded"}


def test_restarts_are_counted_until_the_limit(simulation: Simulation) -> None:
    simulation.create("a", **SPEC)
    turn(simulation)
    for number in range(2):
        claimed(simulation, f"dead-{number}")
        turn(simulation, TIMEOUT)
    assert phases(simulation) == {"a": "Failed"}
    assert status(simulation).restarts == 1


def test_heartbeats_tell_a_death_sooner(simulation: Simulation) -> None:
    simulation.create("a", **(SPEC | {"timeoutSeconds": 10_000}))
    turn(simulation)
    one = claimed(simulation, "one", heartbeat=True)
    for _ in range(4):
        simulation.clock.seconds += 30
        one.beat()
        turn(simulation)
        assert [job.metadata.name for job in held(simulation)] == ["a"]
    turn(simulation, 59)
    assert [job.metadata.name for job in held(simulation)] == ["a"]
    turn(simulation, 1)
    assert (status(simulation).phase, status(simulation).restarts) == (Phase.ACCEPTED, 1)


@pytest.mark.parametrize("fault", ["lost", "late"])
def test_a_claim_or_report_without_an_answer_is_looked_up(
    simulation: Simulation, fault: str
) -> None:
    simulation.create("a", **SPEC)
    turn(simulation)
    one = Consumer(simulation, "one")
    one.look()
    one.client.fault = fault
    one.claim()
    assert (one.held is not None) == (fault == "late")
    if one.held is None:
        one = claimed(simulation, "one")
    one.client.fault = fault
    one.report(ClaimState.SUCCEEDED)
    turn(simulation)
    assert phases(simulation) == {"a": "Succeeded"}


def test_an_operator_that_comes_late_finds_all_reports(simulation: Simulation) -> None:
    simulation.create("a", **SPEC)
    turn(simulation)
    one = Consumer(simulation, "one")
    one.look()
    one.claim()
    for state in (ClaimState.RUNNING, ClaimState.PAUSED, ClaimState.RUNNING, ClaimState.SUCCEEDED):
        one.report(state)
    turn(simulation)
    told = [entry["phase"] for entry in status(simulation).history]
    assert told == ["Accepted", "Scheduled", "Started", "Paused", "Started", "Succeeded"]


def test_the_last_word_is_the_last(simulation: Simulation) -> None:
    simulation.create("a", **SPEC)
    turn(simulation)
    one = claimed(simulation, "one", state=ClaimState.RUNNING)
    twin = Consumer(simulation, "one")  # another thread of it, say
    twin.held = one.held
    one.report(ClaimState.SUCCEEDED)
    twin.report(ClaimState.FAILED)
    assert twin.held is None
    twin.held = simulation.server.get(Kind.WPSJOB, "a")
    twin.report(ClaimState.FAILED)
    assert twin.held is None
    simulation.edit("a", cancel=True)
    turn(simulation)
    assert phases(simulation) == {"a": "Succeeded"}


def test_many_reports_do_not_fill_the_status(simulation: Simulation) -> None:
    simulation.create("a", **SPEC)
    turn(simulation)
    one = Consumer(simulation, "one")
    one.look()
    one.claim()
    for _ in range(2 * claims.MAX_REPORTS):
        one.report(ClaimState.RUNNING)
    assert len(status(simulation).claim.reports) == claims.MAX_REPORTS
    one.report(ClaimState.SUCCEEDED)
    turn(simulation)
    assert phases(simulation) == {"a": "Succeeded"}


class ConsumersStorm(Storm):
    """As ``Storm``, with consumers in the place of Kubernetes."""

    @initialize(max_queued=st.integers(1, 4))
    def begin(self, max_queued: int) -> None:  # type: ignore[override]
        self.waiting = without_waiting()
        self.waiting.__enter__()
        self.simulation = simulation_with_consumers(max_queued)
        self.number = self.lives = 0
        self.consumers = [self.new_consumer() for _ in range(3)]
        self.ghosts: list[Consumer] = []
        for _ in range(2):
            self.create_task(limit=1, priority=0)
        turn(self.simulation)

    def new_consumer(self) -> Consumer:
        self.lives += 1
        return Consumer(self.simulation, f"consumer-{self.lives}")

    @rule(limit=st.integers(0, 2), priority=st.sampled_from([0, 0, 1]))
    def create_task(self, limit: int, priority: int) -> None:
        if self.number < 6:
            self.number += 1
            self.create_again(f"t{self.number}", limit, priority)

    def create_again(self, name: str, limit: int = 1, priority: int = 0) -> None:
        """With the time-out that the referee knows."""
        spec = {"timeoutSeconds": TIMEOUT, "restartLimit": limit, "priority": priority}
        self.simulation.create(name, owner={"user": "ada"}, **spec)

    def create(self, **_: Any) -> None:  # type: ignore[override]
        """Not here: without a time-out of the referee's."""

    def kubernetes(self, **_: Any) -> None:  # type: ignore[override]
        """Not here."""

    limits = own_limits = kubernetes  # type: ignore[assignment]

    @rule()
    def catch_up(self) -> None:
        """The operator hears of everything, and acts."""
        turn(self.simulation)

    @rule(number=st.integers(0, 2))
    def look(self, number: int) -> None:
        self.consumers[number].look()

    @rule(
        number=st.integers(0, 2),
        state=st.sampled_from([ClaimState.CLAIMED, ClaimState.RUNNING]),
        heartbeat=st.booleans(),
        fault=st.sampled_from(["", "", "", "lost", "late"]),
    )
    def claim(self, number: int, state: ClaimState, heartbeat: bool, fault: str) -> None:
        """What it knows may be old."""
        consumer = self.consumers[number]
        if not consumer.knows_any():
            consumer.look()
        consumer.client.fault = fault
        consumer.claim(state, heartbeat=heartbeat)
        consumer.client.fault = ""

    @rule(
        number=st.integers(0, 2),
        state=st.sampled_from([*ClaimState, ClaimState.SUCCEEDED, ClaimState.RUNNING]),
        fault=st.sampled_from(["", "", "", "lost", "late", "forbidden"]),
    )
    def report(self, number: int, state: ClaimState, fault: str) -> None:
        consumer = self.consumers[number]
        consumer.client.fault = fault
        consumer.report(state)
        consumer.client.fault = ""

    @rule(number=st.integers(0, 2))
    def beat(self, number: int) -> None:
        self.consumers[number].beat()

    @rule(number=st.integers(0, 2))
    def die(self, number: int) -> None:
        self.ghosts.append(self.consumers[number])
        self.consumers[number] = self.new_consumer()

    @rule(data=st.data(), state=st.sampled_from(ClaimState))
    def late_report(self, data: st.DataObject, state: ClaimState) -> None:
        ghosts = [ghost for ghost in self.ghosts if ghost.held is not None]
        if ghosts:
            data.draw(st.sampled_from(ghosts)).report(state)

    @invariant()
    def slots_are_not_over_what_was_ever_allowed(self) -> None:
        """Each consumer is a slot, and so is each that has died and is not known to have."""

    def teardown(self) -> None:
        if not hasattr(self, "simulation"):
            return
        with self.simulation as simulation:
            for job in simulation.server.wpsjobs():
                simulation.edit(job.metadata.name, suspend=False)
            for _ in range(60):
                turn(simulation, 10)
                for consumer in self.consumers:
                    consumer.look()
                    consumer.claim()
                    consumer.report(ClaimState.SUCCEEDED)
            turn(simulation)
            self.waiting.__exit__(None, None, None)
            left = {n: p for n, p in phases(simulation).items() if p not in list(FINISHED)}
            assert not left, f"lost: {left}"


TestConsumersStorm = ConsumersStorm.TestCase
TestConsumersStorm.settings = settings(max_examples=80 * SOAK, stateful_step_count=50)


def claims_without_precondition(patch: pytest.MonkeyPatch) -> None:
    original = claims.take

    def take(cluster: Any, job: Any, *arguments: Any, **options: Any) -> Any:
        now = cluster.get_job(job["metadata"]["name"])
        return original(cluster, {**job, "metadata": now["metadata"]}, *arguments, **options)

    patch.setattr(claims, "take", take)


def reports_without_tests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(claims, "_tests", lambda _: [])


def operator_launches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(admission, "Executor", SimpleNamespace(JOBS=Executor.CONSUMERS))


def any_attempt_will_do(patch: pytest.MonkeyPatch) -> None:
    original = decided.conclude

    def conclude(view: Any, job: WpsJob, end: Any, fields: Any, *rest: Any, **named: Any) -> Any:
        action = original(view, job, end, fields, *rest, **named)
        if action.patch["phase"] is Phase.ACCEPTED:
            kept = {key: value for key, value in action.patch.items() if key != "claim"}
            return type(action)(action.job, kept, action.milestone)
        return action

    patch.setattr(decided, "conclude", conclude)


def restarts_are_not_counted(patch: pytest.MonkeyPatch) -> None:
    original = endings._relaunch

    def relaunch(*arguments: Any) -> Any:
        found = original(*arguments)
        return found and (False, found[1])

    patch.setattr(endings, "_relaunch", relaunch)


def no_limit_of_restarts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(endings, "_relaunch", lambda *_: (True, "again and again"))


def time_out_from_the_acceptance_on(patch: pytest.MonkeyPatch) -> None:
    original = decided._overdue

    def overdue(view: Any, job: WpsJob, now: datetime, plan: Any) -> Any:
        early = job.status.accepted_at
        status = type(job.status)(**{**vars(job.status), "scheduled_at": early})
        return original(view, type(job)(job.metadata, job.spec, status), now, plan)

    patch.setattr(decided, "_overdue", overdue)


CAUGHT: list[Mutation] = [
    claims_without_precondition,
    reports_without_tests,
    operator_launches,
    any_attempt_will_do,
    restarts_are_not_counted,
    no_limit_of_restarts,
    time_out_from_the_acceptance_on,
]


@pytest.mark.parametrize("mutation", CAUGHT, ids=lambda mutation: mutation.__name__)
def test_the_storm_notices_a_broken_rule(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutation(monkeypatch)
    is_noticed(ConsumersStorm)
