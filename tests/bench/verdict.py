"""From the creation of a WpsJob to its verdict, as its creator sees it.

As the plugin does it: one watch for each web process, of those WpsJobs that are not beyond their
verdict.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator

from tests.bench.api import Api
from tests.bench.figures import Figure, median, spread
from tests.bench.stand import Stand, settle, until, wpsjob
from tests.cluster.progress import say
from wpsjobs.api.phases import FINISHED, Phase

ALONE, AT_ONCE, ROUNDS = 100, 50, 5
MOST_ALONE, MOST_AT_ONCE = 20.0, 400.0
"""Milliseconds, of the medians."""
QUEUE = "verdicts"
PATIENCE = 60.0
REST_SECONDS = 1.1
"""After all of a WpsJob is gone, until the counts of its queue have been told: then it is quiet."""
_SELECTOR = ",".join(
    f"status.phase!={phase}" for phase in sorted({Phase.STARTED, *FINISHED} - {Phase.REJECTED})
)
"""Of the plugin's watch."""


class _Creator:
    """A web process: it creates WpsJobs and hears the verdicts on all of them by one watch."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._heard: dict[str, asyncio.Event] = {}

    async def verdict(self, name: str) -> float:
        """Milliseconds from the creation of *name* until its phase is seen."""
        heard = self._heard[name] = asyncio.Event()
        began = time.perf_counter()
        await self._api.create("wpsjobs", wpsjob(name, QUEUE))
        await asyncio.wait_for(heard.wait(), PATIENCE)
        return 1000 * (time.perf_counter() - began)

    async def listen(self, version: str) -> None:
        """Until cancelled."""
        async for _, raw in self._api.watch("wpsjobs", version, _SELECTOR):
            name = raw["metadata"]["name"]
            if raw.get("status", {}).get("phase") and name in self._heard:
                self._heard[name].set()


@contextlib.asynccontextmanager
async def _creator(api: Api) -> AsyncIterator[_Creator]:
    creator = _Creator(api)
    listening = asyncio.create_task(creator.listen(await api.version("wpsjobs")))
    try:
        yield creator
    finally:
        listening.cancel()


async def measure(stand: Stand, alone: int = ALONE, rounds: int = ROUNDS) -> list[Figure]:
    """Milliseconds alone and with many at once, beside those of the API server by itself."""
    stand.queue(QUEUE, parallelism=max(100, AT_ONCE))
    async with stand.api() as api:
        bare = await _bare(api, alone)
        bare_at_once = [value for _ in range(rounds) for value in await _bare_at_once(api, AT_ONCE)]
        await settle(api)
        with stand.operator() as operator:
            operator.wait_ready()
            async with _creator(api) as creator:
                await _alone(api, creator, min(10, alone))
                single = await _alone(api, creator, alone)
                await settle(api)
                many: list[float] = []
                for number in range(rounds):
                    many += await _at_once(creator, AT_ONCE)
                    say(f"  verdict: round {number + 1} of {rounds} with {AT_ONCE} at once")
                    await settle(api)
    return [
        Figure("API server by itself: creation → seen by a watch", median(bare), "ms",
               note=spread(bare, "ms")),
        Figure("creation → verdict, alone (p50)", median(single), "ms", most=MOST_ALONE,
               note=spread(single, "ms")),
        Figure(f"API server by itself, {AT_ONCE} at once", median(bare_at_once), "ms",
               note=spread(bare_at_once, "ms")),
        Figure(f"creation → verdict, {AT_ONCE} at once (p50)", median(many), "ms",
               most=MOST_AT_ONCE, note=spread(many, "ms")),
    ]  # fmt: skip


async def _alone(api: Api, creator: _Creator, count: int) -> list[float]:
    """One after the other: the next one begins when the last one is over and removed."""
    times = []
    for number in range(count):
        name = f"alone-{uuid.uuid4().hex[:8]}"
        times.append(await creator.verdict(name))
        await until(lambda name=name: _finished(api, name), f"the end of {name}")  # type: ignore[misc]
        await api.delete("wpsjobs", name)
        await until(lambda: _nothing_left(api), "an empty namespace")
        await asyncio.sleep(REST_SECONDS)
        if (number + 1) % 25 == 0:
            say(f"  verdict: {number + 1} of {count} alone")
    return times


async def _at_once(creator: _Creator, count: int) -> list[float]:
    names = [f"many-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    return list(await asyncio.gather(*(creator.verdict(name) for name in names)))


async def _nothing_left(api: Api) -> bool:
    return not any([await api.count(plural) for plural in ("wpsjobs", "jobs", "pods")])


async def _finished(api: Api, name: str) -> bool:
    raw = await api.get(api.path("wpsjobs", name))
    return bool(raw.get("status", {}).get("finishedAt"))


async def _bare(api: Api, count: int) -> list[float]:
    """Milliseconds from a creation to its event in a watch that was there before."""
    return [(await _bare_at_once(api, 1))[0] for _ in range(count)]


async def _bare_at_once(api: Api, count: int) -> list[float]:
    began: dict[str, float] = {}
    names = [f"bare-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    version = await api.version("wpsjobs")

    async def see() -> list[float]:
        times = []
        async for kind, raw in api.watch("wpsjobs", version, seconds=PATIENCE):
            name = raw["metadata"]["name"]
            if kind == "ADDED" and name in began:
                times.append(1000 * (time.perf_counter() - began[name]))
                if len(times) == count:
                    break
        return times

    async def create(name: str) -> None:
        began[name] = time.perf_counter()
        await api.create("wpsjobs", wpsjob(name, QUEUE))

    seen = asyncio.create_task(see())
    # The watch has to be there first: the API server answers it as soon as it stands.
    await asyncio.sleep(0.02)
    await asyncio.gather(*(create(name) for name in names))
    return await seen
