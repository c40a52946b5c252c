"""How an Execute hears of the operator's verdict: by one watch, or by looking."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.contract.conftest import Wps
from tests.contract.fakeapi import JOBS, FakeApi, Refusal
from wpsjobs.eoxserver import verdicts
from wpsjobs.eoxserver.client import Cluster

MOST_SECONDS = 10.0


def reads(api: FakeApi) -> list[tuple[str, str]]:
    """Requests that read one WpsJob."""
    return [(m, p) for m, p in api.requests if m == "GET" and p.startswith(f"{JOBS}/")]


def lists(api: FakeApi) -> int:
    """How often a watch was begun anew, each time by a list of one."""
    return api.requests.count(("GET", JOBS))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)


def wait_for_watch(backend: Any) -> None:
    until(backend._verdicts.is_live, "a watch")


@pytest.fixture
def watching(wps: Wps, api: FakeApi, backend: Any) -> Wps:
    """The service, once its watch is open."""
    assert wps.get("Echo", text="first").status_code == 200
    wait_for_watch(backend)
    api.requests.clear()
    return wps


def test_verdicts_come_by_one_watch_and_nothing_is_read(watching: Wps, api: FakeApi) -> None:
    for number in range(5):
        assert watching.get("Echo", text=str(number)).status_code == 200

    assert [method for method, _ in api.requests] == ["POST"] * 5


def test_connections_are_used_again(watching: Wps, api: FakeApi) -> None:
    before = api.connections
    for number in range(20):
        assert watching.get("Echo", text=str(number)).status_code == 200
    assert api.connections == before

    threads = 4
    with ThreadPoolExecutor(threads) as clients:
        list(clients.map(lambda n: watching.get("Echo", text=str(n)), range(40)))
    assert api.connections - before < threads


def test_many_threads_share_the_watch(watching: Wps, api: FakeApi) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: watching.get("Echo", text=str(n)), range(40)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(api.jobs) == 41
    assert lists(api) == 0
    assert reads(api) == []


def test_a_verdict_that_comes_late_is_heard_at_once(watching: Wps, api: FakeApi) -> None:
    api.on_created = lambda _: None
    judged: list[float] = []

    def judge() -> None:
        until(lambda: bool(reads(api)), "a look, for the watch has been silent for long")
        (name,) = [name for name, job in api.jobs.items() if "status" not in job]
        judged.append(time.monotonic())
        api.set_status(name, phase="Accepted")

    operator = threading.Thread(target=judge)
    operator.start()
    answer = watching.get("Echo", text="x")
    heard = time.monotonic()
    operator.join()

    assert answer.status_code == 200
    assert heard - judged[0] < verdicts.LOOK_ANYWAY / 2
    assert len(reads(api)) == 1


@pytest.mark.parametrize("phase", ["Failed", "Dismissed", "Started", "Succeeded"])
def test_a_phase_that_the_watch_does_not_show_is_read(
    watching: Wps, api: FakeApi, phase: str
) -> None:
    api.on_created = lambda _: {"phase": phase, "message": "so it is"}
    began = time.monotonic()
    answer = watching.get("Echo", text="x")

    assert answer.status_code == (500 if phase == "Failed" else 200)
    assert time.monotonic() - began < verdicts.LOOK_ANYWAY
    assert len(reads(api)) <= 1


def test_one_that_failed_soon_after_its_acceptance_was_accepted(
    watching: Wps, api: FakeApi
) -> None:
    accepted_at = "2026-01-31T09:30:00.000000Z"
    api.on_created = lambda _: {"phase": "Failed", "message": "soon", "acceptedAt": accepted_at}
    answer = watching.get("Echo", text="x")
    assert answer.status_code == 200
    assert b"ProcessAccepted" in answer.content


def test_without_a_watch_the_wps_job_is_read(wps: Wps, api: FakeApi) -> None:
    def no_list(method: str, path: str) -> Refusal | None:
        return Refusal(403, "no list") if (method, path) == ("GET", JOBS) else None

    api.refuse = no_list
    for number in range(3):
        assert wps.get("Echo", text=str(number)).status_code == 200
    assert reads(api)


def test_a_watch_that_died_unnoticed_is_opened_anew(
    watching: Wps, api: FakeApi, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as deaf:
        deaf.setattr(verdicts, "LOOK_ANYWAY", 0.1)
        deaf.setattr(verdicts.Verdicts, "tell", lambda *_: None)
        assert watching.get("Echo", text="x").status_code == 200
        assert len(reads(api)) == 1

    assert watching.get("Echo", text="y").status_code == 200
    wait_for_watch(backend)
    assert lists(api) == 1
    api.requests.clear()
    assert watching.get("Echo", text="z").status_code == 200
    assert reads(api) == []


def test_an_api_server_that_was_away_is_watched_again(api: FakeApi, wps: Wps, backend: Any) -> None:
    away = threading.Event()
    away.set()

    def refuse(method: str, path: str) -> Refusal | None:
        return Refusal(503, "away") if away.is_set() and (method, path) == ("GET", JOBS) else None

    api.refuse = refuse
    assert wps.get("Echo", text="x").status_code == 200
    assert not backend._verdicts.is_live()
    away.clear()
    wait_for_watch(backend)


def test_a_forked_process_has_a_watch_of_its_own(watching: Wps, api: FakeApi, backend: Any) -> None:
    listener: verdicts.Verdicts = backend._verdicts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point
        with listener._lock, backend._cluster._lock:  # held by "another thread" at the fork
            child = os.fork()
        if child == 0:
            code = 1
            try:
                assert not listener.is_live()
                code = 0 if watching.get("Echo", text="child").status_code == 200 else 2
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert listener.is_live()
    api.requests.clear()
    assert watching.get("Echo", text="parent").status_code == 200
    assert reads(api) == []


def test_no_watch_is_left_when_the_back_end_is_closed(watching: Wps, backend: Any) -> None:
    began = time.monotonic()
    backend.close()
    assert time.monotonic() - began < 1.0, "an open watch is not waited for"
    assert not [t for t in threading.enumerate() if t.name == "wpsjobs-verdicts"]
    assert watching.get("Echo", text="again").status_code == 200


def test_a_verdict_on_an_older_wps_job_of_the_same_name_is_not_ours(api: FakeApi) -> None:
    cluster = Cluster("wps")
    listener = verdicts.Verdicts(cluster)
    with listener.expect("mine") as expected:
        old = {"metadata": {"name": "mine", "uid": "old"}, "status": {"phase": "Rejected"}}
        listener.tell("MODIFIED", old)
        assert expected.wait("new", 1.0).job is None
        new = {"metadata": {"name": "mine", "uid": "new"}, "status": {"phase": "Accepted"}}
        listener.tell("MODIFIED", new)
        assert expected.wait("new", 1.0).job is new
    listener.close()
    cluster.close()
