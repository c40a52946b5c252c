"""``python -m wpsjobs.tracker.consumer`` beside an operator: what becomes of the tasks it takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.settings import REPOSITORY
from tests.integration.kube import Space
from tests.integration.operator_process import Operator
from tests.integration.sleeper import FOLDER
from tests.integration.tracked import Tracked, tracked
from wpsjobs import tracker
from wpsjobs.tracker.names import task_name

QUEUE, KIND = "pull", "Sleep"
SECONDS = 60
"""For a slow machine; a heartbeat comes every five."""


@pytest.fixture(scope="module")
def tasks(
    space: Space, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tracked]:
    """A queue that only the daemons of the tests serve."""
    space.custom("wpsqueues", QUEUE, executor="Consumers")
    with tracked(space, tmp_path_factory.mktemp("volume"), QUEUE) as one:
        tracker.registerTaskType(KIND, "tests.integration.sleeper.sleep", 600, -1, 1)
        yield one


class Daemon:
    """The daemon as a process. Use it as a context manager."""

    def __init__(self, tasks: Tracked, *options: str) -> None:
        self._space, self.folder = tasks.space, tasks.folder
        self._log = (tasks.folder / "daemon.log").open("wb+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wpsjobs.tracker.consumer", *options],
            env={
                **tasks.environment(),
                FOLDER: str(tasks.folder),
                "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}",
            },
            cwd=REPOSITORY,
            stderr=self._log,
        )

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()

    def stop(self) -> None:
        """SIGTERM, and its end."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(SECONDS) == 0

    def records(self) -> list[dict[str, Any]]:
        """Its log."""
        text = (self.folder / "daemon.log").read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def pid(self, task: str) -> int:
        """The process that runs the handler of *task*, once it does."""
        path = self.folder / f"{task}.pid"
        text = self._space.wait(lambda: path.exists() and path.read_text(), task, SECONDS)
        return int(text)

    def ticks(self, task: str) -> int:
        """How far the handler of *task* has come."""
        path = self.folder / f"{task}.ticks"
        return int(path.read_text() or 0) if path.exists() else 0


def enqueue(name: str, seconds: float = 0.0) -> str:
    """The name of the WpsJob."""
    tracker.enqueueTask(KIND, name, seconds)
    return task_name(KIND, name)


def test_tasks_are_run_and_their_ends_reported(tasks: Tracked) -> None:
    for name, handler in {"Fail": "fail", "Leave": "leave", "None": "nothing"}.items():
        tracker.registerTaskType(name, f"tests.integration.sleeper.{handler}")
    tracker.enqueueTask("Fail", "one", "no numbers")
    tracker.enqueueTask("Leave", "one", 3)
    tracker.enqueueTask("None", "one", 0)
    names = [enqueue(f"small {number}") for number in range(5)]
    with Daemon(tasks, "--processes=2", "--server-id=one") as daemon:
        for name in names:
            status = tasks.space.wait_phase(name, "Succeeded", SECONDS)
            assert [entry["phase"] for entry in status["history"]][1:3] == ["Scheduled", "Started"]
            assert status["claim"]["consumer"].rpartition("/")[2] in {"one-1", "one-2"}
        assert tracker.getTaskResponse(KIND, "small 0") == ("slept", "text/plain")
        for kind, words in {
            "Fail": "no numbers",
            "Leave": "sys.exit(3)",
            "None": "has no attribute 'nothing'",
        }.items():
            failed = tasks.space.wait_phase(task_name(kind, "one"), "Failed", SECONDS)
            assert (words in failed["message"], failed["restarts"]) == (True, 0), failed
        daemon.stop()
        events = [record["event"] for record in daemon.records()]
        assert {"consuming", "claimed", "done", "stopping", "stopped"} <= set(events)


def test_a_handler_that_is_killed_is_repeated_at_once(tasks: Tracked) -> None:
    name = enqueue("killed", 600)
    with Daemon(tasks) as daemon:
        os.kill(daemon.pid("killed"), signal.SIGKILL)
        tasks.space.wait(
            lambda: tasks.space.status(name)["attempt"] == 2, "the second attempt", SECONDS
        )
        status = tasks.space.status(name)
        assert (status["restarts"], status["attempts"][0]["reason"]) == (1, "Crash")
        tracker.deleteTaskByIdentifier(KIND, "killed")


def test_what_is_suspended_is_frozen_and_what_is_dismissed_is_ended(tasks: Tracked) -> None:
    name = enqueue("frozen", 600)
    with Daemon(tasks) as daemon:
        pid = daemon.pid("frozen")
        tasks.space.patch("wpsjobs", name, {"spec": {"suspend": True}})
        tasks.space.wait_phase(name, "Paused")
        tasks.space.wait(lambda: _state(pid) == "T", "it is frozen", SECONDS)
        before = daemon.ticks("frozen")
        tasks.space.patch("wpsjobs", name, {"spec": {"suspend": False}})
        tasks.space.wait_phase(name, "Started")
        tasks.space.wait(lambda: daemon.ticks("frozen") > before, "it goes on", SECONDS)
        tasks.space.patch("wpsjobs", name, {"spec": {"cancel": True}})
        tasks.space.wait_phase(name, "Dismissed")
        tasks.space.wait(lambda: _state(pid) in ("", "Z"), "it is ended", SECONDS)


def test_a_daemon_that_is_stopped_lets_handlers_end_or_gives_their_tasks_back(
    tasks: Tracked,
) -> None:
    short, long = enqueue("short", 3), enqueue("long", 600)
    with Daemon(tasks, "--processes=2", "--grace=8") as daemon:
        daemon.pid("short")
        pid = daemon.pid("long")
        daemon.stop()
    assert tasks.space.status(short)["claim"]["state"] == "Succeeded"
    status = tasks.space.wait_phase(long, "Accepted")
    assert (status["restarts"], status["attempts"][0]["reason"]) == (0, "Released")
    assert _state(pid) == ""
    tracker.deleteTaskByIdentifier(KIND, "long")


def test_nothing_is_claimed_of_a_held_queue(tasks: Tracked) -> None:
    tasks.space.patch("wpsqueues", QUEUE, {"spec": {"suspend": True}})
    held = enqueue("held")
    try:
        with pytest.raises(tracker.QueueEmpty):
            tracker.dequeueTask("me")
    finally:
        tasks.space.patch("wpsqueues", QUEUE, {"spec": {"suspend": False}})
    with Daemon(tasks) as daemon:
        tasks.space.wait_phase(held, "Succeeded", SECONDS)
        daemon.stop()


def test_handlers_die_with_their_daemon(tasks: Tracked) -> None:
    enqueue("orphan", 600)
    with Daemon(tasks) as daemon:
        pid = daemon.pid("orphan")
        daemon.process.kill()
        tasks.space.wait(lambda: _state(pid) in ("", "Z"), "its end", SECONDS)
    tracker.deleteTaskByIdentifier(KIND, "orphan")


def test_a_queue_that_consumers_do_not_serve_is_told(tasks: Tracked) -> None:
    tasks.space.queue("launched")
    with Daemon(tasks, "--queue=launched") as daemon:
        log = Path(tasks.folder / "daemon.log")
        words = "set its spec.executor to Consumers"
        tasks.space.wait(lambda: words in log.read_text(), words, SECONDS)
        daemon.stop()


def _state(pid: int) -> str:
    """The state of a process as in /proc/PID/stat; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
