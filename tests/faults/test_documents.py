"""Documents and phases agree when the worker dies at any of its last steps (invariant 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.faults.product import Product
from tests.faults.watcher import Watcher
from tests.integration.kube import Kube

pytestmark = pytest.mark.e2e

STEPS = {
    # step: (whether the repetition counts as a restart, attempts that executed the process)
    "process-ended": (True, [1, 2]),
    "finalising-asked": (False, [1, 2]),
    "finalising-granted": (False, [1, 2]),
    "finalising-heard": (False, [1, 2]),
    "document-final": (False, [1]),
    "child-ended": (False, [1]),
}


def _set_crash(point: str, spec: dict[str, Any]) -> None:
    variables = spec["containers"][0].setdefault("env", [])
    variables.append({"name": "WPSJOBS_WORKER_CRASH_AT", "value": point})


@pytest.fixture(scope="module")
def product(kube: Kube) -> Iterator[Product]:
    """One for all of this module, for nothing in it harms the product."""
    product = Product(kube)
    yield product
    product.restore()


@pytest.fixture(scope="module")
def watcher(product: Product) -> Iterator[Watcher]:
    with Watcher(product.space.name) as watcher:
        yield watcher


@pytest.fixture(scope="module")
def jobs(product: Product, watcher: Watcher) -> dict[str, str]:
    """A WpsJob for each step, of which the worker dies there in its first attempt; all at once."""
    make: dict[str, Callable[[str], str]] = dict.fromkeys(STEPS, product.echo)
    wrong = {"seconds": "soon"}
    make["client-error"] = partial(product.create, process="Sleep", inputs=wrong)
    names = {}
    for step, create in make.items():
        point = "document-final" if step == "client-error" else step
        names[step] = create(product.queue(partial(_set_crash, point), parallelism=1))
    return names


@pytest.mark.parametrize("step", STEPS)
def test_a_worker_that_dies_at_its_end_is_repeated_to_one_success(
    product: Product, watcher: Watcher, jobs: dict[str, str], step: str
) -> None:
    counts, executed = STEPS[step]
    name = jobs[step]
    status = product.wait_phase(name, "Succeeded", 120)
    assert product.document(name) == "ProcessSucceeded"
    assert status["attempt"] == 2
    assert status["restarts"] == int(counts)
    assert [entry["reason"] for entry in status["attempts"]] == [
        "Crash" if counts else "Finalising",
        "Completed",
    ]
    assert product.begun(name) == executed
    assert [entry["phase"] for entry in status["history"]].count("Succeeded") == 1
    watcher.check(only=[product.space.get("wpsjobs", name)["spec"]["queue"]])


def test_a_worker_that_dies_after_its_word_to_the_client_gives_the_same_word_again(
    product: Product, watcher: Watcher, jobs: dict[str, str]
) -> None:
    name = jobs["client-error"]
    status = product.wait_phase(name, "Failed", 120)
    assert product.document(name) == "ProcessFailed"
    assert (status["reason"], status["attempt"], status["restarts"]) == ("ClientError", 2, 0)
    watcher.check(only=[product.space.get("wpsjobs", name)["spec"]["queue"]])
