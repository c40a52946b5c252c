"""The supervisor's loop: one thread that decides, told by signals, by its child and by two threads
that talk to the API server."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wpsjobs.api import channel
from wpsjobs.api.attempt import ExitCode, TerminationMessage
from wpsjobs.api.channel import Kind
from wpsjobs.api.crashpoints import KILLED, CrashPoint, is_here
from wpsjobs.api.parts import Parts
from wpsjobs.worker.apiserver import ApiError, ApiServer
from wpsjobs.worker.cgroup import oom_kills
from wpsjobs.worker.child import ChildEnd, reap
from wpsjobs.worker.clock import RunClock
from wpsjobs.worker.launch import SIGNALS, Launched
from wpsjobs.worker.reporter import Progress, Reporter, Target
from wpsjobs.worker.settings import Settings
from wpsjobs.worker.watcher import Watcher

logger = logging.getLogger("wpsjobs.worker")

STOP_GRACE = 20.0
"""Seconds between SIGTERM and SIGKILL; less than a pod's default grace period of 30 s, so that
the reason of the end is still written."""
FINALISING_GRACE = 60.0
"""Seconds that a child which may turn its response final is left alone by its timeout."""
NAMESPACE_RETRY_SECONDS = 2.0
LONGEST_WAIT = 86400.0
"""Seconds of one wait; epoll takes 2,147,483 (25 days) at most, and a timeout may be longer."""
FLUSH_SECONDS = 2.0
"""Seconds at the end to send the last progress."""


@dataclass(frozen=True)
class Stop:
    """Why the child is being ended from here."""

    code: ExitCode
    message: str
    kill_at: float


class Supervisor:
    """Runs one attempt of one WpsJob."""

    def __init__(self, settings: Settings, api: ApiServer, launched: Launched) -> None:
        self._settings = settings
        self._api = api
        self._child, self._output = launched.child, launched.output
        self._clock = RunClock(launched.at)
        self._oom_before = launched.oom_kills
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_reading, self._wake_writing = socket.socketpair()
        for end in (self._wake_reading, self._wake_writing):
            end.setblocking(False)
        self._lines = channel.LineBuffer()
        self._told_child = False
        self._stop: Stop | None = None
        self._last_word: tuple[ExitCode, TerminationMessage] | None = None
        self._finalising_since: float | None = None
        self._timeout = float(settings.timeout_seconds) if settings.timeout_seconds else None
        target = Target(settings.namespace, settings.name, settings.kubernetes_job)
        # A part's progress is no one's to report: the operator counts those that are done.
        self._reporter = (
            Reporter(api.clone(), target, self._later(self._grant), self._later(self._refused))
            if settings.part is None
            else None
        )
        self._watcher = Watcher(
            api, settings.namespace, settings.name, self._later(self._see), self._later(self._gone)
        )

    def run(self) -> int:
        """Run to the end; the result is the exit code of the pod."""
        signal.set_wakeup_fd(self._wake_writing.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._events.put(self._terminated))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self._watcher.start()
        if self._reporter:
            self._reporter.start()
        end = self._loop()
        self._child.kill()  # what it may have left behind
        self._drain()
        if self._reporter:
            self._reporter.close(FLUSH_SECONDS)
        code, termination = self._verdict(end, oom_kills() > self._oom_before)
        _pass_by(CrashPoint.CHILD_ENDED)
        self._say(code, termination)
        return int(code)

    def _loop(self) -> ChildEnd:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_reading, selectors.EVENT_READ, self._drain_wakeups)
            selector.register(self._child.channel, selectors.EVENT_READ, self._hear_child)
            if self._output:
                selector.register(self._output.reading, selectors.EVENT_READ, self._output.copy)
            while True:
                for key, _ in selector.select(self._seconds_to_next_deadline()):
                    if key.data() is False:  # the other end is closed
                        selector.unregister(key.fileobj)
                self._work_off_events()
                self._keep_deadlines(time.monotonic())
                if (end := reap(self._child.pid)) is not None:
                    return end

    def _later(self, call: Callable[..., None]) -> Callable[..., None]:
        """*call*, to be made from another thread and done in this one."""

        def post(*args: Any) -> None:
            self._events.put(lambda: call(*args))
            with contextlib.suppress(BlockingIOError):  # full: it wakes up anyway
                self._wake_writing.send(b"\0")

        return post

    def _drain_wakeups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wake_reading.recv(4096):
                pass

    def _work_off_events(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._events.get_nowait()()

    def _drain(self) -> None:
        """Take what the child said just before its end."""
        self._hear_child()
        if self._output:
            self._output.copy()
            self._output.close()

    # What the child says

    def _hear_child(self) -> bool:
        while True:
            try:
                data = self._child.channel.recv(65536)
            except BlockingIOError:
                return True
            except OSError:
                return False
            if not data:
                return False
            for line in self._lines.feed(data):
                try:
                    self._handle(*channel.decode(line))
                except (ValueError, KeyError, TypeError) as error:
                    logger.warning("a message of the child cannot be read: %r", error)

    def _handle(self, kind: Kind, message: dict[str, Any]) -> None:
        if kind is Kind.PROGRESS and self._reporter:
            self._reporter.submit(Progress(int(message["percent"]), str(message["message"])))
        elif kind is Kind.FINALISING and self._reporter:
            self._reporter.submit(Progress(100, str(message["message"]), finalising=True))
        elif kind is Kind.LOG_FILE and self._output:
            self._output.open_file(message["path"])
        elif kind is Kind.NAMESPACE_UID:
            self._answer_namespace_uid()
        elif kind is Kind.END:
            termination = TerminationMessage.from_json(message["termination"])
            self._last_word = (
                ExitCode(message["exitCode"]),
                termination or TerminationMessage("The process ended."),
            )

    def _answer_namespace_uid(self) -> None:
        """Asked for only where a job was made without the plugin, so read only then."""
        answer = self._later(lambda uid: self._tell(Kind.NAMESPACE_UID, uid=uid))
        api = self._api.clone()

        def ask() -> None:
            while True:
                try:
                    answer(api.get_namespace_uid(self._settings.namespace))
                except (ApiError, OSError) as error:
                    logger.warning("the namespace cannot be read yet: %s", error)
                    time.sleep(NAMESPACE_RETRY_SECONDS)
                else:
                    return

        threading.Thread(target=ask, daemon=True, name="namespace").start()

    # What the API server says

    def _see(self, job: dict[str, Any]) -> None:
        status = job.get("status") or {}
        if not self._is_current(status):
            self._begin_stop(
                ExitCode.SUPERSEDED,
                f"This pod belongs to {self._settings.kubernetes_job}; the WpsJob's current "
                f"attempt is {status.get('jobName') or 'none'}.",
                grace=0.0,
            )
            return
        if not self._told_child:
            self._told_child = True
            self._tell(Kind.JOB, wpsjob=job, attempt=self._settings.attempt)
        spec = job.get("spec") or {}
        timeout = spec.get("timeoutSeconds") or self._settings.timeout_seconds
        self._timeout = float(timeout) if timeout else None
        self._freeze(bool(spec.get("suspend")))

    def _is_current(self, status: dict[str, Any]) -> bool:
        """Whether the slot that *status* tells of is that of this pod."""
        ours = self._settings
        if ours.part is None:
            return status.get("jobName") == ours.kubernetes_job
        parts = Parts.from_raw(status.get("parts") or {})
        return (
            not status.get("jobName")
            and (parts.attempt, parts.tries(ours.part)) == (ours.attempt, ours.tried)
            and ours.part in parts.running
        )

    def _freeze(self, suspended: bool) -> None:
        now = time.monotonic()
        if suspended and not self._clock.frozen and self._stop is None:
            logger.info("suspended: the process is frozen")
            self._clock.freeze(now)
            self._child.freeze()
        elif not suspended and self._clock.frozen:
            logger.info("resumed: the process goes on")
            self._clock.thaw(now)
            self._child.thaw()

    def _gone(self) -> None:
        code = ExitCode.TERMINATED if self._told_child else ExitCode.SUPERSEDED
        self._begin_stop(code, "The WpsJob was deleted.")

    def _grant(self) -> None:
        if self._stop is None:
            _pass_by(CrashPoint.FINALISING_GRANTED)
            self._finalising_since = time.monotonic()
            self._tell(Kind.GRANTED)

    def _refused(self, message: str, superseded: bool) -> None:
        code = ExitCode.SUPERSEDED if superseded else ExitCode.CRASHED
        self._begin_stop(code, f"The API server refused this attempt's word: {message}", grace=0.0)

    def _tell(self, kind: Kind, **fields: Any) -> None:
        self._child.channel.setblocking(True)
        try:
            self._child.channel.sendall(channel.encode(kind, **fields))
        except OSError as error:
            logger.warning("the child does not listen: %s", error)
        finally:
            self._child.channel.setblocking(False)

    # Ends

    def _terminated(self) -> None:
        self._begin_stop(ExitCode.TERMINATED, "The pod was told to end.")

    def _begin_stop(self, code: ExitCode, message: str, grace: float = STOP_GRACE) -> None:
        if self._stop is not None:
            return
        logger.info("ending the process: %s", message)
        now = time.monotonic()
        self._stop = Stop(code, message, now + grace)
        self._clock.thaw(now)
        self._child.terminate()
        if grace <= 0.0:
            self._child.kill()

    def _deadline_in(self, now: float) -> float | None:
        """Seconds until the timeout, or None where none is running."""
        if self._timeout is None or self._clock.frozen or self._stop is not None:
            return None
        left = self._timeout - self._clock.ran(now)
        if self._finalising_since is not None:
            left = max(left, self._finalising_since + FINALISING_GRACE - now)
        return left

    def _seconds_to_next_deadline(self) -> float | None:
        now = time.monotonic()
        if self._stop is not None:
            return max(0.05, self._stop.kill_at - now)
        left = self._deadline_in(now)
        return None if left is None else min(max(0.0, left), LONGEST_WAIT)

    def _keep_deadlines(self, now: float) -> None:
        left = self._deadline_in(now)
        if left is not None and left <= 0.0:
            self._begin_stop(
                ExitCode.TIMEOUT,
                f"The process ran for longer than its timeout of {self._timeout:.0f} s.",
            )
        if self._stop is not None and now >= self._stop.kill_at:
            self._child.kill()

    def _verdict(self, end: ChildEnd, out_of_memory: bool) -> tuple[ExitCode, TerminationMessage]:
        """What the attempt came to. A success wins over everything: its response is final."""
        if self._last_word and (
            (end.exit_code == 0 and self._last_word[0] is ExitCode.SUCCEEDED)
            or self._last_word[0] is ExitCode.CLIENT_ERROR  # final, too
        ):
            return self._last_word
        if self._stop is not None:
            return self._stop.code, TerminationMessage(
                self._stop.message, locator=self._stop.code.name
            )
        if end.signal_name is not None:
            if out_of_memory and end.signal_number == signal.SIGKILL:
                return ExitCode.OUT_OF_MEMORY, TerminationMessage(
                    "The process needed more memory than its container may have.",
                    locator="OutOfMemory",
                )
            return ExitCode.CRASHED, TerminationMessage(
                f"The process was ended by the signal {end.signal_name}.", locator=end.signal_name
            )
        if self._last_word and self._last_word[0] is not ExitCode.SUCCEEDED:
            return self._last_word
        return ExitCode.CRASHED, TerminationMessage(
            f"The process ended with the exit code {end.exit_code} before it had a result."
        )

    def _say(self, code: ExitCode, termination: TerminationMessage) -> None:
        logger.info("%s: %s", code.name, termination.message)
        try:
            self._settings.termination_log.write_text(termination.to_json(), encoding="utf-8")
        except OSError as error:
            logger.warning("the termination message cannot be written: %s", error)


def _pass_by(point: CrashPoint) -> None:
    if is_here(point):
        # As good as SIGKILL, which cannot be had here: the kernel ends all else in the container.
        os._exit(KILLED)
