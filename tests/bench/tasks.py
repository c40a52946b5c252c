"""The tracker's functions as their caller waits for them: enqueueTask, and the status.

The queue is held, so that no pods compete for the processors, and one caller calls one after the
other. Inputs lie on this machine's disk, as a task's file is made to outlast a power cut.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from tests.bench.figures import Figure, median, spread
from tests.bench.stand import Stand, wpsjob
from tests.integration.tracked import HANDLER, tracked
from wpsjobs import tracker
from wpsjobs.tracker import access

TASKS, LOOKS = 50, 500
FIRST = 10
"""Before it is measured; with the rest, they fit in a queue of 64."""
MOST_ENQUEUE, MOST_STATUS = 30.0, 10.0
"""Milliseconds, of the medians."""
QUEUE, KIND = "tracker", "Measure"


async def measure(stand: Stand) -> list[Figure]:
    """Milliseconds of each call."""
    stand.queue(QUEUE, suspend=True, maxQueued=64)
    with tracked(stand.space, stand.folder, QUEUE):
        bare = await asyncio.to_thread(_create)
        with stand.operator() as operator:
            operator.wait_ready()
            figures = await asyncio.to_thread(_measure, stand)
    words = "API server by itself: a WpsJob is created"
    return [Figure(words, median(bare), "ms", note=spread(bare, "ms")), *figures]


def _create() -> list[float]:
    """Milliseconds of the creation of WpsJobs, which nobody looks at, and which go again."""
    cluster = access.store().cluster
    names = [f"bare-{number}" for number in range(FIRST + TASKS)]
    times = _timed(lambda name: cluster.create_job(wpsjob(name, QUEUE)), names)
    for name in names:
        cluster.delete_job(name)
    return times[FIRST:]


def _measure(stand: Stand) -> list[Figure]:
    tracker.registerTaskType(KIND, HANDLER)
    names = [f"task {number}" for number in range(TASKS)]
    _timed(lambda name: tracker.enqueueTask(KIND, f"first {name}", (1, 2)), names[:FIRST])
    written = _timed(lambda name: _write(stand, name), names)
    enqueued = _timed(lambda name: tracker.enqueueTask(KIND, name, (1, 2, 3)), names)
    looked = [names[number % TASKS] for number in range(LOOKS)]
    by_name = _timed(lambda name: tracker.getTaskStatusByIdentifier(KIND, name), looked)
    number = tracker.enqueueTask(KIND, "one", None)
    by_number = _timed(lambda _: tracker.getTaskStatus(number), looked)
    return [
        Figure("a file of 1 KiB, and fsync", median(written), "ms", note=spread(written, "ms")),
        Figure("enqueueTask (p50)", median(enqueued), "ms", most=MOST_ENQUEUE,
               note=spread(enqueued, "ms")),
        Figure("getTaskStatusByIdentifier (p50)", median(by_name), "ms", most=MOST_STATUS,
               note=spread(by_name, "ms")),
        Figure("getTaskStatus by number (p50)", median(by_number), "ms",
               note=spread(by_number, "ms")),
    ]  # fmt: skip


def _timed(call: Callable[[str], object], names: list[str]) -> list[float]:
    """Milliseconds of a call for each of *names*."""
    times = []
    for name in names:
        began = time.perf_counter()
        call(name)
        times.append(1000 * (time.perf_counter() - began))
    return times


def _write(stand: Stand, name: str) -> None:
    """What the disk takes by itself."""
    with (stand.folder / name).open("wb") as file:
        file.write(bytes(1024))
        file.flush()
        os.fsync(file.fileno())
