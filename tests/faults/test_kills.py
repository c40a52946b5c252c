"""Parts of the product and of the cluster are killed with WpsJobs in flight; each ends once."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.deployment.tools import kubectl
from tests.faults.product import (
    Product,
    bring_up,
    has_ended,
    kill_component,
    parent_of,
    patiently,
    supervisor_of,
)
from tests.faults.watcher import Watcher
from tests.integration.kube import Kube, RefusedError, Space
from tests.integration.operator_process import Operator

pytestmark = pytest.mark.e2e

CRASH_POINTS = (
    "before-admission",
    "after-admission",
    "after-creation",
    "before-conclusion",
    "after-conclusion",
)
KILLED = -signal.SIGKILL


@pytest.fixture
def operator_away(product: Product) -> Iterator[None]:
    """The installed operator stands back, so that one on this machine can take its place."""
    deployment = f"deployment/{product.release.name}-operator"
    kubectl("scale", deployment, "--replicas=0", "-n", product.space.name)
    yield
    kubectl("scale", deployment, "--replicas=1", "-n", product.space.name)


@pytest.mark.usefixtures("operator_away")
def test_an_operator_killed_at_each_write_loses_and_doubles_nothing(
    product: Product, tmp_path: Path
) -> None:
    """One after the other with the same WpsJobs: each begins where the one before was killed."""
    queue = product.queue(parallelism=2, maxQueued=4)
    with Watcher(product.space.name) as watcher:
        jobs = [product.echo(queue) for _ in range(6)]
        for point in CRASH_POINTS:
            crashing = {"WPSJOBS_IDENTITY": "the-pod", "WPSJOBS_CRASH_AT": point}
            with Operator(product.space.name, tmp_path, **crashing) as operator:
                product.space.wait(partial(has_ended, operator.pid), point, 60)
                assert operator.stop() == KILLED, point
        with Operator(product.space.name, tmp_path, WPSJOBS_IDENTITY="the-pod"):
            for name in jobs:
                status = product.wait_phase(name, "Succeeded")
                assert (status["attempt"], status["restarts"]) == (1, 0), status
                assert product.document(name) == "ProcessSucceeded"
                assert product.begun(name) == [1]
            ledger = watcher.check(only=[queue])
    assert ledger.most_held[queue] == 2


def _delete(product: Product, name: str) -> None:
    pod = product.pod_of(name)
    kubectl("delete", "pod", pod, "--force", "--grace-period=0", "-n", product.space.name)


def _kill_supervisor(product: Product, name: str) -> None:
    os.kill(supervisor_of(f"{name}-1"), signal.SIGKILL)


def _kill_shim(product: Product, name: str) -> None:
    shim = parent_of(supervisor_of(f"{name}-1"))
    assert b"containerd-shim" in Path(f"/proc/{shim}/cmdline").read_bytes()
    os.kill(shim, signal.SIGKILL)


def test_a_worker_whose_pod_supervisor_or_shim_is_killed_is_relaunched(product: Product) -> None:
    faults: list[Callable[[Product, str], None]] = [_delete, _kill_supervisor, _kill_shim]
    queue = product.queue(parallelism=len(faults))
    with Watcher(product.space.name) as watcher:
        victims = [product.sleep(queue, 5) for _ in faults]
        for name in victims:
            product.wait_progress(name)
        for name, fault in zip(victims, faults, strict=True):
            fault(product, name)
        for name in victims:
            status = product.wait_phase(name, "Succeeded")
            assert (status["attempt"], status["restarts"]) == (2, 1)
            assert [entry["reason"] for entry in status["attempts"]] == ["Crash", "Completed"]
            assert product.document(name) == "ProcessSucceeded"
            assert product.begun(name) == [1, 2]
        watcher.check(only=[queue])


def test_jobs_go_on_and_end_once_though_the_kubelet_is_killed(product: Product) -> None:
    queue = product.queue(parallelism=2)
    with Watcher(product.space.name) as watcher:
        long, short, next_one = (product.sleep(queue, seconds) for seconds in (15, 4, 1))
        for name in (long, short):
            product.wait_progress(name)
        kill_component("kubelet")
        # Its end is the worker's word to the API server; that its pod has ended, a kubelet tells.
        product.space.wait(
            lambda: product.space.status(short)["progress"].get("finalising"), "its end", 30
        )
        assert product.space.status(next_one)["phase"] == "Accepted", "the slot is still held"
        bring_up()
        for name in (long, short, next_one):
            status = product.wait_phase(name, "Succeeded")
            assert (status["attempt"], status["restarts"]) == (1, 0), status
            assert product.begun(name) == [1]
        watcher.check(only=[queue])


class Traffic(threading.Thread):
    """Makes WpsJobs and deletes some of them, whether or not the API server is there."""

    def __init__(self, product: Product, queue: str, count: int) -> None:
        super().__init__(name="traffic")
        self._space = Space(Kube(), product.space.name)
        self._queue, self._count = queue, count
        self._chance = random.Random(4)  # noqa: S311 - reproducible, not secret
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.refused = 0

    def has_made(self, number: int) -> bool:
        return len(self.made) >= number

    def run(self) -> None:
        inputs = {"inputs": [{"id": "text", "data": "a"}]}
        spec: dict[str, Any] = {"process": "Echo", "queue": self._queue, "execute": inputs}
        for number in range(self._count):
            name = f"{self._queue}-{number}"
            self._insist(partial(self._space.custom, "wpsjobs", name, **spec))
            self.made.append(name)
            if self._chance.random() < 0.4:
                victim = self._chance.choice(self.made)
                self.deleted.append(victim)
                self._insist(partial(self._space.delete, "wpsjobs", victim))

    def _insist(self, ask: Callable[[], Any]) -> None:
        """Until it is done."""

        def once() -> None:
            try:
                ask()
            except RefusedError as error:
                if error.status not in (404, 409):  # done before; the answer was lost
                    raise
            except (OSError, urllib3.exceptions.HTTPError):
                self.refused += 1
                raise

        patiently(once)


def test_no_job_is_lost_while_the_api_server_is_killed_amidst_creations_and_deletions(
    product: Product,
) -> None:
    queue = product.queue(parallelism=2)
    with Watcher(product.space.name) as watcher:
        traffic = Traffic(product, queue, 8)
        traffic.start()
        for number in (2, 5):
            product.space.wait(partial(traffic.has_made, number), "traffic", 60)
            kill_component("kube-apiserver")
            bring_up()
        traffic.join(120)
        assert not traffic.is_alive()
        for name in sorted(set(traffic.made) - set(traffic.deleted)):
            status = patiently(partial(product.wait_phase, name, "Succeeded"))
            assert (status["attempt"], status["restarts"]) == (1, 0), status
            assert product.document(name) == "ProcessSucceeded"
        ledger = watcher.check(only=[queue], deleted=traffic.deleted)
    assert ledger.most_held[queue] <= 2
