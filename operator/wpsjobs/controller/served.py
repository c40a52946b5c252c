"""One namespace that is served: observe, decide, apply, until nothing is left to do."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import structlog

from wpsjobs.api.fields import Raw
from wpsjobs.api.phases import FINISHED
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.controller import accounting, metrics
from wpsjobs.controller.actions import Milestone, Plan
from wpsjobs.controller.apply import FIRST_PAUSE, LONGEST_PAUSE, Applier
from wpsjobs.controller.cluster import Cluster, ClusterError
from wpsjobs.controller.decisions import decide, take_over
from wpsjobs.controller.settings import Settings
from wpsjobs.controller.state import Kind, NamespaceState

logger = structlog.get_logger(__name__)

MAX_ROUNDS = 50
"""Rounds of one pass; more means that decisions do not come to rest, and the loop breathes."""
LATE_SECONDS = 10.0
"""Age in seconds at which a pod that has not started is asked why, and asked again."""
IDLE_SECONDS = 10.0
"""One with nothing to do turns as often, for the probe."""


class Served:
    """A namespace, what is known of it, and how fresh that is by the monotonic clock."""

    def __init__(
        self,
        namespace: str,
        cluster: Cluster,
        settings: Settings,
        now: Callable[[], datetime],
        writes: asyncio.Semaphore,
        tell: Callable[[WpsJob, Milestone], None],
        *,
        clean: bool,
    ) -> None:
        """Without *clean*, a leader before this one may still have writes under way."""
        self.namespace = namespace
        self.turned_at = time.monotonic()
        """When it last turned: /healthz."""
        self.listed_at: float | None = None
        """When the lists of unfinished objects were taken: /readyz."""
        self._cluster = cluster
        self._settings = settings
        self._now = now
        self._state = NamespaceState(namespace, settings.worker_service_account)
        self._applier = Applier(cluster, self._state, writes, tell)
        self._awake = asyncio.Event()
        self._due_at = 0.0
        self._pause_seconds = 0.0
        self._state.finished_known = False
        self._finished_listed_at: float | None = None
        self._rested = False
        """Whether all was done once: only then is there time for finished WpsJobs."""
        self._taken_over = clean
        self._problems_told: dict[str, int] = {}
        """The version of each WpsJob, by UID, that was said to be left alone."""
        self._asked_at: dict[str, float] = {}
        """When a pod that does not start was last asked why, by its UID."""

    def notice(self, kind: Kind, event: str | None, raw: Raw) -> None:
        """Take note of what a watch says; None for *event* is an object of its first list."""
        if event == "DELETED":
            changed = self._state.remove(kind, raw)
        else:
            changed = self._state.stores[kind].put(raw) is not None
        if changed:
            # After a failed pass, news does not shorten the pause.
            self._due_at = min(self._due_at, time.monotonic() + self._pause_seconds)
            self._awake.set()

    async def run(self) -> None:
        """Turn until cancelled."""
        while True:
            self._awake.clear()
            if self._due_at <= time.monotonic():
                await self.turn()
            self.turned_at = time.monotonic()
            pause = min(IDLE_SECONDS, max(0.0, self._due_at - self.turned_at))
            # Not wait_for, which in Python 3.11 drops a cancellation that comes with the news.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._awake.wait()

    async def turn(self) -> None:
        """One pass; a failure pauses this namespace and leaves the others alone."""
        try:
            with metrics.LOOP_SECONDS.time():
                await self.go_through()
            self._pause_seconds = 0.0
        except ClusterError as error:
            metrics.API_ERRORS.labels(kind=type(error).__name__).inc()
            logger.warning("pass broken off", namespace=self.namespace, error=str(error))
            self._pause()
        except Exception:
            logger.exception("pass failed", namespace=self.namespace)
            self._pause()

    def _pause(self) -> None:
        self._pause_seconds = min(LONGEST_PAUSE, max(FIRST_PAUSE, self._pause_seconds * 2))
        self._due_at = time.monotonic() + self._pause_seconds

    async def go_through(self) -> None:
        """Rounds of observe, decide and apply until a plan is empty. Raises ClusterError."""
        await self._take_over()
        for _ in range(MAX_ROUNDS):
            await self._observe()
            self._due_at = float("inf")  # any news from here on makes it due again
            view = self._state.view(self._now())
            plan = decide(view, self._now())
            self._tell_problems(plan)
            self._applier.put_off(plan)
            if plan.list_again:
                self._applier.lists_are_stale = True
            elif not plan.actions:
                accounting.account_queues(view)
                if not self._rested:
                    self._rested, self._due_at = True, 0.0
                break
            await self._applier.apply(plan.actions)
        else:
            logger.warning("no rest yet", namespace=self.namespace, rounds=MAX_ROUNDS)
            plan.wake(FIRST_PAUSE)
        next_list = (self.listed_at or 0.0) + self._settings.list_seconds
        due = min(next_list, time.monotonic() + plan.wake_in if plan.wake_in is not None else 1e18)
        self._due_at = min(self._due_at, due)

    def _tell_problems(self, plan: Plan) -> None:
        """Log each WpsJob about which nothing could be decided, once for each version of it."""
        told = {job.metadata.uid: job.metadata.resource_version for job, _ in plan.problems}
        for job, error in plan.problems:
            if self._problems_told.get(job.metadata.uid) != job.metadata.resource_version:
                logger.error("WpsJob left alone", job=job.metadata.key, exc_info=error)
        self._problems_told = told

    async def _take_over(self) -> None:
        """Rewrite what a leader that fell silent could still write to, before anything else."""
        if self._taken_over:
            return
        await self._observe()
        await self._applier.apply(take_over(self._state.view(self._now()), self._now()))
        self._taken_over = True

    async def _observe(self) -> None:
        now = time.monotonic()
        age = now - self.listed_at if self.listed_at is not None else float("inf")
        if age >= self._settings.list_seconds or self._applier.lists_are_stale:
            await self._list()
            self._applier.lists_are_stale = False
        if self._rested and (
            self._finished_listed_at is None
            or now - self._finished_listed_at >= self._settings.finished_list_seconds
        ):
            await self._list_finished()
        await self._applier.make_certain()
        await self._ask_late_pods()

    async def _ask_late_pods(self) -> None:
        """Look up why pods do not start that do not say so themselves, such as for a volume."""
        late, asked_at = dict[str, str](), dict[str, float]()
        for pod in list(self._state.pods.values()):  # the watches go on meanwhile
            if pod.phase != "Pending" or pod.cannot_start or pod.metadata.created_at is None:
                continue
            uid, words = pod.metadata.uid, self._state.late_pods.get(pod.metadata.uid)
            age = (self._now() - pod.metadata.created_at).total_seconds()
            silent = time.monotonic() - self._asked_at.get(uid, -1e9)
            if words is None and min(age, silent) > LATE_SECONDS:
                asked_at[uid] = time.monotonic()
                words = await self._cluster.warnings(pod.metadata)
            elif uid in self._asked_at:
                asked_at[uid] = self._asked_at[uid]
            if words:
                late[uid] = words
        self._state.late_pods, self._asked_at = late, asked_at

    async def _list(self) -> None:
        """Take the unfinished objects anew, WpsJobs before their children.

        So a Kubernetes Job that is made in between is known, whatever its WpsJob's status said.
        """
        state, cluster, taken_at = self._state, self._cluster, time.monotonic()
        for kind in (Kind.WPSQUEUE, Kind.WPSPROCESS, Kind.WPSJOB, Kind.KUBERNETES_JOB, Kind.POD):
            listing = await cluster.listing(kind, state.namespace)
            state.stores[kind].replace(listing.items, listing.version, _within(kind))
        self.listed_at = taken_at

    async def _list_finished(self) -> None:
        taken_at, names, versions = time.monotonic(), set[str](), list[int]()
        async for listing in self._cluster.finished(self.namespace):
            versions.append(listing.version)
            for raw in listing.items:
                names.add(raw["metadata"]["name"])
                self._state.wpsjobs.put(raw)
        # As of the oldest page: one that got from phase to phase meanwhile is younger than that.
        self._state.wpsjobs.prune(names, min(versions), lambda job: job.finished)
        self._finished_listed_at = taken_at
        self._state.finished_known = True


def _within(kind: Kind) -> Callable[[Any], bool]:
    """Whether an object that is known belongs to the selection of ``Cluster.listing``."""
    if kind is Kind.WPSJOB:
        return lambda job: job.status.phase not in FINISHED
    return lambda _: True
