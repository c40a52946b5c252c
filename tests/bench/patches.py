"""Status patches of a successful WpsJob, as the API server counts them.

On simulated nodes there is no worker, and so no patch of a progress among them.
"""

from __future__ import annotations

import asyncio

from tests.bench.api import Api
from tests.bench.figures import Figure
from tests.bench.stand import Stand, until, wpsjob

JOBS = 50
AT_ONCE, WAITED = 3.0, 4.0
"""Patches of a WpsJob that is admitted at first sight, and of one that waits in the queue.

One less where a pod has ended before the operator has heard that it ran.
"""
SECONDS = 3.0
"""How long a pod runs: long enough for the operator to see it running."""


async def measure(stand: Stand, jobs: int = JOBS) -> list[Figure]:
    """Patches a WpsJob in both cases."""
    stand.queue("at-once", SECONDS, parallelism=jobs)
    stand.queue("waited", SECONDS, parallelism=jobs, suspend=True)
    with stand.operator() as operator:
        operator.wait_ready()
        async with stand.api() as api:
            at_once = await _through(api, "at-once", jobs)
            waited = await _through(api, "waited", jobs)
    note = f"of {jobs} WpsJobs, each with a pod of {SECONDS:.0f} s"
    return [
        Figure("status patches of a WpsJob admitted at once", at_once, most=AT_ONCE, note=note),
        Figure("status patches of a WpsJob that waited", waited, most=WAITED, note=note),
    ]  # fmt: skip


async def _through(api: Api, queue: str, jobs: int) -> float:
    """Patches a WpsJob, from the creation of all to the end of all."""
    before = await status_patches(api)
    names = [f"{queue}-{number}" for number in range(jobs)]
    await asyncio.gather(*(api.create("wpsjobs", wpsjob(name, queue)) for name in names))
    await until(lambda: _all(api, names, "acceptedAt"), "all accepted")
    await api.patch("wpsqueues", queue, {"spec": {"suspend": False}})
    await until(lambda: _all(api, names, "finishedAt"), "all ended")
    return (await status_patches(api) - before) / jobs


async def status_patches(api: Api) -> float:
    """How many status patches of WpsJobs the API server has had."""
    return await api.metric(
        "apiserver_request_total", resource="wpsjobs", subresource="status", verb="PATCH"
    )


async def _all(api: Api, names: list[str], field: str) -> bool:
    items = (await api.get(api.path("wpsjobs")))["items"]
    there = {item["metadata"]["name"]: item.get("status", {}).get(field) for item in items}
    return all(there[name] for name in names)
