"""Handlers of tasks that tell the tests what became of them."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.contract.processes import record
from wpsjobs.tracker import TaskStatus, getTaskInfo, setTaskResponse, stopTaskSuccessIfNotFinished


class Value:
    """An input that is no plain value."""

    def __init__(self, text: str) -> None:
        self.text = text


def note(status: TaskStatus, given: Any) -> None:
    """Tell what it was given."""
    text = given.text if isinstance(given, Value) else repr(given)
    record("handler", text, list(status.getInfo()), Path.cwd().name)
    status.storeResponse(text, "text/plain")


def say(status: TaskStatus, given: list[str]) -> None:
    """Call the methods that *given* names."""
    for name in given:
        getattr(status, name)(f"said by {name}")
        record(name, status.getStatus()[1])


def by_functions(status: TaskStatus, given: str) -> None:
    """The same by the module's functions, as a consumer's loop calls them."""
    setTaskResponse(status.task_id, given.encode(), "application/octet-stream")
    record("handler", *getTaskInfo(status.task_id))
    stopTaskSuccessIfNotFinished(status.task_id, "all is well")


def fail(status: TaskStatus, given: str) -> None:
    """Raise, after it has called itself finished."""
    status.setSuccess()
    raise RuntimeError(given)


def leave(_: TaskStatus, given: Any) -> None:
    """Exit."""
    sys.exit(given)


def crash(_: TaskStatus, given: Any) -> None:
    """Die."""
    record("handler", repr(given))
    os.kill(os.getpid(), signal.SIGKILL)


def pause(status: TaskStatus, seconds: float) -> None:
    """Call itself paused for a while."""
    status.setPaused("waiting for more data")
    time.sleep(seconds)
    status.setRunning()
