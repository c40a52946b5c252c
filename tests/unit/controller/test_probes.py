"""What /healthz and /readyz answer, and that an outage of the API server is not the loop's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from wpsjobs.controller import loop as loop_module
from wpsjobs.controller import served
from wpsjobs.controller.loop import Loop
from wpsjobs.controller.probes import Probes
from wpsjobs.controller.settings import Settings

SETTINGS = Settings(stuck_seconds=100, list_seconds=40)


class Time:
    """The monotonic clock of the loop."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (loop_module, served):
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


async def _answers(loop: Loop) -> tuple[int, int]:
    """HTTP status of /healthz and of /readyz."""
    probes, request = Probes(loop, SETTINGS), object()
    healthy, ready = await probes._healthz(request), await probes._readyz(request)  # type: ignore[arg-type]
    return healthy.status, ready.status


def _loop() -> Loop:
    cluster: Any = object()
    return Loop(cluster, SETTINGS)


async def test_one_that_waits_for_the_lease_is_alive_and_not_ready(time: Time) -> None:
    loop = _loop()
    time.now += 1e6
    assert await _answers(loop) == (200, 503)


async def test_one_that_leads_is_ready_once_it_has_listed(time: Time) -> None:
    loop = _loop()
    loop.lead(["a"], clean=True)
    assert await _answers(loop) == (200, 503)
    loop.serve("a").listed_at = time.now
    assert await _answers(loop) == (200, 200)


async def test_an_outage_makes_it_not_ready_but_leaves_it_alive(time: Time) -> None:
    loop = _loop()
    loop.lead(["a"], clean=True)
    loop.serve("a").listed_at = time.now
    time.now += 121
    loop.serve("a").turned_at = time.now  # it turns, and its requests fail
    assert await _answers(loop) == (200, 503)


async def test_a_loop_that_stands_still_is_not_alive(time: Time) -> None:
    loop = _loop()
    loop.lead(["a", "b"], clean=True)
    time.now += 101
    loop.serve("b").turned_at = time.now
    assert (await _answers(loop))[0] == 500, "one namespace that is stuck is enough"
