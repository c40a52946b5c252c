"""The operator's loop: observe, decide, apply, until nothing is left to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.api.resources import Metadata, Raw, WpsJob
from wpsjobs.controller import accounting, metrics
from wpsjobs.controller.actions import (
    Action,
    DeleteKubernetesJob,
    DeleteWpsJob,
    Launch,
    Milestone,
    PatchProcessStatus,
    PatchQueueStatus,
    PatchStatus,
    Plan,
)
from wpsjobs.controller.cluster import (
    Cluster,
    ClusterError,
    ConflictError,
    GoneError,
    RefusedError,
)
from wpsjobs.controller.crashpoints import CrashPoint, pass_by
from wpsjobs.controller.decisions import decide, take_over
from wpsjobs.controller.settings import Settings
from wpsjobs.controller.state import Kind, NamespaceState

logger = structlog.get_logger(__name__)

MAX_ROUNDS = 50
"""Rounds of one pass; more means that decisions do not come to rest, and the loop breathes."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds of pause after a failed pass: doubled from the first to the longest."""
LATE_SECONDS = 10.0
"""Age in seconds at which a pod that has not started is asked why, and asked again."""
COUNTS_EVERY = 1.0
"""Seconds between two patches of the counts of a queue or process."""


def utc_now() -> datetime:
    """The clock of the loop; ``decisions`` gets it passed in."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Refusal:
    pause: float
    until: float
    """By the monotonic clock, when to try again."""


@dataclass
class _Served:
    """A namespace and how fresh what is known of it is, by the monotonic clock."""

    state: NamespaceState
    listed_at: float | None = None
    finished_listed_at: float | None = None
    due_at: float = 0.0
    pause: float = 0.0
    uncertain: dict[tuple[Kind, str], Metadata] = field(default_factory=dict)
    """Objects of which a write ended without an answer: to be read before the next decision."""
    counts_told_at: dict[str, float] = field(default_factory=dict)
    asked_at: dict[str, float] = field(default_factory=dict)
    """When a pod that does not start was last asked why, by its UID."""
    taken_over: bool = True
    """False as long as a leader that fell silent could still write to something."""
    refused: dict[str, _Refusal] = field(default_factory=dict)
    """Of what the API server refuses to have changed, by ``_target``."""


class Loop:
    """Serves all namespaces, one pass at a time."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cluster = cluster
        self._clean = True
        self._settings = settings
        self._now = now
        self._served: dict[str, _Served] = {}
        self._awake = asyncio.Event()
        self._writes = asyncio.Semaphore(settings.writes_at_once)
        self._events: asyncio.Queue[tuple[WpsJob, Milestone]] = asyncio.Queue(maxsize=5000)
        self.turned_at: float | None = None
        """When the loop last turned, by the monotonic clock; None as long as another one leads."""

    # -- news from the watches ---------------------------------------------------------------

    def notice(self, kind: Kind, event: str | None, raw: Raw) -> None:
        """Take note of what a watch says; None for *event* is an object of its first list."""
        metadata = raw["metadata"]
        served = self._serve(metadata.get("namespace", ""))
        if event == "DELETED":
            changed = served.state.remove(kind, raw)
        else:
            changed = served.state.stores[kind].put(raw) is not None
        if changed:
            served.due_at = 0.0
            self._awake.set()

    def serve(self, namespaces: Iterable[str]) -> None:
        """Serve these namespaces, besides those of which a watch brings something."""
        for namespace in namespaces:
            self._serve(namespace)
        self._awake.set()

    def lead(self, namespaces: Iterable[str], *, clean: bool) -> None:
        """Begin to serve; without *clean*, a leader before may still have writes under way."""
        self._clean, self.turned_at = clean, time.monotonic()
        self.serve(namespaces)

    def forget(self, namespace: str) -> None:
        """The namespace is deleted."""
        self._served.pop(namespace, None)

    def _serve(self, namespace: str) -> _Served:
        if namespace not in self._served:
            state = NamespaceState(namespace, self._settings.worker_service_account)
            self._served[namespace] = _Served(state, taken_over=self._clean)
        return self._served[namespace]

    # -- probes ------------------------------------------------------------------------------

    def list_age(self) -> float:
        """Seconds since the oldest of the namespaces' lists; infinite before the first."""
        now = time.monotonic()
        if self.turned_at is None:
            return float("inf")
        ages = [
            float("inf") if served.listed_at is None else now - served.listed_at
            for served in self._served.values()
        ]
        return max(ages, default=0.0)

    # -- the loop ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Turn until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._post_events())
            group.create_task(self._turn())

    async def _turn(self) -> None:
        while True:
            self._awake.clear()
            for served in list(self._served.values()):
                if served.due_at <= time.monotonic():
                    await self._attend(served)
                self.turned_at = time.monotonic()
            due = min((served.due_at for served in self._served.values()), default=float("inf"))
            # An idle loop turns, too, for the probe.
            pause = min(10.0, max(0.0, due - time.monotonic()))
            try:
                await asyncio.wait_for(self._awake.wait(), pause)
            except TimeoutError:
                continue
            finally:
                self.turned_at = time.monotonic()

    async def _attend(self, served: _Served) -> None:
        """One pass over a namespace; a failure pauses it and leaves the others alone."""
        namespace = served.state.namespace
        try:
            with metrics.LOOP_SECONDS.time():
                await self._pass(served)
            served.pause = 0.0
        except ClusterError as error:
            metrics.API_ERRORS.labels(kind=type(error).__name__).inc()
            logger.warning("pass broken off", namespace=namespace, error=str(error))
            self._pause(served)
        except Exception:
            logger.exception("pass failed", namespace=namespace)
            self._pause(served)

    @staticmethod
    def _pause(served: _Served) -> None:
        served.pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, served.pause * 2))
        served.due_at = time.monotonic() + served.pause

    async def _pass(self, served: _Served) -> None:
        await self._take_over(served)
        for _ in range(MAX_ROUNDS):
            await self._observe(served)
            served.due_at = float("inf")  # any news from here on makes it due again
            view = served.state.view()
            plan = decide(view, self._now())
            for job, error in plan.problems:
                logger.error("WpsJob left alone", job=job.metadata.key, exc_info=error)
            self._put_off_counts(served, plan)
            self._put_off_refused(served, plan)
            if not plan.actions:
                accounting.account_queues(view)
                break
            await self._apply(served, plan.actions)
        else:
            logger.warning("no rest yet", namespace=served.state.namespace, rounds=MAX_ROUNDS)
            plan.wake(FIRST_PAUSE)
        next_list = (served.listed_at or 0.0) + self._settings.list_seconds
        due = min(next_list, time.monotonic() + plan.wake_in if plan.wake_in is not None else 1e18)
        served.due_at = min(served.due_at, due)

    async def _take_over(self, served: _Served) -> None:
        """Rewrite what a leader that fell silent could still write to, before anything else."""
        if served.taken_over:
            return
        await self._observe(served)
        await self._apply(served, take_over(served.state.view(), self._now()))
        served.taken_over = True

    # -- observe -----------------------------------------------------------------------------

    async def _observe(self, served: _Served) -> None:
        now = time.monotonic()
        if served.listed_at is None or now - served.listed_at >= self._settings.list_seconds:
            await self._list(served)
        if (
            served.finished_listed_at is None
            or now - served.finished_listed_at >= self._settings.finished_list_seconds
        ):
            await self._list_finished(served)
        for kind, name in list(served.uncertain):
            await self._read(served, kind, served.uncertain[kind, name])
            del served.uncertain[kind, name]
        await self._ask_late_pods(served)

    async def _ask_late_pods(self, served: _Served) -> None:
        """Look up why pods do not start that do not say so themselves, such as for a volume."""
        late, asked_at = dict[str, str](), dict[str, float]()
        for pod in served.state.pods.values():
            if pod.phase != "Pending" or pod.cannot_start or pod.metadata.created_at is None:
                continue
            uid, words = pod.metadata.uid, served.state.late_pods.get(pod.metadata.uid)
            age = (self._now() - pod.metadata.created_at).total_seconds()
            silent = time.monotonic() - served.asked_at.get(uid, -1e9)
            if words is None and min(age, silent) > LATE_SECONDS:
                asked_at[uid] = time.monotonic()
                words = await self._cluster.warnings(pod.metadata)
            elif uid in served.asked_at:
                asked_at[uid] = served.asked_at[uid]
            if words:
                late[uid] = words
        served.state.late_pods, served.asked_at = late, asked_at

    async def _list(self, served: _Served) -> None:
        """Take the unfinished objects anew, children first.

        A Kubernetes Job of which the WpsJob is not known yet holds a slot; a WpsJob of which the
        Kubernetes Job is not known yet would be given another.
        """
        state, cluster, taken_at = served.state, self._cluster, time.monotonic()
        for kind in (Kind.WPSQUEUE, Kind.WPSPROCESS, Kind.WPSJOB, Kind.KUBERNETES_JOB, Kind.POD):
            listing = await cluster.listing(kind, state.namespace)
            state.stores[kind].replace(listing.items, listing.version, _within(kind))
        served.listed_at = taken_at
        metrics.LIST_AGE.set(self.list_age())

    async def _list_finished(self, served: _Served) -> None:
        taken_at, names, versions = time.monotonic(), set[str](), list[int]()
        async for listing in self._cluster.finished(served.state.namespace):
            versions.append(listing.version)
            for raw in listing.items:
                names.add(raw["metadata"]["name"])
                served.state.wpsjobs.put(raw)
        # As of the oldest page: one that got from phase to phase meanwhile is younger than that.
        served.state.wpsjobs.prune(names, min(versions), lambda job: job.finished)
        served.finished_listed_at = taken_at

    async def _read(self, served: _Served, kind: Kind, metadata: Metadata) -> None:
        store = served.state.stores[kind]
        try:
            store.put(await self._cluster.get(kind, metadata))
        except GoneError:
            store.forget(metadata)

    # -- apply -------------------------------------------------------------------------------

    async def _apply(self, served: _Served, actions: Iterable[Action]) -> None:
        """Carry out all *actions*; what one of them meets does not keep another from trying."""
        actions = list(actions)
        results = await asyncio.gather(
            *(self._carry_out(served, action) for action in actions), return_exceptions=True
        )
        errors = []
        for action, result in zip(actions, results, strict=True):
            if isinstance(result, RefusedError):
                self._note_refusal(served, action, result)
            elif isinstance(result, BaseException):
                errors.append(result)
            else:
                served.refused.pop(_target(action), None)
        for error in errors:
            if not isinstance(error, ClusterError):
                raise error
        if errors:
            raise errors[0]

    @staticmethod
    def _note_refusal(served: _Served, action: Action, error: RefusedError) -> None:
        """Let the object alone for a while: of a template, say, that is none, or for a quota."""
        metrics.API_ERRORS.labels(kind=type(error).__name__).inc()
        target = _target(action)
        before = served.refused.get(target)
        pause = FIRST_PAUSE if before is None else min(LONGEST_PAUSE, before.pause * 2)
        served.refused[target] = _Refusal(pause, time.monotonic() + pause)
        logger.warning("refused", target=target, error=str(error), again_in=pause)

    @staticmethod
    def _put_off_refused(served: _Served, plan: Plan) -> None:
        """Leave out of *plan* what was refused just before."""
        now = time.monotonic()
        actions: list[Action] = []
        for action in plan.actions:
            refusal = served.refused.get(_target(action))
            if refusal is not None and refusal.until > now:
                plan.wake(refusal.until - now)
            else:
                actions.append(action)
        plan.actions = actions

    async def _carry_out(self, served: _Served, action: Action) -> None:
        async with self._writes:
            match action:
                case PatchStatus():
                    await self._patch(served, action)
                case Launch():
                    await self._launch(served, action)
                case DeleteKubernetesJob(job=metadata, why=why):
                    logger.info("deleting Kubernetes Job", job=metadata.key, why=why)
                    await self._delete(served, Kind.KUBERNETES_JOB, metadata)
                case DeleteWpsJob(job=job):
                    logger.info("deleting expired WpsJob", job=job.metadata.key)
                    await self._delete(served, Kind.WPSJOB, job.metadata)
                case PatchQueueStatus(queue=metadata, status=status):
                    await self._patch_counts(served, Kind.WPSQUEUE, metadata, status)
                case PatchProcessStatus(process=metadata, status=status):
                    await self._patch_counts(served, Kind.WPSPROCESS, metadata, status)

    async def _patch(self, served: _Served, action: PatchStatus) -> bool:
        """Whether the patch was taken; where the WpsJob had changed it is read again instead."""
        metadata = action.job.metadata
        final = action.patch.get("phase") in list(FINISHED)
        admits = action.patch.get("phase") == Phase.SCHEDULED
        pass_by(CrashPoint.BEFORE_ADMISSION, admits)
        pass_by(CrashPoint.BEFORE_CONCLUSION, final)
        try:
            raw = await self._writing(
                served,
                Kind.WPSJOB,
                metadata,
                self._cluster.patch_status(Kind.WPSJOB, metadata, action.patch),
            )
        except ConflictError:
            await self._read(served, Kind.WPSJOB, metadata)
            return False
        except GoneError:
            served.state.wpsjobs.forget(metadata)
            return False
        pass_by(CrashPoint.AFTER_ADMISSION, admits)
        pass_by(CrashPoint.AFTER_CONCLUSION, final)
        served.state.wpsjobs.put(raw)
        accounting.account(action)
        if action.milestone is not None:
            self._tell(action.job, action.milestone)
        return True

    async def _launch(self, served: _Served, action: Launch) -> None:
        if action.admission is None:
            # The slot was taken long ago, perhaps by a WpsJob that is gone or dismissed by now.
            metadata = action.job.metadata
            await self._read(served, Kind.WPSJOB, metadata)
            known = served.state.wpsjobs.get(metadata.name)
            if known is None or known.metadata.resource_version != metadata.resource_version:
                return
        elif not await self._patch(served, action.admission):
            return
        raw = await self._cluster.create_kubernetes_job(action.manifest)
        pass_by(CrashPoint.AFTER_CREATION)
        served.state.kubernetes_jobs.put(raw)

    async def _delete(self, served: _Served, kind: Kind, metadata: Metadata) -> None:
        await self._writing(served, kind, metadata, self._cluster.delete(kind, metadata))
        await self._read(served, kind, metadata)

    async def _patch_counts(
        self, served: _Served, kind: Kind, metadata: Metadata, status: Any
    ) -> None:
        try:
            raw = await self._cluster.patch_counts(kind, metadata, status)
        except GoneError:
            served.state.stores[kind].forget(metadata)
            return
        served.counts_told_at[metadata.name] = time.monotonic()
        served.state.stores[kind].put(raw)

    @staticmethod
    async def _writing(
        served: _Served, kind: Kind, metadata: Metadata, write: Coroutine[Any, Any, Any]
    ) -> Any:
        """Await a write; one without an answer leaves the object uncertain."""
        served.uncertain[kind, metadata.name] = metadata
        try:
            result = await write
        except (ConflictError, GoneError):
            del served.uncertain[kind, metadata.name]
            raise
        del served.uncertain[kind, metadata.name]
        return result

    def _put_off_counts(self, served: _Served, plan: Plan) -> None:
        """Leave out of *plan* the counts that were told just before."""
        now = time.monotonic()
        actions: list[Action] = []
        for action in plan.actions:
            if isinstance(action, PatchQueueStatus | PatchProcessStatus):
                metadata = action.queue if isinstance(action, PatchQueueStatus) else action.process
                left = served.counts_told_at.get(metadata.name, -1e9) + COUNTS_EVERY - now
                if left > 0:
                    plan.wake(left)
                    continue
            actions.append(action)
        plan.actions = actions

    # -- Kubernetes Events -------------------------------------------------------------------

    def _tell(self, job: WpsJob, milestone: Milestone) -> None:
        logger.info(
            milestone.reason.lower(),
            job=job.metadata.key,
            process=job.spec.process,
            attempt=job.status.attempt,
            message=milestone.message,
        )
        try:
            self._events.put_nowait((job, milestone))
        except asyncio.QueueFull:
            logger.warning("Event dropped, too many at once", job=job.metadata.key)

    async def _post_events(self) -> None:
        """Events are for people; they wait behind everything else, and none is tried twice."""
        while True:
            job, milestone = await self._events.get()
            try:
                await self._cluster.post_event(job, milestone)
            except ClusterError as error:
                logger.warning("Event not posted", job=job.metadata.key, error=str(error))


def _target(action: Action) -> str:
    """Kind and name of the object that *action* is about."""
    match action:
        case PatchStatus(job=job) | Launch(job=job) | DeleteWpsJob(job=job):
            return f"{Kind.WPSJOB} {job.metadata.key}"
        case DeleteKubernetesJob(job=metadata):
            return f"{Kind.KUBERNETES_JOB} {metadata.key}"
        case PatchQueueStatus(queue=metadata):
            return f"{Kind.WPSQUEUE} {metadata.key}"
        case PatchProcessStatus(process=metadata):
            return f"{Kind.WPSPROCESS} {metadata.key}"


def _within(kind: Kind) -> Callable[[Any], bool]:
    """Whether an object that is known belongs to the selection of ``Cluster.listing``."""
    if kind is Kind.WPSJOB:
        return lambda job: job.status.phase not in FINISHED
    return lambda _: True
