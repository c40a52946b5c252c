"""Many clients at once, and web servers killed under them: whole or nothing."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.own import MAX_QUEUED, Own, accepted_job, status_of
from tests.e2e.wps import exception_of, until

CLIENTS, EXECUTES = 20, 200
RUN_TO_THE_END = 15
KILL_SECONDS = 5.0
KILL = """
import os, signal
from pathlib import Path
for path in Path("/proc").glob("[0-9]*/stat"):
    try:
        parent = int(path.read_text().rpartition(")")[2].split()[1])
        name = (path.parent / "cmdline").read_bytes()
    except OSError:
        continue
    if parent == 1 and b"gunicorn" in name:
        os.kill(int(path.parent.name), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def empty_queue(own: Own) -> Iterator[None]:
    """No job is there before, and the queue is not held after the test."""
    own.purge(*own.wpsjobs())
    yield
    own.hold(False)


def test_of_two_hundred_executes_each_is_accepted_or_told_to_come_again(own: Own) -> None:
    before = own.folders()
    own.hold(True)
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(lambda n: own.client.kvp("Echo", f"text={n}"), range(EXECUTES)))
    assert Counter(answer.status_code for answer in answers) == {
        200: MAX_QUEUED,
        503: EXECUTES - MAX_QUEUED,
    }
    for answer in answers:
        if answer.status_code == 503:
            assert exception_of(answer)[0] == "ServerBusy"
            assert int(answer.headers["Retry-After"]) > 0
    jobs = {accepted_job(answer) for answer in answers if answer.status_code == 200}
    assert own.wpsjobs().keys() == jobs
    assert own.folders() - before == jobs

    _owslib_is_told_too(own)
    # Most are dismissed: what they would compute is not what is tested.
    dismissed = set(sorted(jobs)[RUN_TO_THE_END:])
    for job in dismissed:
        own.patch("wpsjob", job, cancel=True)
    own.hold(False)
    for job in jobs:
        end = "ProcessFailed" if job in dismissed else "ProcessSucceeded"
        assert status_of(own.until_final(job, 240)) == end
    until(lambda: _phases(own) == {"Succeeded", "Dismissed"}, "the last phase")
    own.purge(*jobs)
    assert own.wpsjobs() == {}
    assert own.folders() == before


def _owslib_is_told_too(own: Own) -> None:
    with pytest.raises(requests.HTTPError, match="503"):
        own.client.execute("Echo", {"text": "a"})


def _phases(own: Own) -> set[str]:
    return {job["status"]["phase"] for job in own.wpsjobs().values()}


def test_web_servers_killed_in_mid_execute_leave_nothing_half_made(own: Own) -> None:
    before = own.folders()
    own.hold(True)
    accepted: list[str] = []
    over = threading.Event()

    def send() -> int:
        broken = 0
        while not over.is_set():
            try:
                answer = own.client.kvp("Echo", "text=a")
            except requests.RequestException:
                broken += 1
                continue
            if answer.status_code == 200:
                accepted.append(accepted_job(answer))
        return broken

    with ThreadPoolExecutor(6) as clients:
        sending = [clients.submit(send) for _ in range(6)]
        end = time.monotonic() + KILL_SECONDS
        while time.monotonic() < end:
            own.in_web("python", "-c", KILL)
        over.set()
        broken = sum(one.result() for one in sending)
    assert broken, "no request was hit"
    # What a killed server leaves is taken for its own work in progress until it has some age.
    for marker in (own.volume / "task").glob("*/marker.json"):
        os.utime(marker, (0, 0))
    own.manage("housekeep", "--once", "--allow-mass-removal")

    jobs = own.wpsjobs()
    assert set(accepted) <= jobs.keys(), "an accepted job is lost"
    assert {job["status"]["phase"] for job in jobs.values()} == {"Accepted"}
    assert own.folders("task") - before == jobs.keys()
    assert own.folders("perm") - before == jobs.keys()
    for job in jobs:
        assert status_of(own.document(job)) == "ProcessAccepted"
    own.purge(*jobs)
    assert own.folders() == before
