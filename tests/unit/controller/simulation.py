"""An API server, its Kubernetes Job controller and kubelets, and the operator, in virtual time.

Everything is driven from outside, one step after the other, so that a run is repeated exactly by
its steps. The operator's own ``Loop`` does the work; ``Client`` stands in for ``Cluster`` and can
fail before or after a write is done, or take the operator down with it. News of the watches waits
in a list until it is delivered: late, in another order, or never.

``Server`` looks at each write and raises ``ViolationError`` where an invariant of the design is
broken.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from tests.unit.controller.objects import NAMESPACE, NOW, merged
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.names import ANNOTATION_ATTEMPT, LABEL_KUBERNETES_JOB, LABEL_WPSJOB
from wpsjobs.api.origin import Unit
from wpsjobs.api.parts import Parts
from wpsjobs.api.phases import FINISHED, LAUNCHED, Phase
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller import apply, served
from wpsjobs.controller.actions import Action, Launch, PatchStatus
from wpsjobs.controller.cluster import ClusterError, ConflictError, GoneError, Listing
from wpsjobs.controller.decisions import decide
from wpsjobs.controller.loop import Loop
from wpsjobs.controller.settings import Settings
from wpsjobs.controller.state import Kind
from wpsjobs.controller.view import is_admitted, is_queued, units

Raw = dict[str, Any]

ARROWS: Mapping[str, set[str]] = {
    "": {"Rejected", "Failed", "Dismissed", "Paused", "Accepted", "Scheduled"},
    "Accepted": {"Scheduled", "Paused", "Dismissed"},
    "Scheduled": {"Started", "Accepted", "Succeeded", "Failed", "Dismissed", "Paused"},
    "Started": {"Succeeded", "Failed", "Dismissed", "Paused", "Accepted"},
    "Paused": {"Accepted", "Scheduled", "Started", "Succeeded", "Failed", "Dismissed"},
    "Succeeded": {"Accepted"},
    "Failed": {"Accepted"},
    "Dismissed": {"Accepted"},
    "Rejected": set(),
}
"""The phases' table of the design, section 3."""


class ViolationError(AssertionError):
    """An invariant of the design is broken."""


class Crash(BaseException):  # no Exception: nothing in the operator may survive it
    """The operator is killed here."""


@dataclass
class Clock:
    """Wall clock and monotonic clock, which only move when they are told."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Server:
    """The objects, with optimistic concurrency, and the referee."""

    clock: Clock
    version: int = 100
    objects: dict[Kind, dict[str, Raw]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    news: list[tuple[Kind, str, Raw]] = field(default_factory=list)
    """All that watches tell, from the beginning."""
    launched: Counter[tuple[str, str]] = field(default_factory=Counter)
    done: set[tuple[str, str, int]] = field(default_factory=set)
    """UID, attempt and index of each part of which a pod ended well."""
    leads: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many parts the first fan-out has started since the second one did, which waits."""
    edited: set[str] = field(default_factory=set)
    """UIDs of the WpsJobs of which the operator may not have heard how their users changed them."""
    sequences: dict[int, str] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    """UIDs of the WpsJobs that the operator tried to patch in this pass."""
    created: dict[str, WpsJob] = field(default_factory=dict)
    """By UID: all WpsJobs that there ever were."""
    through: set[str] = field(default_factory=set)
    """UIDs of the Kubernetes Jobs whose one pod has ended."""

    # -- what any client may do ----------------------------------------------------------------

    def create(self, kind: Kind, name: str, raw: Mapping[str, Any]) -> Raw:
        if name in self.objects[kind]:
            raise ConflictError(f"{name} exists", 409)
        if kind is Kind.KUBERNETES_JOB:
            self._judge_launch(raw)
        made = copy.deepcopy(dict(raw))
        made["metadata"] = {
            **made.get("metadata", {}),
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"{kind.lower()}-{name}-{self.version + 1}",
            "creationTimestamp": format_time(self.clock.now()),
            "generation": 1,
        }
        stored = self._store(kind, made, "ADDED")
        if kind is Kind.WPSJOB:
            self.created[stored["metadata"]["uid"]] = WpsJob.from_raw(stored)
        return stored

    def get(self, kind: Kind, name: str, uid: str | None = None) -> Raw:
        raw = self.objects[kind].get(name)
        if raw is None or (uid is not None and raw["metadata"]["uid"] != uid):
            raise GoneError(f"{kind} {name} is gone", 404)
        return copy.deepcopy(raw)

    def patch(
        self,
        kind: Kind,
        name: str,
        part: str,
        changes: Mapping[str, Any],
        metadata: Metadata | None = None,
    ) -> Raw:
        raw = self.get(kind, name, metadata.uid if metadata else None)
        if metadata and int(raw["metadata"]["resourceVersion"]) != metadata.resource_version:
            raise ConflictError(f"{kind} {name} has changed", 409)
        after = merged(raw, {part: json.loads(json.dumps(dict(changes)))})
        if kind is Kind.WPSJOB and part == "status":
            self._judge_status(WpsJob.from_raw(raw), WpsJob.from_raw(after))
            self.edited.discard(raw["metadata"]["uid"])
        if after == raw:
            return raw
        if kind is Kind.WPSJOB and part == "spec":
            self.edited.add(raw["metadata"]["uid"])
        return self._store(kind, after, "MODIFIED")

    def remove(self, kind: Kind, name: str) -> None:
        raw = self.objects[kind].pop(name)
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.news.append((kind, "DELETED", copy.deepcopy(raw)))

    def delete(self, kind: Kind, name: str, *, after_pods: bool = False) -> None:
        """In the foreground, a Kubernetes Job goes after its pods."""
        raw = self.get(kind, name)
        if not after_pods:
            if kind is Kind.KUBERNETES_JOB:
                self._judge_removal(name)
            self.remove(kind, name)
        elif "deletionTimestamp" not in raw["metadata"]:
            raw["metadata"]["deletionTimestamp"] = format_time(self.clock.now())
            self._store(kind, raw, "MODIFIED")

    def _judge_removal(self, kubernetes_job: str) -> None:
        for raw in self.objects[Kind.POD].values():
            of_it = raw["metadata"]["labels"][LABEL_KUBERNETES_JOB] == kubernetes_job
            if of_it and raw["status"]["phase"] in ("Pending", "Running"):
                raise ViolationError(f"{kubernetes_job} is removed while its pod can run")

    def _store(self, kind: Kind, raw: Raw, event: str) -> Raw:
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.objects[kind][raw["metadata"]["name"]] = raw
        self.news.append((kind, event, copy.deepcopy(raw)))
        return copy.deepcopy(raw)

    # -- the truth, as the referee has it ------------------------------------------------------

    def wpsjobs(self) -> list[WpsJob]:
        return [WpsJob.from_raw(raw) for raw in self.objects[Kind.WPSJOB].values()]

    def units_able_to_run(self) -> dict[tuple[str, int | None], Unit]:
        """By UID and part: what it is of which a pod runs or may still be made.

        By other code than the operator's own, which may be the one that is wrong.
        """
        able, with_pods = {}, set()
        for raw in self.objects[Kind.POD].values():
            labels = raw["metadata"]["labels"]
            with_pods.add(labels[LABEL_KUBERNETES_JOB])
            if raw["status"]["phase"] not in ("Succeeded", "Failed"):
                said = _said(raw)
                able[said["uid"], said.get("part")] = (labels[LABEL_WPSJOB], said.get("part"))
        for name, raw in self.objects[Kind.KUBERNETES_JOB].items():
            labels = raw["metadata"]["labels"]
            is_over = raw["metadata"]["uid"] in self.through or raw.get("status", {}).get(
                "conditions"
            )
            if name not in with_pods and not is_over:
                said = _said(raw)
                able[said["uid"], said.get("part")] = (labels[LABEL_WPSJOB], said.get("part"))
        return able

    def able_to_run(self) -> dict[str, str]:
        """Names by UID of the WpsJobs of which a pod runs or may still be made."""
        return {uid: name for (uid, _), (name, _) in self.units_able_to_run().items()}

    def queue(self) -> Raw:
        return self.objects[Kind.WPSQUEUE]["default"]["spec"]

    def held(self, instead: WpsJob | None = None) -> dict[Unit, WpsJob]:
        """What holds a slot, of which WpsJob; with *instead*, as if that one had this status."""
        jobs = self.wpsjobs()
        if instead is not None:
            jobs = [job for job in jobs if job.metadata.uid != instead.metadata.uid] + [instead]
        able = self.units_able_to_run().items()
        return {unit: self.created[uid] for (uid, _), unit in able} | {
            unit: job for job in jobs for unit in units(job)
        }

    def _judge_status(self, before: WpsJob, after: WpsJob) -> None:
        name = before.metadata.name
        old, new = before.status.phase or "", after.status.phase or ""
        if old != new and new not in ARROWS[old]:
            raise ViolationError(f"{name}: there is no arrow from {old!r} to {new!r}")
        if before.status.sequence is None and after.status.sequence is not None:
            if after.status.sequence != before.metadata.resource_version:
                raise ViolationError(f"{name}: the sequence is not the version at first sight")
            other = self.sequences.setdefault(after.status.sequence, before.metadata.uid)
            if other != before.metadata.uid:
                raise ViolationError(f"{name}: the sequence {after.status.sequence} is used twice")
        elif before.status.sequence != after.status.sequence:
            raise ViolationError(f"{name}: the sequence has changed")
        self._judge_slots(before, after)
        self._judge_parts(before, after)
        if new == Phase.SCHEDULED and old in ("", Phase.ACCEPTED):
            self._judge_admission(before)
        if new in (Phase.ACCEPTED, Phase.PAUSED) and old == "":
            queued = [job for job in self.wpsjobs() if is_queued(job)]
            if len(queued) >= self.queue()["maxQueued"]:
                raise ViolationError(f"{name} is let in although {len(queued)} are waiting")
            if why := self._over(before, queued, "maxQueued"):
                raise ViolationError(f"{name} is let in although {why} are waiting")
        left = old in {*LAUNCHED, Phase.PAUSED} and new in {*FINISHED, Phase.ACCEPTED}
        if left and is_admitted(before) and before.metadata.uid in self.able_to_run():
            raise ViolationError(f"{name} is {new} while a pod of it can run")

    def _kin(self, job: WpsJob) -> dict[str, Callable[[WpsJob], bool]]:
        """Which other WpsJobs count to the same limit, by the limit."""
        kin: dict[str, Callable[[WpsJob], bool]] = {
            "perProcess": lambda other: other.spec.process == job.spec.process
        }
        if job.spec.owner.user is not None:
            kin["perOwner"] = lambda other: other.spec.owner.user == job.spec.owner.user
        return kin

    def _over(self, job: WpsJob, others: Iterable[WpsJob], limit: str) -> str:
        """Which of the queue's own limits per process and owner *others* leave no room in."""
        for kind, is_kin in self._kin(job).items():
            most = (self.queue().get(kind) or {}).get(limit)
            same = [other for other in others if is_kin(other)]
            if most is not None and len(same) >= most:
                return f"{kind}: {len(same)}"
        return ""

    def _judge_slots(self, before: WpsJob, after: WpsJob) -> None:
        """No limit is exceeded by a status that takes slots; each consumer is one of its own."""
        if self.queue().get("executor") == "Consumers":
            return
        name, held = before.metadata.name, self.held(after)
        taken = held.keys() - self.held(before).keys()
        if not taken:
            return
        most: list[tuple[str, int | None, Callable[[WpsJob], bool]]] = [
            ("parallelism", self.queue()["parallelism"], lambda _: True),
        ]
        for kind, is_kin in self._kin(before).items():
            most.append((kind, (self.queue().get(kind) or {}).get("parallelism"), is_kin))
        for what, limit, is_kin in most:
            mine = {unit for unit, holder in held.items() if is_kin(holder)}
            if limit is not None and len(mine) > limit:
                raise ViolationError(f"{name} takes {taken} though {what} is {limit}: {mine}")
        alone = before.spec.part_parallelism
        if alone is not None and len({unit for unit in held if unit[0] == name}) > alone:
            raise ViolationError(f"{name} takes {taken}: more than its own {alone}")

    def _judge_parts(self, before: WpsJob, after: WpsJob) -> None:
        """Parts end as their pods did, the merge step comes last, and fan-outs take turns."""
        name, uid = before.metadata.name, before.metadata.uid
        old, new = before.status.parts or Parts(0, 0), after.status.parts or Parts(0, 0)
        for index in new.succeeded - (old.succeeded if old.attempt == new.attempt else set()):
            if (uid, new.attempt, index) not in self.done:
                raise ViolationError(f"{name}: part {index} has not ended well")
        if old.attempt == new.attempt and not old.succeeded <= new.succeeded:
            raise ViolationError(f"{name}: parts that had succeeded are forgotten")
        if after.spec.parts and after.status.job_name and not new.complete:
            raise ViolationError(f"{name}: merged before all of its parts are done")
        if not after.in_parts:
            return
        started = len(new.running - old.running)
        if not started or (self.queue().get("perProcess") or self.queue().get("perOwner")):
            return
        for other in self.wpsjobs():
            rival = other.metadata.uid
            if rival == uid:
                continue
            self.leads[rival, uid] = 0
            if not self._waits_for_its_turn(other, before.spec.priority):
                self.leads[uid, rival] = 0
                continue
            self.leads[uid, rival] += started if before.in_parts else 0
            if self.leads[uid, rival] > 1:
                raise ViolationError(f"{name} has two turns while {other.metadata.name} waits")

    def _waits_for_its_turn(self, job: WpsJob, priority: int) -> bool:
        """Whether a fan-out could start a part, as far as the operator is sure to know."""
        parts = job.status.parts
        if not job.in_parts or parts is None or job.spec.priority != priority:
            return False
        if job.metadata.uid in self.edited or job.cancelled or job.spec.suspend or parts.failed:
            return False
        fresh = set(range(parts.total)) - parts.succeeded - parts.running - set(parts.restarts)
        most = job.spec.part_parallelism or parts.total
        return bool(fresh) and len(parts.running) < most and job.status.phase != Phase.PAUSED

    def _judge_admission(self, job: WpsJob) -> None:
        name = job.metadata.name
        holders = [holder for unit, holder in self.held().items() if unit != (name, None)]
        able = set(self.able_to_run().values())
        if name in able:
            raise ViolationError(f"{name} is admitted while an old pod of it can run")
        if job.status.attempt:
            return  # a relaunch goes to the head
        place = (-job.spec.priority, job.sequence)
        for other in self.wpsjobs():
            if (
                other.status.phase is Phase.ACCEPTED
                and not other.status.attempt
                and (-other.spec.priority, other.sequence) < place
                and other.metadata.uid not in self.touched
                and other.metadata.name not in able
                and not (other.spec.cancel or other.spec.suspend)
                # Held up by a limit of its own: by what holds a slot, or was to be given one.
                and not self._over(other, [*holders, *self._touched()], "parallelism")
            ):
                raise ViolationError(f"{name} overtakes {other.metadata.name}")

    def _touched(self) -> list[WpsJob]:
        return [job for job in self.wpsjobs() if job.metadata.uid in self.touched]

    def _judge_launch(self, raw: Mapping[str, Any]) -> None:
        said = _said(raw)
        uid, attempt, part = said["uid"], said["number"], said.get("part")
        what = raw["metadata"]["name"]
        self.launched[uid, what] += 1
        if self.launched[uid, what] > 1:
            raise ViolationError(f"{what} is launched twice")
        able = [key for key in self.units_able_to_run() if key[0] == uid]
        if any(part is None or other in (None, part) for _, other in able):
            raise ViolationError(f"{what} is launched while another one can run: {able}")
        if part is not None and (uid, attempt, part) in self.done:
            raise ViolationError(f"{what} is launched though the part had ended well")
        for job in self.wpsjobs():
            if job.metadata.uid != uid:
                continue
            if job.status.attempt != attempt:
                raise ViolationError(f"{what} was not written down before")
            if part is not None:
                parts = job.status.parts
                if parts is None or part not in parts.running:
                    raise ViolationError(f"{what} was not written down before")
                if parts.tries(part) != said["try"]:
                    raise ViolationError(f"{what} is not the try that was written down")

    # -- Kubernetes' own controllers -----------------------------------------------------------

    def can_step(self) -> list[tuple[str, str]]:
        """What the Kubernetes Job controller, kubelets and the garbage collector could do next."""
        steps = []
        pods: dict[str, list[str]] = {}
        for name, raw in self.objects[Kind.POD].items():
            kubernetes_job = raw["metadata"]["labels"][LABEL_KUBERNETES_JOB]
            pods.setdefault(kubernetes_job, []).append(name)
            if raw["status"]["phase"] == "Pending":
                steps.append(("run", name))
            elif raw["status"]["phase"] == "Running":
                steps.append(("end", name))
            elif kubernetes_job not in self.objects[Kind.KUBERNETES_JOB]:
                steps.append(("forget", name))
        uids = {raw["metadata"]["uid"] for raw in self.objects[Kind.WPSJOB].values()}
        for name, raw in self.objects[Kind.KUBERNETES_JOB].items():
            metadata, mine = raw["metadata"], pods.get(name, [])
            if "deletionTimestamp" in metadata:
                steps.append(("reap", name))
            elif metadata["ownerReferences"][0]["uid"] not in uids:
                steps.append(("collect", name))
            elif not raw.get("status", {}).get("conditions"):
                if not mine:
                    steps.append(("pod", name))
                elif self.objects[Kind.POD][mine[0]]["status"]["phase"] in ("Succeeded", "Failed"):
                    steps.append(("conclude", name))
        return sorted(steps)

    def step(self, what: str, name: str, code: int = 0) -> None:
        """One of ``can_step``; *code* is the exit code of a pod that ends."""
        if what == "pod":
            self._make_pod(name)
        elif what == "run":
            state = {"running": {"startedAt": format_time(self.clock.now())}}
            self._tell_pod(name, "Running", state)
        elif what == "end":
            times = {"startedAt": format_time(self.clock.now())}
            times["finishedAt"] = format_time(self.clock.now())
            phase = "Succeeded" if code == 0 else "Failed"
            labels = self.objects[Kind.POD][name]["metadata"]["labels"]
            said = _said(self.objects[Kind.POD][name])
            if code == 0 and "part" in said:
                self.done.add((said["uid"], said["number"], said["part"]))
            self.through.add(
                self.objects[Kind.KUBERNETES_JOB][labels[LABEL_KUBERNETES_JOB]]["metadata"]["uid"]
            )
            self._tell_pod(name, phase, {"terminated": {"exitCode": code, **times}})
        elif what == "conclude":
            self._conclude(name)
        elif what == "collect":
            self.delete(Kind.KUBERNETES_JOB, name, after_pods=True)
        elif what == "forget":
            self.remove(Kind.POD, name)
        else:
            self._reap(name)

    def _make_pod(self, kubernetes_job: str) -> None:
        made = self.objects[Kind.KUBERNETES_JOB][kubernetes_job]["metadata"]
        metadata = {
            "labels": {**made["labels"], LABEL_KUBERNETES_JOB: kubernetes_job},
            "annotations": made["annotations"],
        }
        raw = {"metadata": metadata, "spec": {}, "status": {"phase": "Pending"}}
        self.create(Kind.POD, f"{kubernetes_job}-abcde", raw)

    def _tell_pod(self, name: str, phase: str, state: Mapping[str, Any]) -> None:
        statuses = [{"name": "worker", "state": dict(state)}]
        self.patch(Kind.POD, name, "status", {"phase": phase, "containerStatuses": statuses})

    def _conclude(self, kubernetes_job: str) -> None:
        pod = self.objects[Kind.POD][f"{kubernetes_job}-abcde"]
        kind = "Complete" if pod["status"]["phase"] == "Succeeded" else "Failed"
        condition = {"type": kind, "status": "True"}
        condition["lastTransitionTime"] = format_time(self.clock.now())
        self.patch(Kind.KUBERNETES_JOB, kubernetes_job, "status", {"conditions": [condition]})

    def _reap(self, kubernetes_job: str) -> None:
        """A pod of it ends, then goes, then it goes itself: one of these a step."""
        pod = self.objects[Kind.POD].get(f"{kubernetes_job}-abcde")
        if pod is None:
            self.remove(Kind.KUBERNETES_JOB, kubernetes_job)
        elif pod["status"]["phase"] in ("Pending", "Running"):
            self.step("end", pod["metadata"]["name"], 143)
        else:
            self.remove(Kind.POD, pod["metadata"]["name"])


def _said(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What an object says of the attempt that it is of."""
    said: dict[str, Any] = json.loads(raw["metadata"]["annotations"][ANNOTATION_ATTEMPT])
    return said


FAULTS = ("", "", "", "", "lost", "late", "crash before", "crash after")
"""What may happen to a write: nothing, not done, done without an answer, or the operator dies."""


class Client:
    """In the place of ``Cluster``: one life of the operator."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.faults: list[str] = []
        """Of the next writes, in order; none is left means no fault."""
        self.dead = False

    def _alive(self) -> None:
        if self.dead:
            raise Crash

    async def _write(self, do: Any) -> Any:
        self._alive()
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "lost":
            raise ClusterError("no answer, and not done")
        if fault == "crash before":
            self.dead = True
            raise Crash
        result = do()
        if fault == "late":
            raise ClusterError("no answer, but done")
        if fault == "crash after":
            self.dead = True
            raise Crash
        return result

    async def listing(self, kind: Kind, _: str) -> Listing:
        self._alive()
        items = [copy.deepcopy(raw) for raw in self.server.objects[kind].values()]
        if kind is Kind.WPSJOB:
            items = [raw for raw in items if raw.get("status", {}).get("phase") not in FINISHED]
        return Listing(items, self.server.version)

    async def finished(self, _: str) -> AsyncIterator[Listing]:
        self._alive()
        for phase in sorted(FINISHED):
            items = [
                copy.deepcopy(raw)
                for raw in self.server.objects[Kind.WPSJOB].values()
                if raw.get("status", {}).get("phase") == phase
            ]
            yield Listing(items, self.server.version)

    async def get(self, kind: Kind, metadata: Metadata) -> Raw:
        self._alive()
        return self.server.get(kind, metadata.name, metadata.uid)

    async def warnings(self, _: Metadata) -> str:
        return ""

    async def patch_status(self, kind: Kind, metadata: Metadata, status: Mapping[str, Any]) -> Raw:
        self.server.touched.add(metadata.uid)
        patched: Raw = await self._write(
            lambda: self.server.patch(kind, metadata.name, "status", status, metadata)
        )
        return patched

    async def patch_counts(self, kind: Kind, metadata: Metadata, status: Mapping[str, Any]) -> Raw:
        patched: Raw = await self._write(
            lambda: self.server.patch(kind, metadata.name, "status", status)
        )
        return patched

    async def create_kubernetes_job(self, manifest: Mapping[str, Any]) -> Raw:
        metadata = manifest["metadata"]

        def create() -> Raw:
            there = self.server.objects[Kind.KUBERNETES_JOB].get(metadata["name"])
            if there is None:
                return self.server.create(Kind.KUBERNETES_JOB, metadata["name"], manifest)
            owner = metadata["ownerReferences"][0]["uid"]
            if there["metadata"]["ownerReferences"][0]["uid"] != owner:
                raise ConflictError("another one's", 409)
            return copy.deepcopy(there)

        made: Raw = await self._write(create)
        return made

    async def delete(self, kind: Kind, metadata: Metadata, *, after_pods: bool) -> Raw | None:
        def delete() -> Raw | None:
            raw = self.server.get(kind, metadata.name, metadata.uid)
            if kind is Kind.WPSJOB:
                self._judge_expiry(WpsJob.from_raw(raw))
            self.server.delete(kind, metadata.name, after_pods=after_pods)
            return copy.deepcopy(self.server.objects[kind].get(metadata.name))

        return await self._write(delete)

    def _judge_expiry(self, job: WpsJob) -> None:
        ttl, end = job.spec.lifetimes.ttl_seconds_after_finished, job.status.finished_at
        due = end is not None and ttl is not None and ttl >= 0
        if not job.finished or not due or end is None or ttl is None:
            raise ViolationError(f"{job.metadata.name} is deleted though it does not expire")
        if self.server.clock.now() < end + timedelta(seconds=ttl):
            raise ViolationError(f"{job.metadata.name} is deleted before it expires")

    async def post_event(self, *_: object) -> None:
        self._alive()


class Simulation:
    """A namespace with a queue, a process and an operator. Use it as a context manager."""

    def __init__(
        self, *, parallelism: int = 2, max_queued: int = 3, server: type[Server] = Server
    ) -> None:
        self.clock = Clock()
        self.server = server(self.clock)
        self._running = asyncio.new_event_loop()
        self._real_time = served.time
        for module in (apply, served):
            module.time = SimpleNamespace(monotonic=self.clock.monotonic)  # type: ignore[assignment]
        backoff = {"initialSeconds": 2, "factor": 2, "maxSeconds": 10}
        spec = {"parallelism": parallelism, "maxQueued": max_queued, "backoff": backoff}
        spec["keepPodsSeconds"] = 30
        self.server.create(Kind.WPSQUEUE, "default", {"spec": spec})
        for identifier in ("Echo", "Other"):
            name = identifier.lower()
            self.server.create(Kind.WPSPROCESS, name, {"spec": {"identifier": identifier}})
        self.crashes = 0
        self.late: list[Action | None] = []
        """What leaders that were stopped had decided, and may have sent."""
        self.start_operator()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *_: object) -> None:
        for module in (apply, served):
            module.time = self._real_time
        self._running.close()

    def start_operator(self, *, clean: bool = True) -> None:
        """A new life: it knows nothing, and its watches begin now."""
        self.client = Client(self.server)
        self.loop = Loop(self.client, Settings(), self.clock.now)  # type: ignore[arg-type]
        self.loop.lead([NAMESPACE], clean=clean)
        self.pending: list[tuple[Kind, str, Raw]] = []
        self._told = len(self.server.news)

    def double_operator(self, parallelism: int) -> None:
        """The leader is stopped with its decisions made and nothing of them sent; another leads.

        Meanwhile an administrator changes the queue's *parallelism*, so that they decide otherwise.

        The fence keeps the stopped one from all that it had not sent. What it had can arrive at any
        time, but not before the other one, which waits for the Lease to run out, has listed.
        """
        self.deliver()
        if self.loop.serve(NAMESPACE).listed_at is None:
            self.turn()  # nobody decides by what the watches alone have said
        view = self.loop.serve(NAMESPACE)._state.view(self.clock.now())
        self.late += [
            action.admission if isinstance(action, Launch) else action
            for action in decide(view, self.clock.now()).actions
        ]
        self.server.patch(Kind.WPSQUEUE, "default", "spec", {"parallelism": parallelism})
        self.clock.seconds += 1.0  # of the many that the Lease takes to run out
        self.start_operator(clean=False)
        self.turn()

    def arrive_late(self, index: int) -> None:
        """A status patch of a leader that was stopped arrives."""
        action = self.late.pop(index)
        if isinstance(action, PatchStatus):
            with contextlib.suppress(ConflictError, GoneError):
                metadata = action.job.metadata
                self.server.patch(Kind.WPSJOB, metadata.name, "status", action.patch, metadata)

    # -- users ---------------------------------------------------------------------------------

    def create(self, name: str, **spec: Any) -> None:
        spec = {"process": "Echo", "queue": "default", "retries": 0, **spec}
        self.server.create(Kind.WPSJOB, name, {"spec": spec})

    def edit(self, name: str, **spec: Any) -> None:
        self.server.patch(Kind.WPSJOB, name, "spec", spec)

    # -- the operator --------------------------------------------------------------------------

    def collect_news(self) -> None:
        self.pending += self.server.news[self._told :]
        self._told = len(self.server.news)

    def deliver(self, indexes: Iterable[int] | None = None, *, drop: bool = False) -> None:
        """Give the operator the pending news at *indexes*, in that order; None is all."""
        self.collect_news()
        chosen = list(range(len(self.pending))) if indexes is None else list(indexes)
        for index in chosen:
            kind, event, raw = self.pending[index]
            if not drop:
                self.loop.notice(kind, event, copy.deepcopy(raw))
        left = set(range(len(self.pending))) - set(chosen)
        self.pending = [self.pending[index] for index in sorted(left)]

    def turn(self, faults: Iterable[str] = ()) -> None:
        """One pass of the operator; where it crashes, another one starts."""
        self.client.faults = list(faults)
        self.server.touched.clear()
        try:
            self._running.run_until_complete(self.loop.serve(NAMESPACE).go_through())
        except ClusterError:
            pass  # the next pass goes on from there
        except Crash:
            self.crashes += 1
            self.start_operator()
        finally:
            self.client.faults = []

    def settle(self, seconds: float = 600.0) -> None:
        """No more faults: all steps are done and all news comes, for some time."""
        until = self.clock.seconds + seconds
        while self.clock.seconds < until:
            self.clock.seconds += 10.0
            while steps := self.server.can_step():
                for what, name in steps:
                    if (what, name) in self.server.can_step():
                        self.server.step(what, name)
            self.deliver()
            self.turn()
