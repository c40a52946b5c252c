"""The tile job pipeline's HTTP service, on an API server and an operator that the tests play."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from demo.tiles import TOWNS
from django.test import Client, override_settings

from tests.contract.conftest import Wps, job_id, only_job
from tests.contract.fakeapi import FakeApi, Refusal
from tests.contract.pipeline.conftest import WHEN
from wpsjobs.eoxserver import config
from wpsjobs.eoxserver.client import ClusterError, UnreachableError
from wpsjobs.pipeline import service
from wpsjobs.pipeline.board import Board
from wpsjobs.pipeline.models import Town

OLINDA, RECIFE = TOWNS
TILES = OLINDA.grid.numbers()


def data(answer: Any, status: int = 200) -> Any:
    """What an answer tells; its form has to be that of every answer."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    assert answer["Access-Control-Allow-Origin"] == "*"
    body = answer.json()
    assert list(body) == ["status", "message", "data"]
    assert body["status"] == status
    if status == 200:
        assert body["message"] == "Success"
        return body["data"]
    assert body["data"] is None
    return body["message"]


def start(http: Client, **parameters: str) -> Any:
    return data(http.get("/start_job", parameters))


def post(http: Client, path: str, body: str = "", **options: Any) -> Any:
    return http.post(path, body, "application/x-www-form-urlencoded", **options)


def states(job: Any) -> list[str]:
    return [tile["state"] for tile in job["tiles"]]


def test_it_says_that_it_runs(http: Client) -> None:
    assert data(http.get("/")) == "running!"


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_town_starts_a_job_of_its_tiles(http: Client, api: FakeApi, method: str) -> None:
    job = data(
        post(http, "/start_job?town_id=11850")
        if method == "post"
        else http.get("/start_job?town_id=11850")
    )
    stored = only_job(api)

    assert job["job_id"] == stored["status"]["sequence"]
    assert job["state"] == "ready"
    assert job["town_id"] == 11850
    assert [tile["tile_id"] for tile in job["tiles"]] == list(TILES)
    assert set(states(job)) == {"ready"}
    assert stored["spec"]["process"] == "Mosaic"
    assert stored["spec"]["parts"] == [str(tile) for tile in TILES]
    assert stored["spec"]["acceptBefore"]
    assert data(http.get("/job_status", {"job_id": job["job_id"]})) == job
    assert job["log"] == [{"time": WHEN, "phase": "Accepted", "message": "queued"}]
    assert (job["result_url"], job["outputs"]) == (None, {})
    west, south, east, north = job["tiles"][0]["bounds"]
    assert -34.93 < west < east < -34.8
    assert -8.05 < south < north < -7.9


def test_tiles_start_a_job_in_their_order(http: Client, api: FakeApi) -> None:
    form = {"tile_ids": "4315,4283"}
    job = data(post(http, "/start_job", "tile_ids=4315,4283"))

    assert [tile["tile_id"] for tile in job["tiles"]] == [4315, 4283]
    assert job["town_id"] is None
    assert [tile["tile_id"] for tile in start(http, **form)["tiles"]] == [4315, 4283]
    assert len(api.jobs) == 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "Neither tile_ids nor town_id is given"),
        ("town_id=11850&tile_ids=4315", "both given"),
        ("tile_ids=", "tile_ids has ''"),
        ("tile_ids=4315,,4283", "tile_ids has ''"),
        ("tile_ids=4315;4283", "with commas between"),
        ("tile_ids=4315,-1", "'-1'"),
        ("tile_ids=4315,٤", "whole numbers"),
        ("tile_ids=99999999999", "whole numbers up to 2147483647"),
        ("tile_ids=4315,4283,4315", "tile_ids has 4315 more than once"),
        ("tile_ids=" + ",".join(map(str, range(10_001))), "a job has 10000 at most"),
        ("tile_ids=4315,5130", "no tiles of Olinda: 5130"),
        ("town_id=", "town_id is ''"),
        ("town_id=Olinda", "town_id is 'Olinda'; write a whole number"),
        ("town_id=1&town_id=2", "town_id is given more than once"),
        ("tile_id=4315", "no parameter 'tile_id'; there are tile_ids and town_id"),
    ],
)
def test_what_is_wrong_is_said(http: Client, api: FakeApi, query: str, words: str) -> None:
    assert words in data(http.get("/start_job?" + query), 400)
    assert words in data(post(http, "/start_job?" + query), 400)
    assert not api.jobs


def test_what_is_unknown_is_not_found(http: Client, api: FakeApi) -> None:
    Town.objects.create(number=7, name="Nowhere")
    try:
        assert "no town 5" in data(http.get("/start_job?town_id=5"), 404)
        assert "Nowhere (7) has no tiles" in data(http.get("/start_job?town_id=7"), 404)
    finally:
        Town.objects.get(number=7).delete()
    unknown = ",".join(map(str, range(1, 14)))
    words = data(http.get(f"/start_job?tile_ids=4315,{unknown}"), 404)
    assert words == "There is no tile 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 3 more."
    for endpoint in ("job_status", "cancel_job"):
        assert "no job 77" in data(http.get(f"/{endpoint}?job_id=77"), 404)
        assert "job_id is not given" in data(http.get(f"/{endpoint}"), 400)
        assert "job_id is '1e3'" in data(http.get(f"/{endpoint}?job_id=1e3"), 400)
    assert not api.jobs


def test_a_full_queue_is_busy_and_leaves_nothing(http: Client, api: FakeApi, wps: Wps) -> None:
    api.on_created = lambda _: {"phase": "Rejected", "reason": "QueueFull", "sequence": 1}
    answer = http.get("/start_job?town_id=11850")

    assert "the queue is full" in data(answer, 503)
    assert answer["Retry-After"] == "10"
    assert not api.jobs
    assert wps.files() == []


def test_a_silent_cluster_is_busy(http: Client, api: FakeApi) -> None:
    api.refuse = lambda _method, _path: Refusal(500, "etcd is away")
    for path in ("/job_status?job_id=1", "/cancel_job?job_id=1", "/list_jobs"):
        answer = http.get(path)
        assert "cluster does not answer" in data(answer, 503)
        assert answer["Retry-After"] == "10"


def test_a_job_whose_number_is_not_told_is_not_started_again(
    http: Client, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_name: str) -> None:
        raise UnreachableError("connection reset", sent=True)

    monkeypatch.setattr(service.board_of(config.load()).cluster, "get_job", lost)
    words = data(http.get("/start_job?town_id=11850"), 503)

    assert "Do not start it again" in words
    assert job_id(only_job(api)) in words


def test_states_are_those_of_the_phases(http: Client, api: FakeApi) -> None:
    job = start(http, tile_ids="4315,4283,4318,4286")
    name = only_job(api)["metadata"]["name"]

    def told(**status: Any) -> Any:
        api.set_status(name, **status)
        return data(http.get("/job_status", {"job_id": job["job_id"]}))

    parts = {"attempt": 1, "total": 4, "running": "1-2", "succeeded": "0", "restarts": "1:2"}
    found = told(phase="Started", attempt=1, startedAt=WHEN, scheduledAt=WHEN, parts=parts)
    assert found["state"] == "in progress"
    assert states(found) == ["finished", "in progress", "in progress", "ready"]
    assert [tile["restarts"] for tile in found["tiles"]] == [0, 2, 0, 0]
    assert found["started_at"] == "2026-01-31T09:30:00Z"

    found = told(phase="Paused")
    assert (found["state"], found["paused"]) == ("in progress", True)

    done = {**parts, "running": "", "succeeded": "0-3"}
    found = told(phase="Accepted", parts=done, progress={"percent": 90, "message": "all tiles"})
    assert (found["state"], found["progress"]) == ("in progress", 90), "waits for the last slot"

    failed = {**parts, "running": "2", "failed": "1"}
    found = told(phase="Failed", parts=failed, message="tile 4283: no such file", finishedAt=WHEN)
    assert found["state"] == "failed"
    assert states(found) == ["finished", "failed", "cancelled", "cancelled"]
    assert found["message"] == "tile 4283: no such file"

    assert told(phase="Dismissed")["state"] == "cancelled"
    assert told(phase="Succeeded", parts=done)["progress"] == 100


def test_the_outputs_of_a_finished_job_are_told(http: Client, api: FakeApi, wps: Wps) -> None:
    job = start(http, town_id="11850")
    stored = only_job(api)
    (wps.work / "perm" / job_id(stored) / "executeResponse.xml").write_text(
        """<wps:ExecuteResponse xmlns:wps="http://www.opengis.net/wps/1.0.0"
              xmlns:ows="http://www.opengis.net/ows/1.1"><wps:ProcessOutputs>
          <wps:Output><ows:Identifier>mean</ows:Identifier>
            <wps:Data><wps:LiteralData>1.5</wps:LiteralData></wps:Data></wps:Output>
          <wps:Output><ows:Identifier>mosaic</ows:Identifier>
            <wps:Reference href="http://testserver/results/m.tif" mimeType="image/tiff"/>
          </wps:Output>
          <wps:Output><ows:Identifier>bounds</ows:Identifier><wps:Data><wps:BoundingBoxData>
            <ows:LowerCorner>-35 -8.1</ows:LowerCorner><ows:UpperCorner>-34.5 -8</ows:UpperCorner>
            </wps:BoundingBoxData></wps:Data></wps:Output>
        </wps:ProcessOutputs></wps:ExecuteResponse>"""
    )
    api.set_status(stored["metadata"]["name"], phase="Succeeded", finishedAt=WHEN)
    found = data(http.get("/job_status", {"job_id": job["job_id"]}))

    assert found["result_url"] == "http://testserver/results/m.tif"
    assert found["outputs"] == {
        "mean": {"value": "1.5"},
        "mosaic": {"href": "http://testserver/results/m.tif", "mime_type": "image/tiff"},
        "bounds": {"bounds": [-35.0, -8.1, -34.5, -8.0]},
    }


def test_a_job_is_cancelled_once(http: Client, api: FakeApi) -> None:
    job = start(http, town_id="11850")
    name = only_job(api)["metadata"]["name"]
    path = f"/cancel_job?job_id={job['job_id']}"
    conflicts = [Refusal(409, "the object has been modified")]
    api.refuse = lambda method, _: conflicts.pop() if method == "PATCH" and conflicts else None

    assert data(post(http, path))["cancelling"] is True
    assert not conflicts, "what changes at the same moment is read again"
    assert api.jobs[name]["spec"]["cancel"] is True
    assert data(http.get(path))["cancelling"] is True, "again is no error"
    api.set_status(name, phase="Dismissed", history=[{"phase": "Dismissed", "time": WHEN}])
    assert "is cancelled already" in data(http.get(path), 409)
    for phase, word in (("Succeeded", "finished"), ("Failed", "failed")):
        api.set_status(name, phase=phase)
        assert f"is {word} already" in data(http.get(path), 409)


def test_jobs_of_other_processes_are_none_of_its_business(
    http: Client, api: FakeApi, wps: Wps
) -> None:
    wps.get("Echo", text="hello")
    sequence = only_job(api)["status"]["sequence"]

    data(http.get(f"/job_status?job_id={sequence}"), 404)
    data(http.get(f"/cancel_job?job_id={sequence}"), 404)
    assert only_job(api)["spec"]["cancel"] is False
    assert data(http.get("/list_jobs"))["jobs"] == []


def test_the_list_has_the_newest_first_and_filters(http: Client, api: FakeApi) -> None:
    first = start(http, town_id="11850")
    second = start(http, town_id="11606")
    found = data(http.get("/list_jobs"))
    assert [job["job_id"] for job in found["jobs"]] == [second["job_id"], first["job_id"]]
    assert set(found["jobs"][0]) == set(second) - {"log", "result_url", "outputs", "response_url"}
    found = data(http.get("/list_jobs?limit=1"))
    assert (found["total"], len(found["jobs"])) == (2, 1)
    (job,) = data(http.get("/list_jobs?town_id=11850&state=ready"))["jobs"]
    assert job["job_id"] == first["job_id"]
    assert data(http.get("/list_jobs?state=failed"))["jobs"] == []
    assert "write one of ready, in progress" in data(http.get("/list_jobs?state=done"), 400)
    assert "from 1 to 500" in data(http.get("/list_jobs?limit=0"), 400)


def test_who_knows_the_answer_gets_none(http: Client, api: FakeApi) -> None:
    job = start(http, town_id="11850")
    for path in ("/list_jobs", f"/job_status?job_id={job['job_id']}", "/list_towns", "/jobs"):
        etag = http.get(path)["ETag"]
        again = http.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.content) == (304, b"")
    api.set_status(only_job(api)["metadata"]["name"], phase="Started")
    etag = http.get(f"/job_status?job_id={job['job_id']}", headers={"If-None-Match": etag})
    assert etag.status_code == 200


def test_one_reading_serves_all_who_ask_meanwhile(http: Client, api: FakeApi, backend: Any) -> None:
    start(http, town_id="11850")
    start(http, town_id="11606")
    now = 100.0
    board = Board(backend._cluster, clock=lambda: now)

    def asked() -> list[str]:
        before = len(api.requests)
        board.jobs(("Mosaic",))
        return [method for method, _ in api.requests[before:]]

    assert asked() == ["GET"]
    assert asked() == []
    now += 1.1
    assert asked() == ["GET"], "the unfinished ones alone"
    olinda, recife = api.jobs
    api.set_status(olinda, phase="Succeeded")
    api.remove(recife)
    now += 1.1
    board._all_read_at = now
    assert asked() == ["GET", "GET", "GET"], "and those that are no longer among them"
    assert [job["state"] for job in board.jobs(("Mosaic",))] == ["finished"]
    board._all_took = 1.0
    now += 19.0
    assert asked() == ["GET"]
    start(http, town_id="11606")
    api.set_status(next(name for name in api.jobs if name != olinda), phase="Failed")
    now += 1.1
    asked()
    assert {job["state"] for job in board.jobs(("Mosaic",))} == {"finished", "failed"}


def test_who_waits_for_a_reading_that_fails_waits_for_no_other(api: FakeApi, backend: Any) -> None:
    now = 100.0
    board = Board(backend._cluster, clock=lambda: now)
    api.refuse = lambda _method, _path: Refusal(500, "etcd is away")
    for _ in range(3):
        with pytest.raises(ClusterError, match="etcd is away"):
            board.jobs(("Mosaic",))
    assert len(api.requests) == 1
    api.refuse = lambda _method, _path: None
    now += 1.1
    assert board.jobs(("Mosaic",)) == []


@override_settings(WPSJOBS_PIPELINE_CHANGING_GETS=False, CSRF_TRUSTED_ORIGINS=["https://a.test"])
def test_a_setting_turns_changing_gets_off(http: Client, api: FakeApi) -> None:
    for path in ("/start_job?town_id=11850", "/cancel_job?job_id=1"):
        answer = http.get(path)
        assert "use POST" in data(answer, 405)
        assert answer["Allow"] == "POST, OPTIONS"
        foreign = post(http, path, headers={"Origin": "https://evil.test"})
        assert "comes from 'https://evil.test'" in data(foreign, 403)
        data(post(http, path, headers={"Origin": "null"}), 403)
    assert not api.jobs
    for origin in ("http://testserver", "https://a.test"):
        data(post(http, "/start_job?town_id=11850", headers={"Origin": origin}))
    data(post(http, "/start_job?town_id=11850"))
    assert len(api.jobs) == 3


def test_other_methods_change_nothing(http: Client, api: FakeApi) -> None:
    for method in ("head", "put", "delete", "patch"):
        answer = getattr(http, method)("/start_job?town_id=11850")
        assert answer.status_code == 405
        assert answer["Allow"] == "GET, POST, OPTIONS"
    assert http.head("/list_jobs").status_code == 200
    preflight = http.options("/start_job")
    assert preflight.status_code == 204
    assert preflight["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert not api.jobs


def test_a_body_is_a_form_of_bounded_size(http: Client) -> None:
    answer = http.post("/start_job", json.dumps({"town_id": 11850}), "application/json")
    assert "application/x-www-form-urlencoded" in data(answer, 415)
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=20):
        assert "20 bytes" in data(post(http, "/start_job", "tile_ids=" + "1" * 20), 413)
    many = "&".join(f"a{number}=1" for number in range(1001))
    data(post(http, "/start_job", many), 400)


def test_the_page_is_shipped_and_asks_nobody_else(http: Client) -> None:
    answer = http.get("/jobs")
    assert answer["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert "img-src 'self' http://testserver;" in answer["Content-Security-Policy"]
    page = answer.content.decode()
    for name in ("jobs.css", "jobs.js", "map.js", "icon.svg"):
        assert f'"jobs/{name}"' in page or name == "map.js"
        asset = http.get(f"/jobs/{name}")
        assert asset.status_code == 200
        assert b"http://" not in asset.content.replace(b"http://www.w3.org/", b"")
        assert b"https://" not in asset.content
    for name in ("jobs.html", "openapi.json", "nothing.js", "%2e%2e"):
        assert http.get(f"/jobs/{name}").status_code == 404


def test_the_description_is_served(http: Client) -> None:
    shipped = Path(service.__file__).with_name("openapi.json")
    answer = http.get("/openapi.json")
    assert answer.content == shipped.read_bytes()
    assert answer["Access-Control-Allow-Origin"] == "*"
