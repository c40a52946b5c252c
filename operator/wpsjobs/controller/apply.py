"""How a plan is carried out in one namespace, and what its answers do to what is known of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from wpsjobs.api.metadata import Metadata
from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.api.wpsjob import WpsJob
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
from wpsjobs.controller.state import Kind, NamespaceState

logger = structlog.get_logger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds of pause after a failure: doubled from the first to the longest."""
COUNTS_EVERY = 1.0
"""Seconds between two patches of the counts of a queue or process."""
PARTS_EVERY = 1.0
"""Seconds from a patch of a fan-out's status to one that can wait."""


@dataclass(frozen=True)
class _Refusal:
    pause: float
    until: float
    """By the monotonic clock, when to try again."""


class Applier:
    """Carries out the plans for one namespace."""

    def __init__(
        self,
        cluster: Cluster,
        state: NamespaceState,
        writes: asyncio.Semaphore,
        tell: Callable[[WpsJob, Milestone], None],
    ) -> None:
        """*writes* bounds the requests of all namespaces; *tell* takes the milestones."""
        self._cluster = cluster
        self._state = state
        self._writes = writes
        self._tell = tell
        self._uncertain: dict[tuple[Kind, str], Metadata] = {}
        """Objects of which a write ended without an answer: to be read before a decision."""
        self._refused: dict[str, _Refusal] = {}
        """Of what the API server refuses to have changed, by ``_target``."""
        self._counts_told_at: dict[str, float] = {}
        self._parts_told_at: dict[str, float] = {}
        """When the status of a fan-out was last patched, by its UID."""
        self.lists_are_stale = False
        """Whether there may be a Kubernetes Job that no list and no watch has told of."""

    async def make_certain(self) -> None:
        """Read the objects of which a write ended without an answer."""
        for kind, name in list(self._uncertain):
            await self.read(kind, self._uncertain[kind, name])
            del self._uncertain[kind, name]

    async def read(self, kind: Kind, metadata: Metadata) -> None:
        """Take note of an object as it is now."""
        store = self._state.stores[kind]
        try:
            store.put(await self._cluster.get(kind, metadata))
        except GoneError:
            store.forget(metadata)

    def put_off(self, plan: Plan) -> None:
        """Leave out of *plan* what was refused, or counts and parts that were told, just before."""
        self._put_off_counts(plan)
        self._put_off_parts(plan)
        self._put_off_refused(plan)

    async def apply(self, actions: Iterable[Action]) -> None:
        """Carry out all *actions*; what one of them meets does not keep another from trying."""
        actions = list(actions)
        results = await asyncio.gather(
            *(self._carry_out(action) for action in actions), return_exceptions=True
        )
        errors = []
        for action, result in zip(actions, results, strict=True):
            if isinstance(result, RefusedError):
                self._note_refusal(_target(action), result)
            elif isinstance(result, BaseException):
                errors.append(result)
            else:
                self._refused.pop(_target(action), None)
        for error in errors:
            if not isinstance(error, ClusterError):
                raise error
        if errors:
            raise errors[0]

    def _note_refusal(self, target: str, error: RefusedError) -> None:
        """Let the object alone for a while: of a template, say, that is none, or for a quota."""
        metrics.API_ERRORS.labels(kind=type(error).__name__).inc()
        before = self._refused.get(target)
        pause = FIRST_PAUSE if before is None else min(LONGEST_PAUSE, before.pause * 2)
        self._refused[target] = _Refusal(pause, time.monotonic() + pause)
        logger.warning("refused", target=target, error=str(error), again_in=pause)

    def _put_off_refused(self, plan: Plan) -> None:
        """Leave out of *plan* what was refused just before."""
        now = time.monotonic()
        actions: list[Action] = []
        for action in plan.actions:
            kept, left = self._not_refused(action, now)
            if left > 0:
                plan.wake(left)
            if kept is not None:
                actions.append(kept)
        plan.actions = actions

    def _not_refused(self, action: Action, now: float) -> tuple[Action | None, float]:
        """What of *action* was not refused just before, and seconds until all of it can be tried.

        Of a fan-out whose parts are more than a quota allows, those that it allows go on.
        """
        left = self._refused_for(_target(action), now)
        if left > 0 or not isinstance(action, Launch):
            return (None if left > 0 else action), left
        pauses = [self._refused_for(_manifest_target(one), now) for one in action.manifests]
        left = max(pauses, default=0.0)
        if left <= 0:
            return action, 0.0
        kept = [m for m, pause in zip(action.manifests, pauses, strict=True) if pause <= 0]
        if not kept and action.admission is None:
            return None, left
        return replace(action, manifests=kept), left

    def _refused_for(self, target: str, now: float) -> float:
        """Seconds for which *target* is still let alone."""
        refusal = self._refused.get(target)
        return max(0.0, refusal.until - now) if refusal is not None else 0.0

    async def _carry_out(self, action: Action) -> None:
        if isinstance(action, Launch):
            await self._launch(action)
            return
        async with self._writes:
            match action:
                case PatchStatus():
                    await self._patch(action)
                case DeleteKubernetesJob(job=metadata, why=why, ended=ended):
                    logger.info("deleting Kubernetes Job", job=metadata.key, why=why)
                    await self._delete(Kind.KUBERNETES_JOB, metadata, after_pods=not ended)
                case DeleteWpsJob(job=job):
                    logger.info("deleting expired WpsJob", job=job.metadata.key)
                    await self._delete(Kind.WPSJOB, job.metadata)
                case PatchQueueStatus(queue=metadata, status=status):
                    await self._patch_counts(Kind.WPSQUEUE, metadata, status)
                case PatchProcessStatus(process=metadata, status=status):
                    await self._patch_counts(Kind.WPSPROCESS, metadata, status)

    async def _patch(self, action: PatchStatus) -> bool:
        """Whether the patch was taken; where the WpsJob had changed it is read again instead."""
        metadata = action.job.metadata
        final = action.patch.get("phase") in list(FINISHED)
        admits = action.patch.get("phase") == Phase.SCHEDULED
        merges = bool(action.job.spec.parts) and "jobName" in action.patch and not admits
        pass_by(CrashPoint.BEFORE_ADMISSION, admits)
        pass_by(CrashPoint.BEFORE_CONCLUSION, final)
        pass_by(CrashPoint.BEFORE_MERGE, merges)
        try:
            raw = await self._writing(
                Kind.WPSJOB,
                metadata,
                self._cluster.patch_status(Kind.WPSJOB, metadata, action.patch),
            )
        except ConflictError:
            await self.read(Kind.WPSJOB, metadata)
            return False
        except GoneError:
            self._state.wpsjobs.forget(metadata)
            return False
        pass_by(CrashPoint.AFTER_ADMISSION, admits)
        pass_by(CrashPoint.AFTER_CONCLUSION, final)
        pass_by(CrashPoint.AFTER_PARTS, "parts" in action.patch and not admits and not merges)
        pass_by(CrashPoint.AFTER_MERGE, merges)
        if action.job.spec.parts:
            self._parts_told_at[metadata.uid] = time.monotonic()
            if final:
                del self._parts_told_at[metadata.uid]
        self._state.wpsjobs.put(raw)
        accounting.account(action)
        if action.milestone is not None:
            self._tell(action.job, action.milestone)
        return True

    async def _launch(self, action: Launch) -> None:
        async with self._writes:
            if action.admission is None:
                # The slot was taken long ago, perhaps by a WpsJob that is gone or dismissed by now.
                metadata = action.job.metadata
                await self.read(Kind.WPSJOB, metadata)
                known = self._state.wpsjobs.get(metadata.name)
                if known is None or known.metadata.resource_version != metadata.resource_version:
                    return
            elif not await self._patch(action.admission):
                return
        results = await asyncio.gather(
            *(self._create(manifest) for manifest in action.manifests), return_exceptions=True
        )
        refusals, uid = self._state.refusals, action.job.metadata.uid
        refusals.pop(uid, None)
        for manifest, result in zip(action.manifests, results, strict=True):
            if isinstance(result, RefusedError):
                self._note_refusal(_manifest_target(manifest), result)
                refusals[uid] = f"the API server refuses its Kubernetes Job: {result}"
            elif isinstance(result, BaseException):
                # Whether it is there can be seen before a watch tells.
                self.lists_are_stale = True
                raise result
            else:
                self._refused.pop(_manifest_target(manifest), None)

    async def _create(self, manifest: Mapping[str, Any]) -> None:
        async with self._writes:
            raw = await self._cluster.create_kubernetes_job(manifest)
        pass_by(CrashPoint.AFTER_CREATION)
        self._state.kubernetes_jobs.put(raw)

    async def _delete(self, kind: Kind, metadata: Metadata, *, after_pods: bool = False) -> None:
        store = self._state.stores[kind]
        delete = self._cluster.delete(kind, metadata, after_pods=after_pods)
        try:
            left = await self._writing(kind, metadata, delete)
        except ConflictError:
            await self.read(kind, metadata)
            return
        except GoneError:
            left = None
        if left is None:
            store.forget(metadata)
        else:
            store.put(left)

    async def _patch_counts(self, kind: Kind, metadata: Metadata, status: Any) -> None:
        try:
            raw = await self._cluster.patch_counts(kind, metadata, status)
        except GoneError:
            self._state.stores[kind].forget(metadata)
            return
        self._counts_told_at[metadata.name] = time.monotonic()
        self._state.stores[kind].put(raw)

    async def _writing(
        self, kind: Kind, metadata: Metadata, write: Coroutine[Any, Any, Any]
    ) -> Any:
        """Await a write; one without an answer leaves the object uncertain."""
        self._uncertain[kind, metadata.name] = metadata
        try:
            result = await write
        except (ConflictError, GoneError):
            del self._uncertain[kind, metadata.name]
            raise
        del self._uncertain[kind, metadata.name]
        return result

    def _put_off_parts(self, plan: Plan) -> None:
        """Leave out of *plan* what can wait of fan-outs whose status was told just before."""
        now = time.monotonic()
        actions: list[Action] = []
        for action in plan.actions:
            patch = action.admission if isinstance(action, Launch) else action
            if isinstance(patch, PatchStatus) and patch.can_wait:
                told_at = self._parts_told_at.get(patch.job.metadata.uid, -1e9)
                if told_at + PARTS_EVERY > now:
                    plan.wake(told_at + PARTS_EVERY - now)
                    continue
            actions.append(action)
        plan.actions = actions

    def _put_off_counts(self, plan: Plan) -> None:
        """Leave out of *plan* the counts that were told just before."""
        now = time.monotonic()
        actions: list[Action] = []
        for action in plan.actions:
            if isinstance(action, PatchQueueStatus | PatchProcessStatus):
                metadata = action.queue if isinstance(action, PatchQueueStatus) else action.process
                left = self._counts_told_at.get(metadata.name, -1e9) + COUNTS_EVERY - now
                if left > 0:
                    plan.wake(left)
                    continue
            actions.append(action)
        plan.actions = actions


def _manifest_target(manifest: Mapping[str, Any]) -> str:
    metadata = manifest["metadata"]
    return f"new {Kind.KUBERNETES_JOB} {metadata['namespace']}/{metadata['name']}"


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
