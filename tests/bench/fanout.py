"""Fan-outs on simulated nodes: their speed beside bare Kubernetes Jobs, and what they write."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from tests.bench.api import Api, Raw
from tests.bench.figures import Figure, median
from tests.bench.patches import status_patches
from tests.bench.stand import Stand, settle, until, wpsjob
from tests.bench.throughput import bare_jobs
from tests.cluster.progress import say

TILES, AT_ONCE, TILE_SECONDS, TURNS = 24, 4, 4.0, 2
LEAST_PERCENT = 80.0
MANY, MANY_AT_ONCE, MANY_SECONDS = 1000, 100, 1.0
MOST_PATCHES_A_SECOND = 1.0
TRANSITIONS = 4
"""Patches that are not for counting parts: admitted, started, merged, ended."""


async def measure(stand: Stand) -> list[Figure]:
    """The speed-up of tiles that wait beside that of bare Kubernetes Jobs, and 1,000 parts."""
    stand.queue("tiles", TILE_SECONDS, parallelism=AT_ONCE)
    stand.queue("many", MANY_SECONDS, parallelism=MANY_AT_ONCE)
    bare, ours = list[float](), list[float]()
    with stand.operator() as operator:
        operator.wait_ready()
        async with stand.api() as api:
            for turn in range(1, TURNS + 1):
                _, seconds = await bare_jobs(api, TILES, AT_ONCE, TILE_SECONDS)
                bare.append(TILES * TILE_SECONDS / seconds)
                await settle(api)
                seconds = await _tiles(api, "tiles", TILES)
                ours.append(TILES * TILE_SECONDS / seconds)
                await settle(api)
                say(f"  fan-out: turn {turn}: speed-ups {bare[-1]:.2f} and {ours[-1]:.2f}")
            before = await status_patches(api)
            seconds = await _tiles(api, "many", MANY)
            patches = await status_patches(api) - before
    ratio = 100 * median(ours) / median(bare)
    of_many = f"parts of {MANY_SECONDS:.0f} s, {MANY_AT_ONCE} at once, {seconds:.0f} s in all"
    note = f"{TILES} tiles of {TILE_SECONDS:.0f} s at {AT_ONCE} at once, {TURNS} times in turn"
    return [
        Figure("speed-up of bare Kubernetes Jobs", median(bare), note=note),
        Figure("speed-up of a fan-out", median(ours), note="until the merge step begins"),
        Figure("speed-up of a fan-out to that of bare Kubernetes Jobs", ratio, "%",
               least=LEAST_PERCENT),
        Figure(f"rate of a fan-out of {MANY} parts", MANY / seconds, "/s",
               note=of_many),
        Figure("status patches of it", (patches - TRANSITIONS) / seconds, "/s",
               most=MOST_PATCHES_A_SECOND, note=f"{patches:.0f}, with {TRANSITIONS} transitions"),
    ]  # fmt: skip


async def _tiles(api: Api, queue: str, number: int) -> float:
    """Seconds from the creation of a fan-out until all of its parts are done."""
    name = f"{queue}-{uuid.uuid4().hex[:6]}"
    body = wpsjob(name, queue, parts=[f"tile {index}" for index in range(number)])
    version, began = await api.version("wpsjobs"), time.perf_counter()
    await api.create("wpsjobs", body)
    async with asyncio.timeout(600):
        async for _, raw in api.watch("wpsjobs", version, f"metadata.name={name}"):
            if _is_merging(raw):
                break
    seconds = time.perf_counter() - began

    async def ended() -> bool:
        found: dict[str, Any] = await api.get(api.path("wpsjobs", name))
        return bool(found["status"]["phase"] == "Succeeded")

    await until(ended, "the merge step")
    return seconds


def _is_merging(raw: Raw) -> bool:
    return bool(raw.get("status", {}).get("jobName"))
