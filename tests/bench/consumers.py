"""Trivial tasks that eight consumers drain: the ready daemon's processes, and loops of one's own.

The queue is held until all tasks are in it and all consumers wait, so that nothing but draining is
measured, on as many processors as all of the cluster has.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from pathlib import Path

from tests.bench.api import Api, Raw
from tests.bench.figures import Figure
from tests.bench.stand import Stand
from tests.cluster.progress import say
from tests.cluster.settings import REPOSITORY
from tests.faults.consuming import FOLDER
from tests.integration.operator_process import Operator
from tests.integration.tracked import Tracked, tracked
from wpsjobs import tracker
from wpsjobs.api.times import parse_time
from wpsjobs.tracker.claims_queue import QUEUE_SECONDS

CONSUMERS, WARM_UP, TASKS = 8, 40, 400
LEAST = 20.0
"""Tasks a second."""
QUEUE, KIND = "pull", "Nothing"
PATIENCE = 120.0
SUCCEEDED = "status.phase=Succeeded"
COMMANDS = {
    "the ready daemon, of 8 processes": ["wpsjobs.tracker.consumer", f"--processes={CONSUMERS}"],
    "8 loops of dequeueTask": ["tests.faults.consuming", str(CONSUMERS)],
}


async def measure(stand: Stand) -> list[Figure]:
    """Tasks a second, for both kinds of consumers."""
    stand.space.custom("wpsqueues", QUEUE, executor="Consumers", maxQueued=2 * TASKS)
    with stand.operator() as operator:
        operator.wait_ready()
        async with stand.api() as api:
            return await _measure(stand, operator, api)


async def _measure(stand: Stand, operator: Operator, api: Api) -> list[Figure]:
    figures = []
    with tracked(stand.space, stand.folder, QUEUE) as tasks:
        tracker.registerTaskType(KIND, "wpsjobs.tracker.dummyHandler")
        for what, command in COMMANDS.items():
            with _consumers(tasks, stand.folder, command):
                await _drained(api, f"{what}: warm-up", WARM_UP)
                used = operator.processor_seconds()
                rate = await _drained(api, what, TASKS)
                used = 1000 * (operator.processor_seconds() - used) / TASKS
            note = f"{TASKS} tasks; the operator took {used:.1f} ms of a processor for each"
            figures.append(Figure(f"tasks drained by {what}", rate, "/s", least=LEAST, note=note))
    return figures


@contextmanager
def _consumers(tasks: Tracked, folder: Path, command: list[str]) -> Iterator[None]:
    environment = {
        **os.environ,
        **tasks.environment(),
        FOLDER: str(folder),
        "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}",
    }
    with (folder / "consumers.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            cwd=REPOSITORY,
            start_new_session=True,
            stderr=log,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def _drained(api: Api, what: str, count: int) -> float:
    """Tasks a second, from the first claim to the last end, as the operator has them."""
    await api.patch("wpsqueues", QUEUE, {"spec": {"suspend": True}})
    await asyncio.sleep(2 * QUEUE_SECONDS)  # for so long, consumers may take it for not held
    version = await api.version("wpsjobs")
    await asyncio.to_thread(_enqueue, what, count)
    await api.patch("wpsqueues", QUEUE, {"spec": {"suspend": False}})
    found: dict[str, Raw] = {}
    # Told of each once: to list them again and again would keep a processor busy.
    async with aclosing(api.watch("wpsjobs", version, SUCCEEDED, PATIENCE)) as ends:
        async for _, raw in ends:
            found[raw["metadata"]["name"]] = raw["status"]
            if len(found) == count:
                break
        else:
            left = await api.get(api.path("wpsjobs"), fieldSelector="status.phase!=Succeeded")
            words = [f"{one['metadata']['name']}: {one.get('status')}" for one in left["items"]]
            raise AssertionError(f"not done within {PATIENCE:.0f} s: {words}")
    for name in found:
        await api.delete("wpsjobs", name)
    first = min(parse_time(one["scheduledAt"]) for one in found.values())
    last = max(parse_time(one["finishedAt"]) for one in found.values())
    rate = count / (last - first).total_seconds()
    say(f"  consumers: {what}: {rate:.1f}/s")
    return rate


def _enqueue(what: str, count: int) -> None:
    names = [f"{what} {number}" for number in range(count)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: tracker.enqueueTask(KIND, name, None), names))
