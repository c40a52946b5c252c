"""A shared volume that is full, read-only or missing: clear words, and nothing half-made."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.e2e.own import Own, accepted_job, status_of
from tests.e2e.wps import NAMESPACES, exception_of, until


@pytest.fixture(autouse=True)
def as_before(own: Own) -> Iterator[None]:
    """Nothing is left of a refused Execute, and the queue is not held after the test."""
    folders, jobs = own.folders(), own.wpsjobs().keys()
    yield
    own.hold(False)
    assert own.wpsjobs().keys() == jobs
    assert own.folders() == folders


@contextmanager
def full(own: Own) -> Iterator[None]:
    """Not a byte is free on the volume."""
    ballast = own.volume / "ballast"
    try:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                try:
                    file.write(b"\0" * (1 << 20))
                except OSError as error:
                    assert error.errno == errno.ENOSPC  # noqa: PT017
                    raise
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(own: Own) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", own.volume], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", own.volume], check=True)


@contextmanager
def missing(own: Own) -> Iterator[None]:
    """As where the file system was unmounted under the pods."""
    away = own.volume / "away"
    away.mkdir()
    try:
        for part in ("task", "perm"):
            (own.volume / part).rename(away / part)
        yield
    finally:
        for part in ("task", "perm"):
            (away / part).rename(own.volume / part)
        away.rmdir()


@pytest.mark.parametrize("trouble", [full, read_only, missing])
def test_an_execute_is_refused_with_words(own: Own, trouble: object) -> None:
    with trouble(own):
        response = own.client.kvp("Echo", "text=a")
        code, _, text = exception_of(response)
        assert (response.status_code, code) == (507, "NotEnoughStorage")
        assert text == "The request cannot be stored."
        assert os.fspath(own.volume) not in response.text
        assert "Traceback" not in response.text
    # And goes on as soon as it can.
    own.hold(True)
    job = accepted_job(own.client.kvp("Echo", "text=a"))
    own.purge(job)


def test_a_job_that_cannot_write_fails_with_words_and_its_document_comes_later(own: Own) -> None:
    own.hold(True)
    job = accepted_job(own.client.kvp("Echo", "text=a"))
    own.patch("wpsjob", job, restartLimit=0)
    with full(own):
        own.hold(False)
        status = own.until_phase(job, "Failed")
        assert "No space left" in status["message"]
        assert status_of(own.document(job)) in {"ProcessAccepted", "ProcessStarted"}
    document = own.until_final(job)
    assert status_of(document) == "ProcessFailed"
    assert "No space left" in document.findtext(".//ows:ExceptionText", "", NAMESPACES)
    own.purge(job)
    until(lambda: job not in own.folders(), "the folders to go")
