"""Consumers in the simulation: their own client code against its server, and a referee for claims.

A consumer can die and leave its claim behind, and what it had sent can arrive much later.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tests.unit.controller.objects import merged
from tests.unit.controller.simulation import Raw, Server, Simulation, ViolationError
from wpsjobs.api.phases import CLAIM_ENDED, FINISHED, LAUNCHED, ClaimState, Phase, Reason
from wpsjobs.api.queueing import SILENCE_SECONDS, is_free, order
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller.cluster import GoneError
from wpsjobs.controller.state import Kind
from wpsjobs.eoxserver import client
from wpsjobs.tracker import claims

TIMEOUT = 120
"""Seconds, of each WpsJob here."""


@dataclass
class ConsumersServer(Server):
    """The referee of queues with consumers."""

    holders: dict[tuple[str, int], str] = field(default_factory=dict)
    """By UID and attempt: the consumer that the operator has taken note of."""
    beats: dict[str, float] = field(default_factory=dict)
    """By UID: when its consumer was last heard of."""

    def write_claim(self, who: str, before: Raw, after: Raw) -> Raw:
        """A consumer's write, as *who* means it."""
        old, new = WpsJob.from_raw(before).status.claim, WpsJob.from_raw(after).status.claim
        if new is None or new.consumer != who:
            raise ViolationError(f"{who} writes to a claim that is not its own: {new}")
        if old is not None and (old.consumer, old.attempt) != (new.consumer, new.attempt):
            raise ViolationError(f"{who} takes the claim of {old.consumer}")
        if old is not None and old.state in CLAIM_ENDED:
            raise ViolationError(f"{who} has said its last word before: {old.state}")
        if old is None or old.heartbeat != new.heartbeat:
            self.beats[after["metadata"]["uid"]] = self.clock.seconds
        return self._store(Kind.WPSJOB, after, "MODIFIED")

    def _judge_admission(self, job: WpsJob) -> None:
        """Parallelism is not for consumers, and who comes first is between them."""

    def _judge_launch(self, raw: Mapping[str, Any]) -> None:
        raise ViolationError(f"{raw['metadata']['name']} is launched though consumers serve it")

    def _judge_status(self, before: WpsJob, after: WpsJob) -> None:
        super()._judge_status(before, after)
        name, old, new = before.metadata.name, before.status.phase, after.status.phase
        if new is Phase.SCHEDULED and old is Phase.ACCEPTED:
            self._judge_claim(before, after)
        if old in FINISHED and new not in FINISHED:
            if before.spec.retries <= before.status.retries_seen:
                raise ViolationError(f"{name} has ended twice")
            return
        left = before.has_attempt and new in {*FINISHED, Phase.ACCEPTED}
        if left:
            self._judge_end(before, after)

    def _judge_claim(self, before: WpsJob, after: WpsJob) -> None:
        name, claim = before.metadata.name, before.status.claim
        if claim is None or claim.attempt != after.status.attempt:
            raise ViolationError(f"{name} is scheduled for nobody")
        key = before.metadata.uid, claim.attempt
        if self.holders.setdefault(key, claim.consumer) != claim.consumer:
            raise ViolationError(f"attempt {claim.attempt} of {name} has two consumers")

    def _judge_end(self, before: WpsJob, after: WpsJob) -> None:
        name, status, claim = before.metadata.name, before.status, before.status.claim
        new, own = after.status.phase, claim.state if claim else None
        if self.holders.get((before.metadata.uid, status.attempt)) != (claim and claim.consumer):
            raise ViolationError(f"the end of {name} is not told by its holder")
        if (new is Phase.SUCCEEDED) != (own is ClaimState.SUCCEEDED):
            raise ViolationError(f"{name} is {new}, and its consumer says {own}")
        if new is Phase.SUCCEEDED or before.cancelled:
            return
        limit = before.spec.lifetimes.restart_limit or 0
        over = own is ClaimState.FAILED
        counts = own is not ClaimState.RELEASED
        if not over and own not in CLAIM_ENDED and not self._is_dead(before):
            raise ViolationError(f"attempt {status.attempt} is taken from a live consumer")
        if new is Phase.FAILED:
            if not over and status.restarts < limit:
                raise ViolationError(f"{name} is given up after {status.restarts} of {limit}")
        elif over or (counts and after.status.restarts != status.restarts + 1):
            raise ViolationError(f"{name} is repeated, and not counted: {own}")
        elif after.status.restarts > limit or after.status.claim is not None:
            raise ViolationError(f"{name} is repeated too often, or with its old claim")

    def _is_dead(self, job: WpsJob) -> bool:
        """Whether the time-out has passed, or heartbeats have ceased."""
        claim, since = job.status.claim, job.status.scheduled_at
        if claim is None or since is None:
            return True
        silent = self.clock.seconds - self.beats[job.metadata.uid]
        if claim.heartbeat is not None and silent >= SILENCE_SECONDS:
            return True
        held = (self.clock.now() - since).total_seconds() - job.status.paused_seconds
        return job.status.reason != Reason.SUSPENDED and held >= TIMEOUT


class ConsumerClient:
    """In the place of the plugin's ``Cluster``, for one consumer."""

    def __init__(self, server: ConsumersServer, name: str) -> None:
        self._server, self._name = server, name
        self.fault = ""
        """Of the next write: "lost" or "late", as in the operator's client, or "forbidden"."""

    def get_job(self, name: str) -> Raw:
        try:
            return self._server.get(Kind.WPSJOB, name)
        except GoneError as error:
            raise client.NotFoundError(str(error)) from None

    def patch_job_status(self, name: str, patch: Raw) -> Raw:
        before = self.get_job(name)
        for key, value in patch.get("metadata", {}).items():
            if before["metadata"][key] != value:
                raise client.ConflictError(f"{key} is another one")
        return self._write(before, merged(before, {"status": patch["status"]}))

    def operate_on_job_status(self, name: str, operations: list[Raw]) -> Raw:
        before = self.get_job(name)
        after = copy.deepcopy(before)
        for operation in operations:
            _operate(after, operation)
        return self._write(before, after)

    def _write(self, before: Raw, after: Raw) -> Raw:
        fault, self.fault = self.fault, ""
        if fault == "forbidden":
            raise client.ForbiddenError("the API server has just begun and knows no rights yet")
        if fault == "lost":
            raise client.UnreachableError("no answer, and not done", sent=True)
        done = self._server.write_claim(self._name, before, after)
        if fault == "late":
            raise client.UnreachableError("no answer, but done", sent=True)
        return done


def _operate(document: Any, operation: Raw) -> None:
    """One operation of a JSON Patch (RFC 6902), as far as the protocol uses them."""
    *path, last = operation["path"].split("/")[1:]
    try:
        for key in path:
            document = document[key]
        if operation["op"] == "test":
            if document[last] != operation["value"]:
                raise client.InvalidError(f"{operation['path']} is {document[last]!r}")
        elif isinstance(document, list):
            if last == "-":
                document.append(operation["value"])
            else:
                document[int(last)] = operation["value"]
        else:
            document[last] = operation["value"]
    except KeyError:
        raise client.InvalidError(f"there is no {operation['path']}") from None


class Consumer:
    """A daemon of one process. *name* is that of this life of it."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        assert isinstance(simulation.server, ConsumersServer)
        self.name = name
        self._simulation = simulation
        self.client: Any = ConsumerClient(simulation.server, name)
        self.held: Raw | None = None
        self._known: list[Raw] = []

    def look(self) -> None:
        """Take note of what waits."""
        raws = self._simulation.server.objects[Kind.WPSJOB].values()
        self._known = [copy.deepcopy(raw) for raw in raws if is_free(WpsJob.from_raw(raw))]
        self._known.sort(key=lambda raw: order(WpsJob.from_raw(raw)))

    def knows_any(self) -> bool:
        """Whether it knows of something that waits, or waited when it looked."""
        return bool(self._known)

    def claim(self, state: ClaimState = ClaimState.CLAIMED, *, heartbeat: bool = False) -> None:
        """Claim the first of what it knows, which may have changed since."""
        if self.held is None and self._known:
            job = self._known.pop(0)
            self.held = claims.take(self.client, job, self.name, state=state, heartbeat=heartbeat)

    def report(self, state: ClaimState) -> None:
        if self.held is None:
            return
        ended = WpsJob.from_raw(self.held)
        try:
            self.held = claims.report(self.client, self.held, state, f"{state} by {self.name}")
        except claims.ClaimLostError:
            self.held = None
            return
        except client.InvalidError:
            raise ViolationError(f"a report on {ended.metadata.name} is refused for good") from None
        if state in CLAIM_ENDED:
            self.held = None

    def beat(self) -> None:
        if self.held is not None:
            try:
                self.held = claims.beat(self.client, self.held)
            except claims.ClaimLostError:
                self.held = None


@contextmanager
def without_waiting() -> Iterator[None]:
    """Retries of the consumers' client at once: the clock of the simulation stands still."""
    real = claims.time
    claims.time = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None)  # type: ignore[assignment]
    try:
        yield
    finally:
        claims.time = real


def simulation_with_consumers(max_queued: int = 30) -> Simulation:
    """A namespace whose queue has consumers."""
    simulation = Simulation(parallelism=2, max_queued=max_queued, server=ConsumersServer)
    simulation.server.patch(Kind.WPSQUEUE, "default", "spec", {"executor": "Consumers"})
    return simulation


def held(simulation: Simulation) -> list[WpsJob]:
    """WpsJobs with an attempt under way."""
    return [job for job in simulation.server.wpsjobs() if job.status.phase in LAUNCHED]
