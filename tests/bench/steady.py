"""A steady load, under which the operator's memory has to stay as it is."""

from __future__ import annotations

import asyncio
import time
import uuid

from tests.bench.api import Api
from tests.bench.figures import Figure, median
from tests.bench.stand import Stand, resident_megabytes, wpsjob
from tests.cluster.progress import say
from tests.cluster.settings import ClusterError
from tests.integration.operator_process import Operator

SECONDS = 300.0
RATE = 2.0
"""WpsJobs a second."""
EARLY = 1 / 6
"""Share of the time after which memory is to grow no more: 10 minutes of an hour."""
WINDOW = 1 / 20
"""Share of the time over which memory is averaged (by the median)."""
MOST_GROWTH_PERCENT = 5.0
QUEUE = "steady"
KEPT_SECONDS = 10
"""How long WpsJobs are kept: short, so that as many are there early as at the end."""
REPORT_SECONDS = 30.0
DRAIN_SECONDS = 60.0


async def measure(stand: Stand, seconds: float = SECONDS) -> list[Figure]:
    """How much larger the operator is at the end than after a sixth of the time."""
    stand.queue(
        QUEUE,
        1.0,
        parallelism=20,
        keepPodsSeconds=KEPT_SECONDS // 2,
        defaults={"ttlSecondsAfterFinished": KEPT_SECONDS},
    )
    with stand.operator() as operator:
        operator.wait_ready()
        used = operator.processor_seconds()
        async with stand.api() as api:
            load = asyncio.create_task(_load(api, seconds))
            samples = await _sample(operator, seconds)
            used = operator.processor_seconds() - used
            made = await load
            left = await _drained(api)
        ended = operator.metric("wpsjobs_finished_total")
    early, late = _window(samples, EARLY, seconds), _window(samples, 1.0, seconds)
    growth = 100 * (late / early - 1)
    minutes = f"{seconds / 60:.0f} min at {RATE:.0f}/s"
    return [
        Figure(f"growth of resident memory, {minutes}", growth, "%", most=MOST_GROWTH_PERCENT,
               note=f"{early:.1f} MB after a sixth → {late:.1f} MB at the end"),
        Figure("WpsJobs not ended or not removed at the end", made - ended + left, most=0.0,
               note=f"of {made}"),
        Figure(f"processor at {RATE:.0f}/s", 100 * used / seconds, "% of a core"),
    ]  # fmt: skip


async def _load(api: Api, seconds: float) -> int:
    """Create WpsJobs at an even pace; how many."""
    began, number = time.monotonic(), 0
    while number / RATE < seconds:
        await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
        await api.create("wpsjobs", wpsjob(f"steady-{uuid.uuid4().hex[:12]}", QUEUE))
        number += 1
    return number


async def _sample(operator: Operator, seconds: float) -> list[tuple[float, float]]:
    """(Seconds since the beginning, megabytes), from second to second."""
    began, reported, samples = time.monotonic(), 0.0, list[tuple[float, float]]()
    while (now := time.monotonic() - began) < seconds:
        samples.append((now, resident_megabytes(operator.pid)))
        if now - reported >= REPORT_SECONDS:
            reported = now
            say(f"  steady: {now:.0f} of {seconds:.0f} s, {samples[-1][1]:.1f} MB")
        await asyncio.sleep(1.0)  # the interval of the samples
    return samples


async def _drained(api: Api) -> int:
    """How many WpsJobs are left when none should be."""
    deadline = time.monotonic() + KEPT_SECONDS + DRAIN_SECONDS
    while left := await api.count("wpsjobs"):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    return left


def _window(samples: list[tuple[float, float]], share: float, seconds: float) -> float:
    """Megabytes around the end of that *share* of the time."""
    end = share * seconds
    inside = [value for at, value in samples if end - WINDOW * seconds <= at <= end]
    if not inside:
        raise ClusterError("too short a time to measure")
    return median(inside)
