"""One process of the ready daemon: what it is given, how it is watched over, how it ends."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait

from wpsjobs.api.phases import ClaimState
from wpsjobs.api.queueing import HEARTBEAT_SECONDS, SILENCE_SECONDS
from wpsjobs.eoxserver.client import Cluster, ClusterError, Raw
from wpsjobs.tracker import claims
from wpsjobs.tracker.claims import ClaimLostError
from wpsjobs.tracker.claims_queue import ClaimQueue, NotServedError

logger = logging.getLogger("wpsjobs.tracker.consumer")

IDLE_SECONDS = 30.0
"""Without a word of the watch, the queue is looked at as often."""
MIN_BACKOFF, MAX_BACKOFF = 0.5, 30.0
"""Seconds of pause after a failure: doubled from the first to the longest."""
START_SECONDS = 120.0
"""A process that is not ready after as long is ended, and another one started."""
FENCE_SECONDS = SILENCE_SECONDS - 2 * HEARTBEAT_SECONDS
"""Who could not send a heartbeat for as long ends its handler, for the task may go to another."""


class Shared:
    """What the slots of one daemon have in common."""

    def __init__(self, cluster: Cluster, queue: ClaimQueue, grace: float) -> None:
        self.cluster, self.queue, self._grace = cluster, queue, grace
        self.claiming = threading.Lock()
        """Held while one claims: slots of one daemon need not get in each other's way."""
        self.stopping = threading.Event()
        self._give_back_at = float("inf")

    def stop(self, *, at_once: bool = False) -> None:
        """Claim nothing more, and let what runs have its time, or none of it."""
        logger.info("stopping", extra={"grace": 0 if at_once else self._grace})
        self._give_back_at = time.monotonic() + (0 if at_once else self._grace)
        self.stopping.set()
        self.queue.wake()

    def patience(self) -> float:
        """Seconds until what runs is given back; without end as long as nobody has said stop."""
        return self._give_back_at - time.monotonic()


class Slot(threading.Thread):
    """Claims, gives the task to its process, sends heartbeats, and sees how the process ends."""

    def __init__(self, shared: Shared, name: str) -> None:
        """*name* is that of the consumer."""
        super().__init__(name=name)
        self._shared = shared
        self._process: HandlerProcess | None = None
        self._pause = MIN_BACKOFF

    def run(self) -> None:
        """Until the daemon stops."""
        try:
            while not self._shared.stopping.is_set():
                self._turn()
        finally:
            if self._process is not None:
                self._process.kill()

    def _turn(self) -> None:
        """One task, or a while without one. No failure ends the slot."""
        try:
            process = self._ready_process()
            job = self._claim() if process is not None else None
            if job is not None and process is not None:
                self._attend(process, job)
            self._pause = MIN_BACKOFF
        except (ClusterError, NotServedError) as error:
            self._back_off(str(error))
        except Exception as error:
            logger.exception("unexpected", extra={"consumer": self.name})
            self._back_off(repr(error))

    def _back_off(self, why: str) -> None:
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        logger.warning(why, extra={"consumer": self.name, "again_in": round(pause, 2)})
        self._shared.stopping.wait(pause)
        self._pause = min(MAX_BACKOFF, 2 * self._pause)

    def _ready_process(self) -> HandlerProcess | None:
        """The process, started if there is none; None where the daemon stops meanwhile.

        Raises RuntimeError where it does not start.
        """
        if self._process is not None and self._process.has_ended():
            logger.warning("a process died", extra={"consumer": self.name, "end": self._bury()})
        if self._process is None:
            process = self._process = HandlerProcess()
            deadline = time.monotonic() + START_SECONDS
            while not process.wait(0.5):
                if self._shared.stopping.is_set():
                    return None
                if time.monotonic() > deadline:
                    break
            if not process.answered():
                end = self._bury()
                raise RuntimeError(f"the process for handlers does not start: {end}")
        return self._process

    def _bury(self) -> str:
        """End the process; the words on how it ended."""
        process, self._process = self._process, None
        return process.kill() if process is not None else ""

    def _claim(self) -> Raw | None:
        queue = self._shared.queue
        with self._shared.claiming:
            if self._shared.stopping.is_set():
                return None
            job = queue.claim(self.name, state=ClaimState.RUNNING, heartbeat=True)
        if job is None:
            queue.wait(IDLE_SECONDS, self._shared.stopping.is_set)
        return job

    # -- a task ----------------------------------------------------------------------------------

    def _attend(self, process: HandlerProcess, job: Raw) -> None:
        """See a claimed task to its end, whichever way that comes."""
        words = {"consumer": self.name, "job": job["metadata"]["name"]}
        words |= {"type": job["spec"]["process"], "attempt": job["status"]["claim"]["attempt"]}
        logger.info("claimed", extra=words)
        began = heard = time.monotonic()
        beat_at = began + HEARTBEAT_SECONDS
        process.give(job)
        while True:
            patience = self._shared.patience()
            pause = max(0.0, min(beat_at - time.monotonic(), patience, 1.0))
            if process.wait(pause):
                break
            if patience <= 0:
                self._end(job, ClaimState.RELEASED, "Given back: the consumer is told to end")
                return
            if time.monotonic() < beat_at:
                continue
            beat_at = time.monotonic() + HEARTBEAT_SECONDS
            try:
                sent = time.monotonic()
                job = claims.beat(self._shared.cluster, job, patience=HEARTBEAT_SECONDS)
                heard = sent
                process.suspend(bool(job["spec"].get("suspend")))
            except ClaimLostError as error:
                logger.warning(str(error), extra=words)
                self._bury()
                return
            except ClusterError as error:
                logger.warning(str(error), extra=words)
            if time.monotonic() - heard > FENCE_SECONDS:
                self._end(job, ClaimState.CRASHED, "The API server could not be reached for long")
                return
        if process.answered():
            logger.info("done", extra={**words, "seconds": round(time.monotonic() - began, 3)})
        else:
            self._end(job, ClaimState.CRASHED, "The process of the handler died")

    def _end(self, job: Raw, state: ClaimState, why: str) -> None:
        """End the process, and say of its task what has become of it."""
        how = self._bury()
        message = f"{why} ({how})" if state is ClaimState.CRASHED else why
        extra = {"consumer": self.name, "job": job["metadata"]["name"], "state": str(state)}
        logger.warning(message, extra=extra)
        with contextlib.suppress(ClaimLostError):  # it had told its end before
            claims.report(self._shared.cluster, job, state, message, patience=5.0)


class HandlerProcess:
    """A Python process in a group of its own, which runs one handler after the other."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wpsjobs.tracker.consumer_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
        self._ended = os.pidfd_open(self._process.pid)
        self._frozen = False

    def give(self, job: Raw) -> None:
        """Have it work on *job*. One that has died meanwhile is found by ``wait``."""
        with contextlib.suppress(OSError):
            self._connection.send(job)

    def wait(self, seconds: float) -> bool:
        """Whether it answers, or has ended, within *seconds*."""
        watched: list[Connection | int] = [self._connection, self._ended]
        return bool(wait(watched, seconds))

    def has_ended(self) -> bool:
        """Whether it has died."""
        return self._process.poll() is not None

    def answered(self) -> bool:
        """Whether it has answered, and so lives and is free."""
        try:
            return self._connection.poll() and bool(self._connection.recv())
        except (EOFError, OSError):
            return False

    def suspend(self, frozen: bool) -> None:
        """Stop the whole process group, or let it go on; nothing of it is lost."""
        if frozen is not self._frozen:
            self._frozen = frozen
            self._signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill(self) -> str:
        """End the process group; the words on how the process ended."""
        died = self._process.poll()
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._connection.close()
        os.close(self._ended)
        if died is None:
            return "ended by the consumer"
        return f"by signal {-died}" if died < 0 else f"with exit code {died}"

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
