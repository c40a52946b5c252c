"""The WpsJobs of a queue that wait for consumers, told by a watch, and the claim of the first."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import closing
from urllib.parse import quote

from wpsjobs.api.names import GROUP, VERSION, WPSQUEUE_PLURAL
from wpsjobs.api.phases import ClaimState, Phase
from wpsjobs.api.queueing import is_free, order
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import Executor, WpsQueue
from wpsjobs.eoxserver.client import Cluster, ClusterError, JobList, NotFoundError, Raw, Watch
from wpsjobs.tracker import claims

logger = logging.getLogger(__name__)

WATCH_SECONDS = 240.0
"""How long one watch is kept open; less than what proxies and load balancers cut."""
MIN_BACKOFF, MAX_BACKOFF = 0.25, 10.0
"""Seconds between two tries to open the watch while the API server is away."""
QUEUE_SECONDS = 1.0
"""For as long, a WpsQueue is taken to be as it was read."""

MOST_RIVALS = 8
"""However many others are quicker, a consumer chooses among the first 17."""


class NotServedError(Exception):
    """The queue is not there, or not one that consumers serve."""


class ClaimQueue:
    """One WpsQueue, as consumers see it. Safe for threads; a forked process begins anew.

    It keeps the WpsJobs that wait, by a watch in a thread that the first claim starts. Use it as a
    context manager, or call ``close``.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self._renew()
        _instances.add(self)

    def _renew(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[str, tuple[Raw, WpsJob]] = {}
        self._gone: dict[str, int] = {}
        """Versions of those that had left by the next list, which may still be told of before."""
        self._thread: _Feed | None = None
        self._queue: tuple[float, WpsQueue] | None = None
        self._rivals = 0
        """About how many others were quicker of late; a consumer that is alone takes the head."""

    def __enter__(self) -> ClaimQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the watch; the next claim begins another."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.abandon()
            thread.join(10.0)

    def claim(
        self,
        consumer: str,
        *,
        state: ClaimState = ClaimState.CLAIMED,
        message: str = "",
        heartbeat: bool = False,
    ) -> Raw | None:
        """Claim the first WpsJob of the queue for *consumer*; None where none waits, or it is held.

        First by priority, then those that are repeated, then as created. What was there before the
        call is found. Raises ClusterError and NotServedError.
        """
        if self._read_queue().suspend:
            return None
        self._start()
        conflicts = self._rivals
        while True:
            first = self._choose(conflicts) or self._look(conflicts)
            if first is None:
                return None
            claimed = claims.take(
                self._cluster, first, consumer, state=state, message=message, heartbeat=heartbeat
            )
            # Whoever has it: it is free no more, and if it comes back, the watch tells.
            self._forget(first)
            if claimed is not None:
                self._rivals = max(0, conflicts - 1)
                return claimed
            conflicts = min(MOST_RIVALS, conflicts + 1)

    def wait(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> None:
        """Wait until something can be claimed, for *seconds* at most.

        ``wake`` ends it where *unless* has become true.
        """
        self._start()
        is_held = self._queue is not None and self._queue[1].suspend
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    unless()
                    or self._thread is None
                    or (not is_held and any(is_free(job) for _, job in self._jobs.values()))
                ),
                min(seconds, QUEUE_SECONDS) if is_held else seconds,
            )

    def wake(self) -> None:
        """Let those who wait look again whether they still have to."""
        with self._changed:
            self._changed.notify_all()

    def _choose(self, conflicts: int) -> Raw | None:
        """The head of the queue; after *conflicts*, one of as many more at random.

        Consumers that all want the head at once would else get in each other's way again.
        """
        with self._changed:
            free = sorted(
                ((order(job), raw) for raw, job in self._jobs.values() if is_free(job)),
                key=lambda one: one[0],
            )
        return random.choice(free[: 1 + 2 * conflicts])[1] if free else None  # noqa: S311

    def _look(self, conflicts: int) -> Raw | None:
        """The same after a new list: what has just been created may not have been told of yet."""
        self.put_list(self._list())
        return self._choose(conflicts)

    def _list(self) -> JobList:
        return self._cluster.list_jobs(_selector(self.name))

    def _read_queue(self) -> WpsQueue:
        now = time.monotonic()
        if self._queue is None or now - self._queue[0] > QUEUE_SECONDS:
            space, name = quote(self._cluster.namespace, safe=""), quote(self.name, safe="")
            path = f"/apis/{GROUP}/{VERSION}/namespaces/{space}/{WPSQUEUE_PLURAL}/{name}"
            try:
                queue = WpsQueue.from_raw(self._cluster.raw_get(path))
            except NotFoundError:
                raise NotServedError(
                    f"there is no WpsQueue {self.name!r} in the namespace "
                    f"{self._cluster.namespace!r}; make it, with spec.executor: Consumers"
                ) from None
            if queue.executor is not Executor.CONSUMERS:
                raise NotServedError(
                    f"the operator launches the WpsJobs of the queue {self.name!r} itself; set its "
                    "spec.executor to Consumers, or consume another queue"
                )
            self._queue = now, queue
        return self._queue[1]

    def _start(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = _Feed(self, self._cluster)
                self._thread.start()

    # -- what the watch says ---------------------------------------------------------------------

    def put_list(self, listing: JobList) -> None:
        """Take a complete list; what is known, not in it, and no younger, is gone."""
        version = int(listing.resource_version)
        names = {raw["metadata"]["name"] for raw in listing.items}
        with self._changed:
            for name, (_, job) in list(self._jobs.items()):
                if name not in names and job.metadata.resource_version <= version:
                    del self._jobs[name]
            self._gone = {uid: seen for uid, seen in self._gone.items() if seen > version}
            for raw in listing.items:
                self._put(raw)
            self._changed.notify_all()

    def put(self, kind: str, raw: Raw) -> None:
        """Take an event of the watch."""
        if kind == "DELETED":
            self._forget(raw)
            return
        with self._changed:
            self._put(raw)
            self._changed.notify_all()

    def _put(self, raw: Raw) -> None:
        job = WpsJob.from_raw(raw)
        name, version = job.metadata.name, job.metadata.resource_version
        known = self._jobs.get(name)
        if known is not None and known[1].metadata.resource_version >= version:
            return
        if self._gone.get(job.metadata.uid, -1) >= version:
            return
        self._jobs[name] = raw, job

    def _forget(self, raw: Raw) -> None:
        """It is not free, as of the version in *raw*."""
        name, version = raw["metadata"]["name"], int(raw["metadata"]["resourceVersion"])
        with self._changed:
            self._gone[raw["metadata"]["uid"]] = version
            known = self._jobs.get(name)
            if known is not None and known[1].metadata.resource_version <= version:
                del self._jobs[name]


class _Feed(threading.Thread):
    """Lists and watches, again and again, until it is abandoned."""

    def __init__(self, queue: ClaimQueue, cluster: Cluster) -> None:
        super().__init__(name=f"wpsjobs-claims-{queue.name}", daemon=True)
        self._queue = weakref.ref(queue)
        self._selector = _selector(queue.name)
        self._cluster = cluster
        self._abandoned = threading.Event()
        self._watch: Watch | None = None

    def abandon(self) -> None:
        """End it; from any thread."""
        self._abandoned.set()
        if (watch := self._watch) is not None:
            watch.stop()

    def run(self) -> None:
        backoff = MIN_BACKOFF
        while not self._abandoned.is_set():
            try:
                self._watch_once()
                backoff = MIN_BACKOFF
            except ClusterError as error:
                # Those who claim list by themselves, and say so.
                logger.debug("the queue cannot be watched: %s", error)
                self._abandoned.wait(backoff * random.uniform(0.5, 1.0))  # noqa: S311 (no secret)
                backoff = min(MAX_BACKOFF, 2 * backoff)

    def _watch_once(self) -> None:
        listing = self._cluster.list_jobs(self._selector)
        queue = self._queue()
        if queue is None or self._abandoned.is_set():
            self._abandoned.set()
            return
        queue.put_list(listing)
        del queue
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311 (no secret)
        opened = self._cluster.open_watch(listing.resource_version, seconds, self._selector)
        with closing(opened) as watch:
            self._watch = watch  # before the look at whether it is abandoned, which comes now
            for kind, raw in () if self._abandoned.is_set() else watch:
                queue = self._queue()
                if queue is None or self._abandoned.is_set():
                    self._abandoned.set()
                    return
                queue.put(kind, raw)
                del queue


def _selector(queue: str) -> str:
    return f"spec.queue={queue},status.phase={Phase.ACCEPTED}"


_instances: weakref.WeakSet[ClaimQueue] = weakref.WeakSet()


def _after_fork() -> None:
    for queue in list(_instances):
        queue._cluster.renew()
        queue._renew()


os.register_at_fork(after_in_child=_after_fork)
