"""Handlers for the tests of the ready daemon: what they do shows in files."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from wpsjobs.tracker import TaskStatus

FOLDER = "WPSJOBS_TEST_FOLDER"


def sleep(status: TaskStatus, seconds: float) -> None:
    """Run for a while, and write ten times a second how long it has been."""
    name = status.getIdentifier()[1]
    folder = Path(os.environ[FOLDER])
    (folder / f"{name}.pid").write_text(f"{os.getpid()}")
    for tick in range(round(10 * seconds)):
        (folder / f"{name}.ticks").write_text(str(tick))
        time.sleep(0.1)
    status.storeResponse("slept", "text/plain")


def fail(_: TaskStatus, words: str) -> None:
    """Raise."""
    raise RuntimeError(words)


def leave(_: TaskStatus, code: int) -> None:
    """Call sys.exit."""
    sys.exit(code)
