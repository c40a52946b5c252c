"""Consumers of a queue that are killed, on the real API server: no task is lost or done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.settings import REPOSITORY
from tests.faults.consuming import CLAIMED, DAEMON, FOLDER, PLANS, STARTED
from tests.faults.watcher import Watcher
from tests.integration.kube import Space
from tests.integration.operator_process import Operator
from tests.integration.tracked import Tracked, tracked
from wpsjobs import tracker
from wpsjobs.tracker.names import task_name

pytestmark = pytest.mark.e2e

TASKS, LOOPS, PROCESSES = 200, 5, 3
LIMIT = 1
"""Restarts that a task may have."""
TIMEOUT = 15
"""Seconds after which a task is taken from a loop that has died, for loops send no heartbeats."""
DONE_SECONDS = 150
SEED = 2012


def plans() -> dict[str, list[str]]:
    """By task: how its first attempts end. Some are killed more often than they may be."""
    chance = random.Random(SEED)  # noqa: S311 (to be repeated, not secret)
    names = [f"task {number:03}" for number in range(TASKS)]
    killed = chance.sample(names, 20)
    found: dict[str, list[str]] = {name: [] for name in names}
    for name in killed:
        found[name].append(chance.choice([CLAIMED, STARTED, STARTED]))
    for name in killed[:3]:
        found[name].append(chance.choice([CLAIMED, STARTED]))
    found[killed[-1]] = [DAEMON]
    return found


@contextmanager
def consumers(tasks: Tracked, folder: Path) -> Iterator[None]:
    """Loops and a ready daemon; a daemon that is killed is started again."""
    environment = {
        **os.environ,
        **tasks.environment(),
        FOLDER: str(folder),
        "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}",
    }
    loops = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.consuming", str(LOOPS)],
        env=environment,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    daemon = [sys.executable, "-m", "wpsjobs.tracker.consumer", f"--processes={PROCESSES}"]
    stopping, running = threading.Event(), list[subprocess.Popen[bytes]]()

    def keep() -> None:
        with (folder / "daemon.log").open("wb") as log:
            while not stopping.is_set():
                command = [*daemon, f"--server-id=daemon-{len(running)}"]
                running.append(
                    subprocess.Popen(command, env=environment, cwd=REPOSITORY, stderr=log)
                )
                running[-1].wait()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        os.killpg(loops.pid, signal.SIGKILL)
        loops.wait()
        stopping.set()
        running[-1].send_signal(signal.SIGTERM)
        keeper.join(60)
        assert running[-1].returncode == 0, "it stops when it is told to"


def test_of_200_tasks_each_ends_once_whatever_is_killed(space: Space, tmp_path: Path) -> None:
    planned = plans()
    kills = sum(len(plan[: LIMIT + 1]) for plan in planned.values())
    assert kills >= 20
    space.custom("wpsqueues", "pull", executor="Consumers", maxQueued=TASKS, parallelism=TASKS)
    with (
        Operator(space.name, tmp_path) as operator,
        Watcher(space.name) as watcher,
        tracked(space, tmp_path, "pull") as tasks,
    ):
        operator.wait_ready()
        tracker.registerTaskType("Work", "tests.faults.consuming.handler", TIMEOUT, -1, LIMIT)
        (tmp_path / PLANS).mkdir()
        for name, plan in planned.items():
            if plan:
                (tmp_path / PLANS / name).write_text(",".join(plan))

        def enqueue(name: str) -> None:
            tracker.enqueueTask("Work", name, planned[name])

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(enqueue, planned))
        with consumers(tasks, tmp_path):
            space.wait(lambda: _ended(space) == TASKS, "the end of all tasks", DONE_SECONDS)
        watcher.check()

    status = {item["metadata"]["name"]: item["status"] for item in space.items("wpsjobs")}
    with_the_daemon = 0
    for name, plan in planned.items():
        found = status[task_name("Work", name)]
        words = f"{name}: {plan}, {found['attempts']}"
        killed, unplanned = _killed(found), _killed(found) - len(plan[: LIMIT + 1])
        if unplanned:  # another process of the daemon had it when that was killed
            assert unplanned == 1, words
            assert any("/daemon-0-" in one["consumer"] for one in found["attempts"]), words
            with_the_daemon += 1
        expected = "Failed" if killed > LIMIT else "Succeeded"
        assert (found["phase"], found.get("restarts", 0)) == (expected, min(LIMIT, killed)), words
        ends = len(list((tmp_path / name).glob("end-*")))
        # One that dies with the daemon may have come to its end, and not have said so.
        assert ends - (expected == "Succeeded") in range(unplanned + 1), words
    assert with_the_daemon <= PROCESSES - 1
    failed = Counter(one["phase"] for one in status.values())["Failed"]
    assert failed in range(3, 3 + with_the_daemon + 1)


def _killed(status: dict[str, Any]) -> int:
    """How many attempts of a task have ended by a kill: heartbeats ceased, or the time-out came."""
    return sum(one["reason"] in ("Crash", "Timeout") for one in status["attempts"])


def _ended(space: Space) -> int:
    query = "?fieldSelector=status.phase!=Accepted,status.phase!=Scheduled,status.phase!=Started"
    return len(space.items("wpsjobs", query))
