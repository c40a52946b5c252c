"""Several queues in a namespace, and several namespaces under one operator."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kube import Kube, Space
from tests.integration.operator_process import Operator

PROCESS = "Echo"


@pytest.fixture
def spaces(kube: Kube) -> Iterator[list[Space]]:
    """Two namespaces, each with two queues of different limits."""
    spaces = [Space(kube, f"test-{uuid.uuid4().hex[:10]}") for _ in range(2)]
    for space in spaces:
        space.make()
        space.custom("wpsprocesses", "echo", identifier=PROCESS)
        space.queue("one", parallelism=1, maxQueued=2)
        space.queue("two", parallelism=2, maxQueued=1)
    yield spaces
    for space in spaces:
        space.remove()


def _phases(space: Space, queue: str) -> list[str]:
    """The phases of the WpsJobs of *queue*, in the order of creation."""
    jobs = [job for job in space.items("wpsjobs") if job["spec"]["queue"] == queue]
    jobs.sort(key=lambda job: job["metadata"]["name"])
    return [job.get("status", {}).get("phase", "") for job in jobs]


def test_each_queue_of_each_namespace_has_its_own_slots_and_places(
    spaces: list[Space], tmp_path: Path
) -> None:
    names = ",".join(space.name for space in spaces)
    expected = {
        "one": ["Scheduled", "Accepted", "Accepted", "Rejected", "Rejected"],
        "two": ["Scheduled", "Scheduled", "Accepted", "Rejected", "Rejected"],
    }
    with Operator(names, tmp_path) as operator:
        operator.wait_ready()
        for number in range(5):
            for space in spaces:
                for queue in ("one", "two"):
                    name = f"{queue}-{number}"
                    space.custom("wpsjobs", name, process=PROCESS, queue=queue)
        for space in spaces:
            for queue, phases in expected.items():
                space.wait(
                    lambda s=space, q=queue, p=phases: _phases(s, q) == p,
                    f"{phases} in {space.name}/{queue}",
                )


def test_a_namespace_in_trouble_keeps_no_other_one_waiting(
    spaces: list[Space], tmp_path: Path
) -> None:
    good = spaces[0]
    with Operator(f"{good.name},there-is-no-such-namespace", tmp_path) as operator:
        good.custom("wpsjobs", "one-0", process=PROCESS, queue="one")
        good.wait_phase("one-0", "Scheduled")
        assert operator.ask("/healthz")[0] == 200
