"""A stored request that is not the one that was submitted is never opened, and the job says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.own import Own, accepted_job, status_of
from tests.e2e.wps import NAMESPACES, until


@pytest.fixture(autouse=True)
def go_on(own: Own) -> Iterator[None]:
    """The queue is not held after the test."""
    yield
    own.hold(False)


def changed(own: Own, payload: Path) -> None:
    """What is asked for is something else, in as many bytes."""
    content = payload.read_bytes()
    assert content.count(b"succeed") == 1
    payload.write_bytes(content.replace(b"succeed", b"client!"))


def foreign(own: Own, payload: Path) -> None:
    """It is another job's, and a good one there."""
    other = accepted_job(own.client.kvp("Recorder", "act=raise"))
    shutil.copyfile(own.volume / "task" / other / "request", payload)
    own.purge(other)


def missing(own: Own, payload: Path) -> None:
    payload.unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (changed, "not the one that was submitted"),
        (foreign, "not the one that was submitted"),
        (missing, "cannot be read"),
    ],
)
def test_the_job_fails_with_that_reason(
    own: Own, damage: Callable[[Own, Path], None], words: str
) -> None:
    own.hold(True)
    job = accepted_job(own.client.kvp("Recorder", "act=succeed"))
    assert set(own.client.wpsjob(job)["spec"]["payload"]) == {"sha256", "size"}
    damage(own, own.volume / "task" / job / "request")
    own.hold(False)
    status = own.until_phase(job, "Failed")

    assert status["reason"] == "BadRequest"
    assert words in status["message"]
    assert status["restarts"] == 0, "another attempt would find the same file"
    document = own.until_final(job)
    assert status_of(document) == "ProcessFailed"
    assert words in document.findtext(".//ows:ExceptionText", "", NAMESPACES)
    until(lambda: "on_failed" in own.names(job), "on_failed")
    assert own.names(job) == ["initialize", "on_accepted", "on_failed"]
    own.purge(job)
