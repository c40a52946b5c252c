"""Under a steady load the operator's memory stays as it is, and every WpsJob ends and goes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import steady
from tests.bench.figures import table
from tests.bench.stand import NODES, PROCESS, Stand
from tests.cluster import current, kwok
from tests.cluster.settings import current_instance
from tests.integration.kube import Space

SECONDS = float(os.environ.get("WPSJOBS_STEADY_SECONDS") or steady.SECONDS)
"""Length of the load; ``make soak`` has one of an hour."""


@pytest.fixture
def simulated_nodes() -> Iterator[None]:
    """kwok's, stopped afterwards unless they were there before."""
    if current.is_current(os.environ):
        pytest.skip("simulated nodes are for a cluster of the tests' own")
    instance = current_instance()
    was_up = (instance.pids / "kwok.json").exists()
    kwok.up(instance, NODES)
    yield
    if not was_up:
        kwok.down(instance)


@pytest.mark.timeout(SECONDS + 240)
@pytest.mark.usefixtures("simulated_nodes")
def test_memory_does_not_grow_under_a_steady_load(space: Space, tmp_path: Path) -> None:
    space.custom("wpsprocesses", "echo", identifier=PROCESS)
    figures = asyncio.run(steady.measure(Stand(space, tmp_path), SECONDS))
    print(table(figures))
    assert all(figure.kept for figure in figures), table(figures)
