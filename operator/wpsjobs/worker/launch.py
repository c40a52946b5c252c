"""The first thing of all: the child, which takes longer to start than everything beside it.

Imports little, so that the child's Python starts while the rest of the supervisor is imported.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wpsjobs.worker.cgroup import oom_kills
from wpsjobs.worker.child import Child
from wpsjobs.worker.settings import Settings

if TYPE_CHECKING:
    from wpsjobs.worker.output import Output

SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})
"""Kept waiting until there are handlers: as PID 1, this process would not get them otherwise."""


@dataclass(frozen=True)
class Launched:
    """The child and what the supervisor has to know of the moment before."""

    child: Child
    output: Output | None
    at: float
    """Of the monotonic clock."""
    oom_kills: int


def launch(settings: Settings) -> Launched:
    """Start the child. ``SIGNALS`` are blocked from here on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    output = _output() if settings.keep_logs else None
    before = oom_kills()
    child = Child(settings.child_module, output.writing if output else None)
    if output:
        output.close_writing()
    child.channel.setblocking(False)
    return Launched(child, output, time.monotonic(), before)


def _output() -> Output:
    from wpsjobs.worker.output import Output  # noqa: PLC0415 (logging costs 15 ms)

    return Output()
