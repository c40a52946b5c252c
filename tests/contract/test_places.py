"""A client that polls is told where its job stands, and nothing is written for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract import schemas
from tests.contract.conftest import Wps
from tests.contract.fakeapi import GROUP, JOBS, NAMESPACE, VERSION, FakeApi, Refusal, make_job
from tests.contract.test_accept import execute
from wpsjobs.eoxserver import places, views
from wpsjobs.eoxserver.views import tell

QUEUE = f"/apis/{GROUP}/{VERSION}/namespaces/{NAMESPACE}/wpsqueues/default"


@pytest.fixture(autouse=True)
def queue(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A queue of one slot, and nothing remembered of other tests."""
    monkeypatch.setattr(views, "_places", None)
    api.others[QUEUE] = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "WpsQueue",
        "metadata": {"name": "default", "namespace": NAMESPACE, "uid": "q", "resourceVersion": "1"},
        "spec": {"parallelism": 1, "maxQueued": 9},
    }
    yield
    if views._places is not None:
        views._places[1].close()


def enqueue(backend: Any, api: FakeApi, *names: str) -> None:
    for number, name in enumerate(names):
        execute(backend, "Echo", job_id=name, text="x")
        api.set_status(name, phase="Accepted", sequence=number + 1)


def stored(wps: Wps, name: str) -> bytes:
    answer = wps.http.get(f"/results/{name}/executeResponse.xml")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("application/xml")
    return bytes(answer.getvalue())


def test_the_status_document_tells_the_place(wps: Wps, backend: Any, api: FakeApi) -> None:
    enqueue(backend, api, "one", "two", "three")
    before = wps.document("two")

    document = stored(wps, "two")
    assert b"Position in the queue: 2." in document
    assert b"Expected start" not in document, "nothing has ended yet"
    schemas.check(document)
    assert wps.document("two") == before


def test_the_expected_start_follows_what_jobs_took_of_late(
    wps: Wps, backend: Any, api: FakeApi
) -> None:
    times = {"scheduledAt": "2026-01-31T09:30:00Z", "finishedAt": "2026-01-31T09:31:00Z"}
    api.add(make_job("old", {"phase": "Succeeded", "sequence": 1, **times}, process="Echo"))
    enqueue(backend, api, "one", "two")

    assert b"Position in the queue: 2. Expected start: 20" in stored(wps, "two")


def test_many_polls_are_one_look(wps: Wps, backend: Any, api: FakeApi) -> None:
    enqueue(backend, api, "one", "two")
    api.requests.clear()
    for _ in range(20):
        stored(wps, "one")
        stored(wps, "two")

    assert api.requests.count(("GET", JOBS)) <= 2
    assert api.requests.count(("GET", QUEUE)) == 1


def test_a_job_that_does_not_wait_has_its_file_as_it_is(
    wps: Wps, backend: Any, api: FakeApi
) -> None:
    enqueue(backend, api, "one")
    api.set_status("one", phase="Scheduled")

    assert stored(wps, "one").decode() == wps.document("one")


def test_without_an_api_server_the_file_is_served(wps: Wps, backend: Any, api: FakeApi) -> None:
    enqueue(backend, api, "one")
    api.refuse = lambda *_: Refusal(503, "away")

    assert stored(wps, "one").decode() == wps.document("one")


def test_what_was_read_is_read_again_after_a_while(
    backend: Any, wps: Wps, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue(backend, api, "one", "two")
    now = 100.0
    found = places.Places(backend._cluster, "default", lambda: now)
    second = found.of("two")
    assert second is not None
    assert second.position == 2
    api.set_status("one", phase="Started")
    now += places.FRESH_SECONDS
    second = found.of("two")
    assert second is not None
    assert second.position == 1
    assert found.of("nobody") is None


@pytest.mark.parametrize("document", [b"ProcessAccepted", b"<a>ProcessAccepted</a>", b"<!DOCTYPE"])
def test_what_is_no_such_document_is_left_alone(document: bytes) -> None:
    assert tell(document, "words") is None
