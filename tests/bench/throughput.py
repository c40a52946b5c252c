"""WpsJobs through a queue beside as many bare Kubernetes Jobs, in turn on the same nodes.

Both sides keep 100 at once, both remove each Kubernetes Job after its end, and both are told of an
end by a watch that a field selector makes as small as it can be. What differs are the WpsJob's
writes and the operator; a driver that makes these writes and nothing else tells the two apart.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from tests.bench.api import Api, Raw
from tests.bench.figures import Figure, median
from tests.bench.necessary import Driver
from tests.bench.stand import Stand, settle, template, wpsjob
from tests.cluster.progress import say

JOBS, WARM_UP, AT_ONCE, TURNS = 1000, 300, 100, 2
MAX_QUEUED = 256
LEAST_PERCENT = 50.0
LEAST_PERCENT_OF_NECESSARY = 83.0
"""Of the rate of the necessary writes alone: 50 % of the bare rate where those reach 60 %."""
QUEUE = "throughput"
SECONDS = 0.0
"""How long a pod runs: as short as can be, so that nothing hides what is measured."""
PATIENCE = 900.0


async def measure(stand: Stand, jobs: int = JOBS, turns: int = TURNS) -> list[Figure]:
    """Jobs a second of both sides, and their ratio; the runs alternate after a warm-up."""
    stand.queue(QUEUE, SECONDS, parallelism=AT_ONCE, maxQueued=MAX_QUEUED)
    bare, necessary, ours = list[float](), list[float](), list[float]()
    with stand.operator() as operator:
        operator.wait_ready()
        async with stand.api() as api:
            await _run("warm-up, bare", api, bare_jobs(api, min(WARM_UP, jobs)))
            await _run("warm-up, WpsJobs", api, _wpsjobs(api, min(WARM_UP, jobs)))
            driver = await Driver.make(api, QUEUE)
            for turn in range(1, turns + 1):
                bare.append(await _run(f"bare {turn}", api, bare_jobs(api, jobs)))
                operator.stop()  # or it would take the driver's WpsJobs for its own
                run = driver.run(jobs, AT_ONCE, partial(_ended, api), AT_ONCE + MAX_QUEUED)
                necessary.append(await _run(f"necessary writes {turn}", api, run))
                operator.start()
                operator.wait_ready()
                used = operator.processor_seconds()
                ours.append(await _run(f"WpsJobs {turn}", api, _wpsjobs(api, jobs)))
                used = operator.processor_seconds() - used
                say(f"  throughput: the operator took {1000 * used / jobs:.1f} ms a WpsJob")
    ratio = 100 * median(ours) / median(bare)
    floor = 100 * median(necessary) / median(bare)
    note = f"{jobs} each, {turns} times in turn, {AT_ONCE} at once"
    return [
        Figure("bare Kubernetes Jobs", median(bare), "/s", note=_list(bare)),
        Figure("their necessary writes alone", median(necessary), "/s", note=_list(necessary)),
        Figure("WpsJobs through a queue", median(ours), "/s", note=_list(ours)),
        Figure("rate of the necessary writes to that of bare Kubernetes Jobs", floor, "%"),
        Figure("rate of WpsJobs to that of the necessary writes",
               100 * median(ours) / median(necessary), "%", least=LEAST_PERCENT_OF_NECESSARY),
        Figure("rate of WpsJobs to that of bare Kubernetes Jobs", ratio, "%",
               least=LEAST_PERCENT, note=note),
    ]  # fmt: skip


async def _run(what: str, api: Api, run: Any) -> float:
    """Jobs a second of one run; the namespace is emptied after it."""
    count, seconds = await asyncio.wait_for(run, PATIENCE)
    say(f"  throughput: {what}: {count} in {seconds:.1f} s, {count / seconds:.1f}/s")
    await settle(api)
    return float(count / seconds)


async def bare_jobs(
    api: Api, count: int, at_once: int = AT_ONCE, seconds: float = SECONDS
) -> tuple[int, float]:
    """*count* Kubernetes Jobs, so many at once, each deleted when it is complete.

    Returns how many, and the seconds from the first creation to the last end.
    """
    run = f"bare-{uuid.uuid4().hex[:6]}"
    ended = await _ended(api, run)
    return await _keep(
        count,
        at_once,
        lambda number: api.create("jobs", _kubernetes_job(f"{run}-{number}", seconds)),
        ended,
        lambda name: api.delete("jobs", name),
    )


async def _wpsjobs(api: Api, count: int) -> tuple[int, float]:
    """*count* WpsJobs, created as fast as the queue takes them; the operator does the rest."""
    run = f"ours-{uuid.uuid4().hex[:6]}"
    ended = _names(api, "wpsjobs", "status.phase=Succeeded", run, await api.version("wpsjobs"))
    return await _keep(
        count,
        AT_ONCE + MAX_QUEUED,
        lambda number: api.create("wpsjobs", wpsjob(f"{run}-{number}", QUEUE)),
        ended,
        None,
    )


async def _ended(api: Api, run: str) -> AsyncIterator[str]:
    """Names of the Kubernetes Jobs of this *run* that end from now on."""
    return _names(api, "jobs", "status.successful=1", run, await api.version("jobs"))


async def _keep(
    count: int, at_once: int, create: Any, ended: AsyncIterator[str], remove: Any
) -> tuple[int, float]:
    """Keep *at_once* there until *count* have ended; from the first creation to the last end."""
    room, began = asyncio.Semaphore(at_once), time.perf_counter()
    tasks = set[asyncio.Task[Any]]()

    async def make() -> None:
        writes = asyncio.Semaphore(32)

        async def one(number: int) -> None:
            async with writes:
                await create(number)

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                await room.acquire()
                group.create_task(one(number))

    making, names = asyncio.create_task(make()), set[str]()
    finish = began
    async for name in ended:
        if name in names:
            continue
        names.add(name)
        room.release()
        if remove is not None:
            tasks.add(asyncio.create_task(remove(name)))
        finish = time.perf_counter()
        if len(names) == count:
            break
    await asyncio.gather(making, *tasks)
    return count, finish - began


async def _names(
    api: Api, plural: str, selector: str, run: str, version: str
) -> AsyncIterator[str]:
    """Names of what has ended of this *run*; one that is deleted later comes again."""
    async for kind, raw in api.watch(plural, version, selector):
        name: str = raw["metadata"]["name"]
        if kind != "DELETED" and name.startswith(run) and _complete(raw):
            yield name


def _complete(raw: Raw) -> bool:
    conditions = raw["status"].get("conditions") or []
    return any(one["type"] == "Complete" and one["status"] == "True" for one in conditions)


def _kubernetes_job(name: str, seconds: float) -> Raw:
    """What the operator makes, less what it needs to know it again."""
    pod = template(seconds)
    pod["spec"] = {**pod["spec"], "restartPolicy": "Never"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": pod},
    }


def _list(rates: list[float]) -> str:
    return ", ".join(f"{rate:.1f}" for rate in rates)
