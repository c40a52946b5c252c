"""What thousands of finished WpsJobs, which are kept, cost the operator."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.bench.api import Api, Raw
from tests.bench.figures import Figure, median
from tests.bench.stand import Stand, resident_megabytes, settle, until, wpsjob
from tests.cluster.progress import say
from tests.integration.operator_process import Operator
from wpsjobs.api.times import format_time

KEPT = 10_000
IDLE_SECONDS = 60.0
LOAD, LOAD_RATE = 150, 10.0
"""WpsJobs, and how many of them a second, by which the cost of a pass is measured."""
RESTARTS = 3
MOST_MEGABYTES, MOST_IDLE_PERCENT, MOST_RESTART_SECONDS = 250.0, 5.0, 10.0
MOST_RATIO = 1.3
"""Of the cost of a pass with finished WpsJobs to that without; "does not grow", but for noise."""
QUEUE = "kept"


@dataclass(frozen=True)
class Cost:
    """Of the operator, under the same small load."""

    pass_milliseconds: float
    processor_milliseconds: float
    """A WpsJob."""


async def measure(stand: Stand, kept: int = KEPT) -> list[Figure]:
    """Memory, idle time of the processor, restart, and the cost of a pass."""
    stand.queue(QUEUE, parallelism=10)
    # One that admits at once whatever the other one does; its WpsJobs tell of the restart.
    stand.queue("restart", 3600.0, parallelism=100)
    async with stand.api() as api:
        with stand.operator() as operator:
            operator.wait_ready()
            none = await _cost(operator, api)
        await settle(api)
        await _fill(api, kept)
        with stand.operator() as operator:
            operator.wait_ready()
            many = await _cost(operator, api)
            restarts = [await _restart(operator, api) for _ in range(RESTARTS)]
            idle, megabytes = await _idle(operator)
    say(f"  finished: none {none}, {kept} {many}")
    kept_words = f"with {kept:,} finished"
    loop_ratio = many.pass_milliseconds / none.pass_milliseconds
    ratio = many.processor_milliseconds / none.processor_milliseconds
    return [
        Figure(f"resident memory {kept_words}", max(megabytes), "MB", most=MOST_MEGABYTES,
               note=f"{min(megabytes):.0f}-{max(megabytes):.0f} MB over {IDLE_SECONDS:.0f} s"),
        Figure(f"processor, idle, {kept_words}", idle, "% of a core", most=MOST_IDLE_PERCENT,
               note=f"over {IDLE_SECONDS:.0f} s, a re-list among them"),
        Figure(f"restart → first admission {kept_words}", median(restarts), "s",
               most=MOST_RESTART_SECONDS, note=", ".join(f"{one:.1f}" for one in restarts)),
        Figure(f"length of a pass {kept_words} to that with none", loop_ratio, most=MOST_RATIO,
               note=f"{none.pass_milliseconds:.1f} → {many.pass_milliseconds:.1f} ms"),
        Figure(f"processor time a WpsJob {kept_words} to that with none", ratio, most=MOST_RATIO,
               note=f"{none.processor_milliseconds:.0f} → {many.processor_milliseconds:.0f} ms"),
    ]  # fmt: skip


async def _cost(operator: Operator, api: Api) -> Cost:
    """Under a load that is spread evenly, so that passes are many and alike."""
    names = [f"load-{uuid.uuid4().hex[:8]}" for _ in range(LOAD)]
    await _through(api, names[:10])  # what is done at the first time only
    total, count = operator.metric("wpsjobs_loop_seconds_sum"), _passes(operator)
    used = operator.processor_seconds()
    await _through(api, names[10:])
    used = operator.processor_seconds() - used
    total, count = operator.metric("wpsjobs_loop_seconds_sum") - total, _passes(operator) - count
    return Cost(1000 * total / count, 1000 * used / len(names[10:]))


async def _through(api: Api, names: list[str]) -> None:
    began = time.monotonic()
    for number, name in enumerate(names):
        # The pace of the load, not a wait for anything.
        await asyncio.sleep(max(0.0, began + number / LOAD_RATE - time.monotonic()))
        await api.create("wpsjobs", wpsjob(name, QUEUE))
    for name in names:
        await until(lambda name=name: _ended(api, name), f"the end of {name}")  # type: ignore[misc]


async def _ended(api: Api, name: str) -> bool:
    return bool((await api.get(api.path("wpsjobs", name))).get("status", {}).get("finishedAt"))


def _passes(operator: Operator) -> float:
    return operator.metric("wpsjobs_loop_seconds_count")


async def _restart(operator: Operator, api: Api) -> float:
    """Seconds from a start after a clean end to the admission of a WpsJob made meanwhile."""
    operator.stop()
    name = f"restart-{uuid.uuid4().hex[:8]}"
    began = time.monotonic()
    operator.start()
    made = await api.create("wpsjobs", wpsjob(name, "restart"))
    version = made["metadata"]["resourceVersion"]
    async for _, raw in api.watch("wpsjobs", version, f"metadata.name={name}", 120):
        if raw.get("status", {}).get("phase") == "Scheduled":
            seconds = time.monotonic() - began
            say(f"  finished: {seconds:.1f} s from a restart to the first admission")
            await asyncio.to_thread(operator.wait_ready)
            return seconds
    raise TimeoutError("no admission after a restart")


async def _idle(operator: Operator) -> tuple[float, list[float]]:
    """Per cent of a core, and the resident memory from second to second, after the start."""
    await until(lambda: _quiet(operator), "an operator at rest", 120)
    used, began, megabytes = operator.processor_seconds(), time.monotonic(), list[float]()
    while time.monotonic() - began < IDLE_SECONDS:
        megabytes.append(resident_megabytes(operator.pid))
        await asyncio.sleep(1.0)  # nothing happens: that is what is measured
    used = operator.processor_seconds() - used
    return 100 * used / (time.monotonic() - began), megabytes


async def _quiet(operator: Operator) -> bool:
    """Whether it is through with what a start costs: the list of all that is kept."""
    used = operator.processor_seconds()
    await asyncio.sleep(3.0)  # the length of the look
    return operator.processor_seconds() - used < 0.15


async def _fill(api: Api, count: int) -> None:
    """Make finished WpsJobs with the status that the operator leaves, while none runs."""
    began, writes, done = time.monotonic(), asyncio.Semaphore(32), 0

    async def one(number: int) -> None:
        nonlocal done
        async with writes:
            name = f"kept-{number}"
            made = await api.create("wpsjobs", wpsjob(name, QUEUE))
            status = {"status": _status(name, int(made["metadata"]["resourceVersion"]))}
            await api.patch("wpsjobs", name, status, "status")
        done += 1
        if done % 2500 == 0:
            say(f"  finished: {done} made in {time.monotonic() - began:.0f} s")

    await asyncio.gather(*(one(number) for number in range(count)))


def _status(name: str, sequence: int) -> Raw:
    """That of a WpsJob that waited, ran once and succeeded."""
    now = datetime.now(UTC)
    accepted, scheduled, started, finished = (
        format_time(now - timedelta(seconds=seconds)) for seconds in (95, 90, 88, 3)
    )
    words = {
        "Accepted": (accepted, f"Waiting in the queue {QUEUE!r}"),
        "Scheduled": (scheduled, f"Attempt 1 is being started as Kubernetes Job '{name}-1'"),
        "Started": (started, f"Attempt 1 runs in pod '{name}-1-x7k2p' on node 'worker-17'"),
        "Succeeded": (finished, "The process has ended and its response is stored"),
    }
    conditions = {
        "Accepted": ("True", accepted, "Queued", words["Accepted"][1]),
        "Admitted": ("False", finished, "Completed", words["Succeeded"][1]),
        "Complete": ("True", finished, "Completed", words["Succeeded"][1]),
    }
    return {
        "phase": "Succeeded",
        "reason": "Completed",
        "message": words["Succeeded"][1],
        "sequence": sequence,
        "attempt": 1,
        "restarts": 0,
        "retriesSeen": 0,
        "jobName": f"{name}-1",
        "acceptedAt": accepted,
        "scheduledAt": scheduled,
        "startedAt": started,
        "finishedAt": finished,
        "progress": {"percent": 100, "message": "writing the result", "updatedAt": finished},
        "attempts": [
            {
                "number": 1,
                "jobName": f"{name}-1",
                "podName": f"{name}-1-x7k2p",
                "node": "worker-17",
                "startedAt": started,
                "finishedAt": finished,
                "exitCode": 0,
                "reason": "Completed",
            }
        ],
        "history": [
            {"time": time, "phase": phase, "message": message}
            for phase, (time, message) in words.items()
        ],
        "conditions": [
            {
                "type": kind,
                "status": status,
                "observedGeneration": 1,
                "lastTransitionTime": time.split(".")[0] + "Z",
                "reason": reason,
                "message": message,
            }
            for kind, (status, time, reason, message) in conditions.items()
        ],
    }
