"""Fan-outs on the real cluster: their limits, their turns, and what may become of them."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.faults.product import Product, has_ended
from tests.faults.test_kills import operator_away  # noqa: F401 (a fixture)
from tests.faults.watcher import Watcher
from tests.integration.operator_process import Operator

pytestmark = pytest.mark.e2e

OWS = "{http://www.opengis.net/ows/1.1}"
CRASH_POINTS = (
    "after-admission",
    "after-creation",
    "after-parts",
    "before-merge",
    "after-merge",
    "before-conclusion",
)
KILLED = -signal.SIGKILL


def a_queue(product: Product, **spec: Any) -> str:
    """A queue that the operator has heard of: its watch may lag behind that of WpsJobs."""
    name = product.queue(**spec)
    product.space.wait(
        lambda: product.space.get("wpsqueues", name).get("status"), "the queue to be known", 60
    )
    return name


def text_of(product: Product, name: str, tag: str) -> str:
    """A text in the stored response."""
    document = etree.parse(product.volume / "perm" / name / "executeResponse.xml")
    return "".join(element.text or "" for element in document.iter(tag))


def output(product: Product, name: str) -> list[str]:
    return text_of(product, name, "{http://www.opengis.net/wps/1.0.0}LiteralData").split(", ")


def tiles(number: int) -> list[str]:
    return [f"tile {index}" for index in range(number)]


def patch(product: Product, name: str, **spec: Any) -> None:
    product.space.patch("wpsjobs", name, {"spec": spec})


def wait_for_tiles(product: Product, name: str, number: int = 1) -> None:
    """Wait until as many pods of tiles have begun to execute them."""
    product.space.wait(lambda: len(product.begun_parts(name)) >= number, "tiles to run", 60)


def running_pods(product: Product, name: str) -> list[str]:
    query = f"?labelSelector=wps.eoxserver.org/job={name}"
    pods = product.space.items("pods", query)
    return [p["metadata"]["name"] for p in pods if p["status"]["phase"] in ("Pending", "Running")]


def test_a_town_of_24_tiles_never_runs_more_than_3_pods(product: Product) -> None:
    queue = a_queue(product, parallelism=3)
    with Watcher(product.space.name) as watcher:
        name = product.tiles(queue, 24)
        status = product.wait_phase(name, "Succeeded", 180)
        ledger = watcher.check(only=[queue])
    assert ledger.most_held[queue] == 3
    assert output(product, name) == tiles(24)
    assert status["parts"]["succeeded"] == "0-23"
    assert (status["attempt"], status["restarts"], status["progress"]["percent"]) == (1, 0, 100)
    assert product.begun_parts(name) == sorted([f"1-p{index}" for index in range(24)] + ["1"])
    product.space.wait(
        lambda: not (product.volume / "temp" / name).exists(), "what the tiles shared to go", 60
    )


def test_a_tile_that_crashes_twice_succeeds_on_the_third_attempt(product: Product) -> None:
    queue = a_queue(product, parallelism=3)
    with Watcher(product.space.name) as watcher:
        name = product.tiles(queue, 3, inputs={"crash": "1:2"}, restartLimit=2)
        status = product.wait_phase(name, "Succeeded")
        watcher.check(only=[queue])
    assert status["parts"]["restarts"] == "1:2"
    assert product.begun_parts(name) == ["1", "1-p0", "1-p1", "1-p1-r1", "1-p1-r2", "1-p2"]
    assert output(product, name) == tiles(3)


def test_a_tile_that_always_crashes_fails_the_job_and_ends_the_others(product: Product) -> None:
    queue = a_queue(product, parallelism=2)
    with Watcher(product.space.name) as watcher:
        inputs = {"crash": "1:99"}
        name = product.tiles(queue, 4, 60, inputs=inputs, restartLimit=1)
        status = product.wait_phase(name, "Failed")
        assert not running_pods(product, name)
        watcher.check(only=[queue])
    assert status["reason"] == "Crash"
    assert status["message"].startswith("Part 1 ('tile 1') failed: ")
    assert "SIGKILL" in status["message"]
    assert "given up after 1 restarts" in status["message"]
    assert (status["parts"]["failed"], status["parts"]["running"]) == ("1", "")
    product.space.wait(lambda: product.document(name) == "ProcessFailed", "the document", 30)
    assert "Part 1 ('tile 1')" in text_of(product, name, f"{OWS}ExceptionText")


def test_an_error_of_the_client_in_a_tile_is_not_repeated(product: Product) -> None:
    name = product.tiles(a_queue(product), 2, inputs={"fail": "!1"}, restartLimit=5)
    status = product.wait_phase(name, "Failed")
    assert status["reason"] == "ClientError"
    assert status["parts"]["restarts"] == ""
    product.space.wait(lambda: product.document(name) == "ProcessFailed", "the document", 30)
    said = text_of(product, name, f"{OWS}ExceptionText")
    assert "Part 1 ('tile 1') failed" in said
    assert "the client asked for it" in said


def test_a_merge_step_that_crashes_is_repeated_without_the_tiles(product: Product) -> None:
    queue = a_queue(product, parallelism=2)
    with Watcher(product.space.name) as watcher:
        name = product.tiles(queue, 2, inputs={"crash": "merge:1"})
        status = product.wait_phase(name, "Succeeded")
        watcher.check(only=[queue])
    assert (status["attempt"], status["restarts"]) == (2, 1)
    assert product.begun_parts(name) == ["1", "1-p0", "1-p1", "2"]
    assert output(product, name) == tiles(2)


def test_two_towns_take_turns(product: Product) -> None:
    queue = a_queue(product, parallelism=2, suspend=True)
    with Watcher(product.space.name) as watcher:
        names = [product.tiles(queue, 5) for _ in range(2)]
        for name in names:
            product.wait_phase(name, "Accepted")
        product.space.patch("wpsqueues", queue, {"spec": {"suspend": False}})
        for name in names:
            product.wait_phase(name, "Succeeded", 120)
        ledger = watcher.check(only=[queue])
    started = Counter[str]()
    for name, part in ledger.launches:
        if part is not None and max(started.values(), default=0) < 5:
            started[name] += 1
            assert abs(started[names[0]] - started[names[1]]) <= 1, ledger.launches


@pytest.mark.parametrize("stage", ["queue", "tiles", "merge"])
def test_a_fan_out_is_dismissed_in_each_stage(product: Product, stage: str) -> None:
    queue = a_queue(product, parallelism=2, suspend=stage == "queue")
    with Watcher(product.space.name) as watcher:
        # A merge step that crashes waits for its repetition, far longer than the test does.
        seconds, inputs = (0.0, {"crash": "merge:99"}) if stage == "merge" else (60.0, {})
        name = product.tiles(queue, 3, seconds, inputs=inputs, restartLimit=9)
        if stage == "queue":
            product.wait_phase(name, "Accepted")
        elif stage == "tiles":
            wait_for_tiles(product, name, 2)
        else:
            product.space.wait(lambda: "1" in product.begun_parts(name), "the merge step", 60)
        patch(product, name, cancel=True)
        status = product.wait_phase(name, "Dismissed")
        assert not running_pods(product, name)
        watcher.check(only=[queue])
    assert status["parts"]["running"] == "" if stage != "queue" else "parts" not in status
    product.space.wait(lambda: product.document(name) == "ProcessFailed", "the document", 30)


def test_a_fan_out_is_frozen_and_goes_on_where_it_was(product: Product) -> None:
    queue = a_queue(product, parallelism=2)
    with Watcher(product.space.name) as watcher:
        name = product.tiles(queue, 3, 3.0)
        wait_for_tiles(product, name, 2)
        product.wait_phase(name, "Started")  # tiles begin before the operator has heard of it
        patch(product, name, suspend=True)
        before = product.wait_phase(name, "Paused")
        assert len(running_pods(product, name)) == 2
        patch(product, name, suspend=False)
        status = product.wait_phase(name, "Succeeded")
        watcher.check(only=[queue])
    assert before["parts"]["running"] == "0-1"
    assert (status["attempt"], status["parts"]["restarts"]) == (1, "")
    phases = [entry["phase"] for entry in status["history"]]
    assert phases[-4:] == ["Started", "Paused", "Started", "Succeeded"]


@pytest.mark.usefixtures("operator_away")
def test_an_operator_killed_during_tiles_and_before_the_merge_loses_and_doubles_nothing(
    product: Product, tmp_path: Path
) -> None:
    """One after the other with the same fan-outs: each begins where the one before was killed."""
    queue = product.queue(parallelism=2)
    with Watcher(product.space.name) as watcher:
        names = [product.tiles(queue, number) for number in (3, 2)]
        for point in CRASH_POINTS:
            crashing = {"WPSJOBS_IDENTITY": "the-pod", "WPSJOBS_CRASH_AT": point}
            with Operator(product.space.name, tmp_path, **crashing) as operator:
                product.space.wait(partial(has_ended, operator.pid), point, 60)
                assert operator.stop() == KILLED, point
        with Operator(product.space.name, tmp_path, WPSJOBS_IDENTITY="the-pod"):
            for name, number in zip(names, (3, 2), strict=True):
                status = product.wait_phase(name, "Succeeded")
                assert (status["attempt"], status["restarts"]) == (1, 0)
                assert status["parts"]["restarts"] == ""
                assert output(product, name) == tiles(number)
                begun = [f"1-p{index}" for index in range(number)]
                assert product.begun_parts(name) == ["1", *begun]
            ledger = watcher.check(only=[queue])
    assert ledger.most_held[queue] == 2
