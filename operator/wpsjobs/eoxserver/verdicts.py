"""The operator's verdicts on new WpsJobs, heard by one watch for all threads of a web process.

A watch of its own for each Execute would cost a connection, and with it a TLS handshake, each time.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.eoxserver.client import Cluster, ClusterError, ForbiddenError, Raw, Watch

logger = logging.getLogger(__name__)

WATCH_SECONDS = 240.0
"""How long one watch is kept open; less than what proxies and load balancers cut."""
IDLE_SECONDS = 900.0
"""Without an Execute for as long, the watch is not opened again until the next one."""
MIN_BACKOFF, MAX_BACKOFF = 0.25, 10.0
"""Seconds between two tries to open the watch while the API server is away."""
FIRST_LOOK, MOST_BETWEEN_LOOKS = 0.01, 0.5
"""Seconds between two looks at a WpsJob while there is no watch, growing from one to the other."""
CLOSE_SECONDS = 10.0
"""How long ``Verdicts.close`` waits for a request that is under way."""
LOOK_ANYWAY = 0.5
"""Seconds after which a WpsJob is read although there is a watch: it may be dead unnoticed."""

# Neither progress nor kept results are of interest. A WpsJob that turns into one of these phases
# leaves the selection, which the watch reports as its deletion.
_SELECTOR = ",".join(
    f"status.phase!={phase}" for phase in sorted({Phase.STARTED, *FINISHED} - {Phase.REJECTED})
)


@dataclass(frozen=True)
class Heard:
    """What came of a wait."""

    job: Raw | None = None
    """The WpsJob with a phase; None where it has to be read."""
    is_silence: bool = False
    """There is a watch, and it has said nothing for ``LOOK_ANYWAY``."""


class Expectation:
    """What the watch has said of one WpsJob. Made by ``Verdicts.expect``."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._heard = threading.Event()
        self._job: Raw | None = None
        self._pause = FIRST_LOOK

    def hear(self, job: Raw | None) -> None:
        """*job* has a phase; None says that something has become of it, or may have."""
        self._job = job
        self._heard.set()

    def wait(self, uid: str, seconds: float) -> Heard:
        """Wait for a word on the WpsJob of that *uid*, for *seconds* at most."""
        is_live = self._verdicts.is_live()
        if is_live:
            pause = LOOK_ANYWAY
        else:
            pause, self._pause = self._pause, min(MOST_BETWEEN_LOOKS, 1.5 * self._pause)
        heard = self._heard.wait(min(pause, seconds))
        self._heard.clear()
        job = self._job
        if job is not None and job["metadata"]["uid"] == uid:
            return Heard(job)
        return Heard(is_silence=is_live and not heard and seconds >= pause)


class Verdicts:
    """A watch in a thread of its own, which begins at the first ``expect``.

    Safe for threads. A process that was forked begins a watch of its own. While the API server does
    not serve the watch, those who wait read their WpsJobs instead.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._renew()
        _instances.add(self)

    def _renew(self) -> None:
        """Begin anew in a forked process, where no thread of the parent's lives on."""
        self._lock = threading.Lock()
        self._waiting: dict[str, list[Expectation]] = {}
        self._thread: _Watch | None = None

    @contextmanager
    def expect(self, name: str) -> Iterator[Expectation]:
        """Listen for the WpsJob *name*, which is to be created within the context."""
        expectation = Expectation(self)
        with self._lock:
            self._waiting.setdefault(name, []).append(expectation)
            if self._thread is None or self._thread.ended:
                self._thread = _Watch(self, self._cluster)
                self._thread.start()
        try:
            yield expectation
        finally:
            with self._lock:
                waiting = self._waiting[name]
                waiting.remove(expectation)
                if not waiting:
                    del self._waiting[name]

    def is_live(self) -> bool:
        """Whether verdicts come by the watch, as far as anybody knows."""
        thread = self._thread
        return thread is not None and thread.live

    def distrust(self) -> None:
        """A verdict was read that the watch has not told: open another one."""
        with self._lock:
            if self._thread is not None and self._thread.live:
                logger.info("the watch for verdicts is stale: a new one is opened")
                self._thread.abandon()
                self._thread = None

    def close(self) -> None:
        """End the watch and wait for its end; the next ``expect`` begins another."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.abandon()
            thread.join(CLOSE_SECONDS)

    def is_idle(self) -> bool:
        """Whether nobody waits."""
        with self._lock:
            return not self._waiting

    def tell(self, kind: str, job: Raw) -> None:
        """Hand on what the watch says."""
        has_phase = bool((job.get("status") or {}).get("phase"))
        if kind != "DELETED" and not has_phase:
            return
        with self._lock:
            for expectation in self._waiting.get(job["metadata"]["name"], ()):
                expectation.hear(job if kind != "DELETED" else None)

    def tell_all_to_look(self) -> None:
        """What happened before the watch began is not told by it."""
        with self._lock:
            for waiting in self._waiting.values():
                for expectation in waiting:
                    expectation.hear(None)


class _Watch(threading.Thread):
    """Opens watch after watch until it is abandoned."""

    def __init__(self, verdicts: Verdicts, cluster: Cluster) -> None:
        super().__init__(name="wpsjobs-verdicts", daemon=True)
        # A weak reference: a back-end that is dropped takes its watch with it.
        self._verdicts = weakref.ref(verdicts)
        self._cluster = cluster
        self._abandoned = threading.Event()
        self._watch: Watch | None = None
        self.live = False
        self.ended = False

    def abandon(self) -> None:
        """End it, and let nobody rely on it any more."""
        self.live = False
        self._abandoned.set()
        if (watch := self._watch) is not None:
            watch.stop()

    def run(self) -> None:
        backoff, warned, idle_since_watches = MIN_BACKOFF, False, 0
        try:
            while not self._abandoned.is_set():
                try:
                    self._watch_once()
                    backoff, warned = MIN_BACKOFF, False
                    idle_since_watches = idle_since_watches + 1 if self._is_idle() else 0
                    if idle_since_watches * WATCH_SECONDS >= IDLE_SECONDS:
                        return
                except ClusterError as error:
                    # Those who wait say so themselves, once for each Execute.
                    level = logging.DEBUG
                    if isinstance(error, ForbiddenError) and not warned:
                        level, warned = logging.WARNING, True
                    logger.log(level, "WpsJobs cannot be watched, and are read instead: %s", error)
                    self._abandoned.wait(backoff * random.uniform(0.5, 1.0))  # noqa: S311
                    backoff = min(MAX_BACKOFF, 2 * backoff)
                finally:
                    self.live = False
        finally:
            self.ended = True

    def _watch_once(self) -> None:
        seconds = WATCH_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311 (no secret)
        version = self._cluster.jobs_version()
        if self._abandoned.is_set():
            return
        with closing(self._cluster.open_watch(version, seconds, _SELECTOR)) as watch:
            self._watch = watch  # before the look at whether it is abandoned, which comes now
            self._go_live()
            for kind, job in () if self._abandoned.is_set() else watch:
                verdicts = self._verdicts()
                if self._abandoned.is_set() or verdicts is None:
                    self._abandoned.set()
                    return
                verdicts.tell(kind, job)
                del verdicts

    def _go_live(self) -> None:
        if not self._abandoned.is_set() and (verdicts := self._verdicts()) is not None:
            self.live = True
            verdicts.tell_all_to_look()

    def _is_idle(self) -> bool:
        verdicts = self._verdicts()
        return verdicts is None or verdicts.is_idle()


_instances: weakref.WeakSet[Verdicts] = weakref.WeakSet()


def _after_fork() -> None:
    for verdicts in list(_instances):
        verdicts._cluster.renew()
        verdicts._renew()


os.register_at_fork(after_in_child=_after_fork)
