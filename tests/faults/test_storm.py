"""Many WpsJobs at once, on the real API server: exact limits, nothing lost, first in, first out."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.watcher import Watcher
from tests.integration.kube import Kube, Space
from tests.integration.operator_process import Operator

pytestmark = pytest.mark.e2e

AT_ONCE = 50
VERDICT_SECONDS = 90


def create_all(
    space: Space, queue: str, names: Iterable[str], created: Callable[[], None] = lambda: None
) -> None:
    """Make WpsJobs, 50 at once, each on a connection of its own."""
    local = threading.local()

    def connect() -> None:
        local.space = Space(Kube(), space.name)

    def create(name: str) -> None:
        local.space.custom("wpsjobs", name, process="Echo", queue=queue)
        created()

    with ThreadPoolExecutor(AT_ONCE, initializer=connect) as pool:
        list(pool.map(create, names))


def phases(space: Space) -> Counter[str]:
    items = space.items("wpsjobs")
    return Counter(item.get("status", {}).get("phase", "") for item in items)


def in_order(space: Space) -> list[str]:
    """Names of the WpsJobs that were let in, in the order of their creation."""
    items = [item for item in space.items("wpsjobs") if item["status"]["phase"] != "Rejected"]
    return [i["metadata"]["name"] for i in sorted(items, key=lambda i: i["status"]["sequence"])]


def test_of_300_at_once_exactly_104_are_accepted(space: Space, tmp_path: Path) -> None:
    space.queue("storm", maxQueued=100, parallelism=4)
    names = [f"storm-{number}" for number in range(300)]
    with Operator(space.name, tmp_path) as operator, Watcher(space.name) as watcher:
        operator.wait_ready()
        create_all(space, "storm", names)
        space.wait(lambda: not phases(space)[""], "all verdicts", VERDICT_SECONDS)
        assert phases(space) == {"Scheduled": 4, "Accepted": 100, "Rejected": 196}
        watcher.check(finished=False)

        made = [c.raw for c in watcher.changes if c.plural == "wpsjobs" and c.begins]
        created = [raw["metadata"]["name"] for raw in made if raw is not None]
        assert sorted(created) == sorted(names), "none is lost"
        assert in_order(space) == created[:104], "those that came first were accepted"

        for number, name in enumerate(created[:4]):
            space.end_pod(f"{name}-1", 0)
            space.wait_phase(created[4 + number], "Scheduled")
        ledger = watcher.check(finished=False)
    assert ledger.most_held["storm"] == 4
    assert sorted(ledger.admissions["storm"][:4]) == sorted(created[:4])
    assert ledger.admissions["storm"][4:8] == created[4:8], "first in, first out"


def _go_on(pid: int) -> None:
    """Else it could not be ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_a_leader_that_was_stopped_does_no_harm_when_it_goes_on(
    space: Space, tmp_path: Path
) -> None:
    """Stopped in the midst of a storm; after 10 s another takes over; then the first goes on."""
    space.queue("storm", maxQueued=40, parallelism=3)
    names = [f"storm-{number}" for number in range(120)]
    operators = []
    for pod in ("first", "second"):
        folder = tmp_path / pod
        folder.mkdir()
        operators.append(Operator(space.name, folder, WPSJOBS_IDENTITY=pod))
    first, second = operators
    count, lock = 0, threading.Lock()
    with first, Watcher(space.name) as watcher, contextlib.ExitStack() as at_the_end:
        first.wait_ready()
        at_the_end.enter_context(second)
        at_the_end.callback(_go_on, first.pid)

        def stop_amidst() -> None:
            nonlocal count
            with lock:
                count += 1
                if count == 30:
                    os.kill(first.pid, signal.SIGSTOP)

        create_all(space, "storm", names, stop_amidst)
        assert phases(space)[""], "it was stopped before it had judged all"
        second.wait_ready()
        space.wait(lambda: not phases(space)[""], "all verdicts", VERDICT_SECONDS)
        assert phases(space) == {"Scheduled": 3, "Accepted": 40, "Rejected": 77}
        assert first.stop(signal.SIGCONT) != 0, "it ends by itself"
        assert "another operator" in first.words()
        begun = in_order(space)
        for number in range(3):
            space.end_pod(f"{begun[number]}-1", 0)
            space.wait_phase(begun[number], "Succeeded")
            space.wait_phase(begun[3 + number], "Scheduled")
        ledger = watcher.check(finished=False)
        takeovers = [r for r in second.records() if r.get("event") == "leading"]
        assert [record["clean"] for record in takeovers] == [False]
    assert ledger.most_held["storm"] == 3
