"""Consumers that are killed: ``python -m tests.faults.consuming LOOPS``, and their handler.

Each task says in its input at which point its first attempts end by SIGKILL. A loop is the guide's,
in a process of its own; one that was killed is begun anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from wpsjobs.tracker import (
    QueueEmpty,
    TaskStatus,
    dequeueTask,
    getTaskIdentifier,
    startTask,
    stopTaskSuccessIfNotFinished,
)

CLAIMED, STARTED, DAEMON = "between claim and start", "in the handler", "the whole daemon"
FOLDER = "WPSJOBS_TEST_FOLDER"
PLANS = "plans"
"""Of the tasks that are to be killed between claim and start, a file each with the attempts."""
_EMPTY_SECONDS = 0.2


def begin_attempt(identifier: str) -> int:
    """Note down that an attempt begins; its number, from 0."""
    folder = Path(os.environ[FOLDER]) / identifier
    folder.mkdir(exist_ok=True)
    for number in range(1000):
        with contextlib.suppress(FileExistsError):
            (folder / f"attempt-{number}").touch(exist_ok=False)
            return number
    raise AssertionError("so many attempts were not asked for")


def handler(status: TaskStatus, plan: list[str]) -> None:
    """Die as the task's *plan* has it for this attempt, or come to an end."""
    identifier = status.getIdentifier()[1]
    number = begin_attempt(identifier)
    how = plan[number] if number < len(plan) else ""
    if how == DAEMON and "consumer_process" in " ".join(sys.orig_argv):
        os.kill(os.getppid(), signal.SIGKILL)  # and with it, this process
        time.sleep(60)
    elif how:
        os.kill(os.getpid(), signal.SIGKILL)
    (Path(os.environ[FOLDER]) / identifier / f"end-{number}").touch()


def loop(server_id: str) -> None:
    """Pull and process tasks, as the developers' guide has it."""
    while True:
        try:
            task_ids = dequeueTask(server_id)
        except QueueEmpty:
            time.sleep(_EMPTY_SECONDS)
            continue
        for task_id in task_ids:
            _process(task_id)


def _process(task_id: int) -> None:
    plans = Path(os.environ[FOLDER]) / PLANS
    plan = plans / getTaskIdentifier(task_id)[1] if plans.exists() else None
    if plan is not None and plan.exists():
        identifier = plan.name
        number = len(list((plan.parent.parent / identifier).glob("attempt-*")))
        if plan.read_text().split(",")[number : number + 1] == [CLAIMED]:
            begin_attempt(identifier)
            os.kill(os.getpid(), signal.SIGKILL)
    status = TaskStatus(task_id)
    try:
        _, _, path, given = startTask(task_id)
        module, _, function = path.rpartition(".")
        run: Any = getattr(__import__(module, fromlist=[function]), function)
        run(status, given)
        stopTaskSuccessIfNotFinished(task_id)
    except Exception as error:
        status.setFailure(str(error))


def main(count: int) -> None:
    """Keep *count* loops going, each in a process that is forked."""
    loops: dict[int, int] = {}
    missing = list(range(count))
    while True:
        for number in missing:
            pid = os.fork()
            if pid == 0:
                loop(f"loop-{number}")
            loops[pid] = number
        pid, _ = os.wait()
        missing = [loops.pop(pid)]


if __name__ == "__main__":
    main(int(sys.argv[1]))
