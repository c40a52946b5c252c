"""The invariants, checked at every instant of what an API server was seen to hold.

Nothing of the operator's code is used here: its own understanding of these rules is on trial.
All objects of one etcd share the numbers of their versions, so that changes of different kinds,
seen by different watches, have one order.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Raw = Mapping[str, Any]

GROUP = "wps.eoxserver.org"
LABEL_QUEUE, ANNOTATION_ATTEMPT = f"{GROUP}/queue", f"{GROUP}/attempt"
LABEL_KUBERNETES_JOB = "batch.kubernetes.io/job-name"
FINAL = frozenset({"Succeeded", "Failed", "Dismissed", "Rejected"})
LAUNCHED = frozenset({"Scheduled", "Started"})
ARROWS: Mapping[str, frozenset[str]] = {
    "": FINAL - {"Succeeded"} | {"Paused", "Accepted", "Scheduled"},
    "Accepted": frozenset({"Scheduled", "Paused", "Dismissed"}),
    "Scheduled": FINAL - {"Rejected"} | {"Started", "Accepted", "Paused"},
    "Started": FINAL - {"Rejected"} | {"Accepted", "Paused"},
    # To Accepted also where the frozen attempt was lost and is repeated.
    "Paused": FINAL - {"Rejected"} | {"Accepted", "Scheduled", "Started"},
    "Succeeded": frozenset({"Accepted"}),
    "Failed": frozenset({"Accepted"}),
    "Dismissed": frozenset({"Accepted"}),
    "Rejected": frozenset(),
}
UNCOUNTED = frozenset({"Disrupted", "Superseded", "Finalising"})
"""Reasons of attempts whose repetition must not count as a restart."""
MANY = 10
"""After as many uncounted ones, the next counts."""


Unit = tuple[str, int | None]
"""What holds one slot: a WpsJob by its UID, or one part of it."""


@dataclass(frozen=True)
class Change:
    """An object as it became at one instant."""

    version: int
    plural: str
    uid: str
    raw: Raw | None
    """The object; None where it is gone, or where it is not known what it was like."""
    gone: bool = False
    begins: bool = False
    """The object was made at this instant; else it may have been there, unseen, before."""


@dataclass
class _WpsJob:
    name: str
    queue: str
    raw: Raw | None
    """None while it is not known what it is like."""
    begun: bool
    """Seen from its creation on."""
    held_before: bool = False
    """Whether it held a slot when it was last known."""
    ends: int = 0

    @property
    def status(self) -> Raw:
        return _status(self.raw)

    @property
    def phase(self) -> str:
        return str(self.status.get("phase", ""))


@dataclass
class _Child:
    """A Kubernetes Job or a pod."""

    wpsjob: str
    queue: str
    kubernetes_job: str
    ended: bool
    succeeded: bool = False
    part: int | None = None
    tried: int = 0

    @property
    def unit(self) -> Unit:
        return self.wpsjob, self.part


@dataclass
class Ledger:
    """Goes through changes in their order and notes what breaks a rule."""

    problems: list[str] = field(default_factory=list)
    deleted_by_test: Collection[str] = ()
    """Names of WpsJobs that may vanish before their end."""
    wpsjobs: dict[str, _WpsJob] = field(default_factory=dict)
    kubernetes_jobs: dict[str, _Child] = field(default_factory=dict)
    pods: dict[str, _Child] = field(default_factory=dict)
    limits: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Parallelism and maxQueued by queue."""
    most_held: dict[str, int] = field(default_factory=dict)
    """How many slots of each queue were ever held at once."""
    admissions: dict[str, list[str]] = field(default_factory=dict)
    """Names of WpsJobs by queue, in the order of their first slots."""
    launches: list[tuple[str, int | None]] = field(default_factory=list)
    """Names of WpsJobs and their parts, in the order in which Kubernetes Jobs were made."""
    parts_done: set[Unit] = field(default_factory=set)
    """Of which a pod has succeeded."""
    _version: int = 0

    def read(self, changes: Iterable[Change]) -> Ledger:
        """Take changes, in any order."""
        before = self._holders()
        # The sort is stable: of one object in one version, what came first stays first.
        for change in sorted(changes, key=lambda change: change.version):
            self._version = change.version
            match change.plural:
                case "wpsjobs":
                    self._wpsjob(change)
                case "jobs":
                    self._kubernetes_job(change)
                case "pods":
                    self._pod(change)
                case "wpsqueues":
                    self._queue(change)
            after = self._holders()
            self._compare(before, after)
            before = after
            job = self.wpsjobs.get(change.uid)
            if job is not None and change.raw is not None:
                job.held_before = False
        return self

    def close(self, *, finished: bool = True) -> list[str]:
        """What has to hold at the end; all problems. *finished*: nothing may be under way now."""
        for job in self.wpsjobs.values():
            if job.raw is None:
                continue
            if finished and job.phase not in FINAL:
                self._problem(f"{job.name} has not ended: {job.phase or 'unseen'}")
            self._written_history(job)
        return self.problems

    def holders(self, queue: str) -> set[Unit]:
        """What holds a slot of *queue* now."""
        return self._holders().get(queue, set())

    def queued(self, queue: str) -> int:
        """How many wait in *queue* now."""
        return sum(1 for job in self.wpsjobs.values() if job.queue == queue and _is_queued(job.raw))

    # -- what changes ------------------------------------------------------------------------

    def _wpsjob(self, change: Change) -> None:
        old = self.wpsjobs.get(change.uid)
        if change.gone:
            self._vanish(self.wpsjobs.pop(change.uid, None))
        elif change.raw is None:
            if old is not None:
                old.held_before, old.raw = _holds(old.raw), None
        elif old is None:
            spec = change.raw["spec"]
            new = _WpsJob(change.raw["metadata"]["name"], spec["queue"], change.raw, change.begins)
            self.wpsjobs[change.uid] = new
            if change.begins and new.phase:
                self._problem(f"{new.name} was made with the phase {new.phase}")
        elif old.raw is None:
            old.raw = change.raw
        else:
            before, old.raw = old.raw, change.raw
            self._step(old, before, change.raw)

    def _kubernetes_job(self, change: Change) -> None:
        if change.gone:
            self.kubernetes_jobs.pop(change.uid, None)
            return
        assert change.raw is not None
        child = _child(change.raw, _finished(change.raw))
        if change.begins and child.wpsjob in self.wpsjobs:
            job = self.wpsjobs[child.wpsjob]
            number = _said(change.raw)["number"]
            holds = child.part in _held_parts(job.raw)
            if job.raw is not None and (not holds or job.status.get("attempt") != number):
                name = child.kubernetes_job
                self._problem(f"{name} of {job.name} was launched without a slot")
            self.launches.append((job.name, child.part))
            self._merge_is_last(job, child)
        self.kubernetes_jobs[change.uid] = child

    def _pod(self, change: Change) -> None:
        if change.raw is None:
            # Kept: a Kubernetes Job that has lost its pod makes no other.
            if change.uid in self.pods:
                self.pods[change.uid].ended = True
            return
        phase = change.raw["status"].get("phase")
        pod = _child(change.raw, phase in ("Succeeded", "Failed"), phase == "Succeeded")
        others = [
            other
            for uid, other in self.pods.items()
            if uid != change.uid and other.wpsjob == pod.wpsjob
        ]
        job = self.wpsjobs.get(pod.wpsjob)
        name = job.name if job else pod.wpsjob
        # Where the answer to the creation of a pod is lost, the Job controller makes another one;
        # that one has to leave the process alone.
        of_another = [
            one
            for one in others
            if one.kubernetes_job != pod.kubernetes_job
            and (one.part == pod.part or None in (one.part, pod.part))
        ]
        if change.uid not in self.pods and not pod.ended and any(not o.ended for o in of_another):
            self._problem(f"two pods of {name} at once")
        was_told = change.uid in self.pods and self.pods[change.uid].succeeded
        same = [one for one in others if one.kubernetes_job == pod.kubernetes_job]
        if pod.succeeded and not was_told and any(one.succeeded for one in same):
            self._problem(f"two pods of one attempt of {name} have run it")
        if pod.succeeded and not was_told and pod.part is not None:
            if pod.unit in self.parts_done:
                self._problem(f"part {pod.part} of {name} has been done twice")
            self.parts_done.add(pod.unit)
        self.pods[change.uid] = pod

    def _merge_is_last(self, job: _WpsJob, child: _Child) -> None:
        total = len((job.raw or {}).get("spec", {}).get("parts") or [])
        done = sum(1 for uid, _ in self.parts_done if uid == child.wpsjob)
        if child.part is None and done < total:
            self._problem(f"{job.name} is merged with {done} of its {total} parts done")

    def _queue(self, change: Change) -> None:
        if change.raw is not None:
            spec = change.raw["spec"]
            limits = (spec.get("parallelism", 4), spec.get("maxQueued", 256))
            self.limits[change.raw["metadata"]["name"]] = limits

    # -- the rules ---------------------------------------------------------------------------

    def _step(self, job: _WpsJob, before: Raw, after: Raw) -> None:
        """From one version of a WpsJob to the next, both known."""
        old, new = _status(before), _status(after)
        was, now = str(old.get("phase", "")), str(new.get("phase", ""))
        if was != now and now not in ARROWS[was]:
            self._problem(f"{job.name} went from {was or 'nothing'} to {now}")
        retried = was in FINAL and now == "Accepted"
        if retried and after["spec"].get("retries", 0) <= old.get("retriesSeen", 0):
            self._problem(f"{job.name} began anew though nobody asked for a retry")
        if now in FINAL and was not in FINAL:
            job.ends += 1
            if job.ends > 1 + after["spec"].get("retries", 0):
                self._problem(f"{job.name} ended {job.ends} times")
        self._sequence(job, before, old, new)
        self._numbers(job, old, new, retried=retried)
        if not was and _is_queued(after):
            waiting = self.queued(job.queue) - 1
            _, most = self.limits.get(job.queue, (0, 1 << 30))
            if waiting >= most:
                self._problem(f"{job.name} was let into {job.queue}, where {waiting} waited")

    def _sequence(self, job: _WpsJob, before: Raw, old: Raw, new: Raw) -> None:
        if old.get("sequence") is not None and new.get("sequence") != old["sequence"]:
            self._problem(f"the sequence of {job.name} changed")
        elif old.get("sequence") is None and new.get("sequence") is not None:
            version = int(before["metadata"]["resourceVersion"])
            if new["sequence"] != version:
                self._problem(f"{job.name} has the sequence {new['sequence']}, not {version}")

    def _numbers(self, job: _WpsJob, old: Raw, new: Raw, *, retried: bool) -> None:
        attempt, attempts = old.get("attempt", 0), new.get("attempt", 0)
        if new.get("phase") == "Scheduled" and old.get("phase", "") in ("", "Accepted"):
            if attempts != attempt + 1:
                self._problem(f"{job.name} went from attempt {attempt} to {attempts}")
        elif attempts != attempt:
            self._problem(f"the attempt of {job.name} changed to {attempts} without a launch")
        restarts = new.get("restarts", 0) - old.get("restarts", 0)
        if retried:
            return
        relaunched = new.get("phase") == "Accepted" and _holds({"status": old})
        if not relaunched:
            if restarts:
                self._problem(f"the restarts of {job.name} changed without a relaunch")
            return
        reason = next(iter(reversed(new.get("attempts") or [{}]))).get("reason")
        counts = reason not in UNCOUNTED or attempts - old.get("restarts", 0) > MANY
        if restarts != int(counts):
            self._problem(f"a relaunch of {job.name} after {reason} counted {restarts}")

    def _vanish(self, job: _WpsJob | None) -> None:
        if job is None or job.raw is None or job.name in self.deleted_by_test:
            return
        if job.phase not in FINAL:
            self._problem(f"{job.name} was lost: it is gone and was {job.phase or 'unseen'}")

    def _written_history(self, job: _WpsJob) -> None:
        """The transitions as the status itself has them, those that no watch saw among them."""
        phases = [entry.get("phase", "") for entry in job.status.get("history") or []]
        for was, now in zip(["", *phases], phases, strict=False):
            if now not in ARROWS.get(was, frozenset()):
                self._problem(f"the history of {job.name} goes from {was or 'nothing'} to {now}")
        if phases and phases[-1] != job.phase:
            self._problem(f"{job.name} is {job.phase}, and its history ends with {phases[-1]}")
        ends = sum(1 for phase in phases if phase in FINAL)
        again = sum(1 for was, now in pairwise(phases) if was in FINAL and now)
        if job.phase in FINAL and ends != 1 + again:
            self._problem(f"{job.name} ended {ends} times, and was retried {again} times")

    # -- slots -------------------------------------------------------------------------------

    def _holders(self) -> dict[str, set[Unit]]:
        """What holds a slot, by queue."""
        holders: dict[str, set[Unit]] = {}
        for uid, job in self.wpsjobs.items():
            for part in _held_parts(job.raw):
                holders.setdefault(job.queue, set()).add((uid, part))
        with_pods = {pod.kubernetes_job for pod in self.pods.values()}
        running = [pod for pod in self.pods.values() if not pod.ended]
        to_come = [
            child
            for child in self.kubernetes_jobs.values()
            if not child.ended and child.kubernetes_job not in with_pods
        ]
        for child in running + to_come:
            holders.setdefault(child.queue, set()).add(child.unit)
        return holders

    def _compare(self, before: Mapping[str, set[Unit]], after: Mapping[str, set[Unit]]) -> None:
        for queue, held in after.items():
            self.most_held[queue] = max(len(held), self.most_held.get(queue, 0))
            for uid, _ in held - before.get(queue, set()):
                job = self.wpsjobs.get(uid)
                if job is not None and job.held_before:
                    continue  # as before what no watch saw
                admitted = self.admissions.setdefault(queue, [])
                if job is not None and job.status.get("attempt") == 1 and job.name not in admitted:
                    admitted.append(job.name)
                most = self.limits.get(queue, (1 << 30, 0))[0]
                if len(held) > most:
                    name = job.name if job else uid
                    self._problem(f"{name} was given slot {len(held)} of {most} of {queue}")

    def _problem(self, words: str) -> None:
        self.problems.append(f"{words} (at version {self._version})")


def _status(raw: Raw | None) -> Raw:
    status: Raw = (raw or {}).get("status") or {}
    return status


def _holds(raw: Raw | None) -> bool:
    """Whether a WpsJob's status says that it holds a slot."""
    status = _status(raw)
    phase = status.get("phase")
    return phase in LAUNCHED or (phase == "Paused" and _has_left_the_queue(status))


def _has_left_the_queue(status: Raw) -> bool:
    return bool(status.get("jobName") or (status.get("parts") and status.get("scheduledAt")))


def _held_parts(raw: Raw | None) -> set[int | None]:
    """For which parts the status says that slots are held; None is the WpsJob itself."""
    status = _status(raw)
    if not _holds(raw):
        return set()
    if status.get("jobName") or not status.get("parts"):
        return {None}
    held: set[int | None] = set()
    for interval in filter(None, status["parts"].get("running", "").split(",")):
        first, _, last = interval.partition("-")
        held |= set(range(int(first), int(last or first) + 1))
    return held


def _is_queued(raw: Raw | None) -> bool:
    status = _status(raw)
    phase = status.get("phase")
    return phase == "Accepted" or (phase == "Paused" and not _has_left_the_queue(status))


def _child(raw: Raw, ended: bool, succeeded: bool = False) -> _Child:
    metadata = raw["metadata"]
    labels = metadata["labels"]
    name = labels.get(LABEL_KUBERNETES_JOB, metadata["name"])
    said, queue = _said(raw), labels[LABEL_QUEUE]
    part, tried = said.get("part"), said.get("try", 0)
    return _Child(said["uid"], queue, name, ended, succeeded, part, tried)


def _said(raw: Raw) -> Raw:
    """What a Kubernetes Job or pod says of the attempt that it is of."""
    said: Raw = json.loads(raw["metadata"]["annotations"][ANNOTATION_ATTEMPT])
    return said


def _finished(raw: Raw) -> bool:
    conditions = _status(raw).get("conditions") or []
    return any(
        condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
        for condition in conditions
    )
