"""A lock that is a Lease: processes in contention, a holder that is killed, one that was frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.settings import REPOSITORY
from tests.integration.kube import Space
from tests.integration.tracked import Tracked, tracked
from wpsjobs.tracker import LeaseLock, LeaseLostError, TaskStatus, dbLocker

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/{}"
PROCESSES, TURNS = 4, 4
COUNT = """
import pathlib, sys
from wpsjobs.tracker import LeaseLock, dbLocker

counter = pathlib.Path(sys.argv[1])

def count():
    # Not atomic: another one in between would be lost.
    counter.write_text(str(int(counter.read_text()) + 1))

for _ in range(int(sys.argv[2])):
    dbLocker(LeaseLock("counter"), count)
"""
HOLD = """
import sys
from wpsjobs.tracker import LeaseLock

with LeaseLock(sys.argv[1], seconds=int(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def tasks(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    """A namespace for Leases; no operator is needed."""
    with tracked(space, tmp_path_factory.mktemp("volume"), "tracker") as one:
        yield one


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that imports the tracker."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "operator")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], seconds: float = 60.0) -> int:
    """Its exit code."""
    process.communicate(timeout=seconds)
    return process.returncode


def holder(tasks: Tracked, name: str) -> str:
    lease = tasks.space.kube.request("GET", LEASES.format(tasks.space.name, name))
    return str(lease["spec"].get("holderIdentity") or "")


def test_processes_in_contention_exclude_each_other(tasks: Tracked, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [start(COUNT, str(counter), str(TURNS)) for _ in range(PROCESSES)]
    try:
        assert [end(process) for process in processes] == [0] * PROCESSES
    finally:
        for process in processes:
            process.kill()
    assert int(counter.read_text()) == PROCESSES * TURNS
    assert holder(tasks, "counter") == ""


def test_threads_exclude_each_other(tasks: Tracked) -> None:
    lock, inside, most = LeaseLock("threads"), 0, []

    def work() -> None:
        nonlocal inside
        with lock:
            inside += 1
            most.append(inside)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


def test_a_killed_holder_loses_it_and_a_living_one_does_not(tasks: Tracked) -> None:
    process = start(HOLD, "killed", "2")
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        lock = LeaseLock("killed", seconds=2)
        # Longer than the Lease lasts without being renewed.
        assert not lock.acquire(timeout=3.5)
        assert not lock.is_held()
        process.send_signal(signal.SIGKILL)
        end(process)
        assert lock.acquire(timeout=30)
        assert lock.is_held()
        lock.release()
    finally:
        process.kill()
    assert holder(tasks, "killed") == ""


def test_who_was_frozen_is_told_that_it_was_lost(tasks: Tracked) -> None:
    process = start(HOLD, "frozen", "1")
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGSTOP)
        with LeaseLock("frozen", seconds=1) as lock:
            process.send_signal(signal.SIGCONT)
            process.communicate("\n", timeout=60)
            assert process.returncode == 1, "LeaseLostError at the end of its with statement"
            assert lock.is_held(), "it has not taken it back"
    finally:
        process.kill()


def test_one_that_cannot_wait_does_not(tasks: Tracked) -> None:
    with LeaseLock("busy"):
        other = LeaseLock("busy")
        began = time.monotonic()
        assert not other.acquire(blocking=False)
        assert time.monotonic() - began < 5.0
        with pytest.raises(RuntimeError, match="not held"):
            other.release()
    assert other.acquire(blocking=False)
    other.release()


def test_somebody_who_takes_it_by_hand_makes_it_lost(tasks: Tracked) -> None:
    lock = LeaseLock("by-hand", seconds=1)
    lock.acquire()
    path = LEASES.format(tasks.space.name, "by-hand")
    patch = {"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 60}}
    tasks.space.kube.request("PATCH", path, patch, "application/merge-patch+json")
    tasks.space.wait(lambda: not lock.is_held(), "the lock lost")
    with pytest.raises(LeaseLostError, match="somebody else may have held it"):
        lock.release()
    assert holder(tasks, "by-hand") == "somebody"


def test_a_status_object_takes_it_for_each_call(tasks: Tracked) -> None:
    seen = []
    status = TaskStatus(1, LeaseLock("status"))
    dbLocker(status.dbLock, lambda: seen.append(holder(tasks, "status")))
    assert seen[0]
    assert holder(tasks, "status") == ""
