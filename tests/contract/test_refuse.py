"""What is refused leaves nothing behind: no WpsJob, no directory."""

from __future__ import annotations

import logging
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from eoxserver.services.ows.wps.exceptions import InvalidParameterValue, OWS10Exception

from tests.contract import processes, schemas
from tests.contract.conftest import ASYNCHRONOUS, Wps, write_kubeconfig
from tests.contract.fakeapi import FakeApi, Refusal, make_job
from tests.contract.test_accept import execute, execute_document
from wpsjobs.eoxserver import client

REFERENCE = (
    "<wps:Input><ows:Identifier>text</ows:Identifier>"
    '<wps:Reference xlink:href="{href}"/></wps:Input>'
)


def assert_nothing_left(wps: Wps, api: FakeApi) -> None:
    assert api.jobs == {}
    assert wps.files() == []


@pytest.mark.parametrize(
    ("process", "inputs", "locator"),
    [
        ("Unheard", {}, "process identifier"),
        ("Hillshade", {"azimuth": "north"}, "azimuth"),
        ("Hillshade", {"azimuth": "400"}, "azimuth"),
        ("Hillshade", {"azimuth": "nan"}, "azimuth"),
        ("Hillshade", {"colour": "red"}, "colour"),
        ("Inputs", {}, "required"),
        ("Inputs", {"required": ""}, "required"),
        ("Inputs", {"required": "1", "bbox": "1,2,3"}, "bbox"),
        ("Inputs", {"required": "1", "bbox": "a,b,c,d"}, "bbox"),
        ("Inputs", {"required": "1", "bbox": "1,2,3,4,EPSG:999999"}, "bbox"),
        ("Inputs", {"required": "1", "xml": "<open>"}, "xml"),
        ("Inputs", {"required": "1", "json": "{"}, "json"),
    ],
)
def test_bad_input_is_the_clients_error(
    wps: Wps, api: FakeApi, process: str, inputs: dict[str, str], locator: str
) -> None:
    answer = wps.get(process, **inputs)

    assert answer.status_code == 400, answer.content
    assert b'exceptionCode="InvalidParameterValue"' in answer.content
    assert f'locator="{locator}"'.encode() in answer.content
    schemas.check(answer.content, schemas.EXCEPTION_REPORT)
    assert_nothing_left(wps, api)
    assert api.requests == []


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ("&status=true", "InvalidParameterValue"),
        ("&storeExecuteResponse=true", "InvalidParameterValue"),
        ("&storeExecuteResponse=maybe&status=true", "NoApplicableCode"),
    ],
)
def test_an_asynchronous_execute_needs_both_flags(
    wps: Wps, api: FakeApi, form: str, code: str
) -> None:
    answer = wps.get("Hillshade", form)

    assert answer.status_code == 400, answer.content
    assert b"ExceptionReport" in answer.content
    assert_nothing_left(wps, api)


def test_an_unknown_output_or_format_is_refused(wps: Wps, api: FakeApi) -> None:
    for output in ("shadow", "hillshade@mimeType=image/gif"):
        answer = wps.get("Hillshade", ASYNCHRONOUS + f"&ResponseDocument={output}")

        assert answer.status_code == 400
        assert b"InvalidParameterValue" in answer.content
    assert_nothing_left(wps, api)


@pytest.mark.parametrize("href", ["cid:nobody", "file:///etc/passwd", "gopher://x/", "http://["])
def test_a_reference_that_nothing_can_resolve_is_refused(wps: Wps, api: FakeApi, href: str) -> None:
    document = execute_document("Echo", "", more="").replace(
        "<wps:Input><ows:Identifier>text</ows:Identifier><wps:Data></wps:Data></wps:Input>",
        REFERENCE.format(href=href),
    )
    answer = wps.post(document)

    assert answer.status_code == 400, answer.content
    assert b'locator="text"' in answer.content
    assert_nothing_left(wps, api)


def test_an_external_entity_is_not_read(wps: Wps, api: FakeApi, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do not tell")
    head = f'<!DOCTYPE wps [<!ENTITY e SYSTEM "file://{secret}">]>'
    answer = wps.post(execute_document("Echo", "<wps:LiteralData>&e;</wps:LiteralData>", head=head))

    everything = answer.content.decode() + str(api.jobs)
    assert "do not tell" not in everything


@pytest.mark.parametrize("job_id", ["../x", "a/b", "", ".hidden", "-dash", "a" * 129, "ä", "a\n"])
def test_a_job_identifier_that_is_no_file_name_is_refused(
    backend: Any, wps: Wps, api: FakeApi, job_id: str
) -> None:
    with pytest.raises(InvalidParameterValue):
        execute(backend, "Echo", job_id=job_id, text="x")
    assert_nothing_left(wps, api)


def test_a_job_identifier_is_used_once(backend: Any, wps: Wps, api: FakeApi) -> None:
    execute(backend, "Echo", job_id="mine", text="x")
    before = wps.files()

    with pytest.raises(InvalidParameterValue, match="already used"):
        execute(backend, "Echo", job_id="mine", text="x")
    assert wps.files() == before


def test_of_many_at_once_with_one_identifier_one_is_accepted(
    backend: Any, wps: Wps, api: FakeApi
) -> None:
    def one(number: int) -> bool:
        try:
            execute(backend, "Echo", job_id="mine", text=str(number))
        except InvalidParameterValue as error:
            assert "already used" in str(error)  # noqa: PT017 (most of them)
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        accepted = list(threads.map(one, range(40)))

    assert accepted.count(True) == 1
    value = api.jobs["mine"]["spec"]["execute"]["inputs"][0]["data"]
    assert value == str(accepted.index(True))
    assert wps.files() == [
        "perm/mine",
        "perm/mine/executeResponse.xml",
        "task/mine",
        "task/mine/marker.json",
    ]


def test_a_wps_job_of_that_name_made_by_others_stays(backend: Any, wps: Wps, api: FakeApi) -> None:
    api.add(make_job("theirs", process="Echo"))

    with pytest.raises(OWS10Exception, match="already used"):
        execute(backend, "Echo", job_id="theirs", text="x")
    assert "theirs" in api.jobs
    assert wps.files() == []


def test_a_full_queue_is_server_busy_with_retry_after(wps: Wps, api: FakeApi) -> None:
    api.on_created = lambda _: {"phase": "Rejected", "reason": "QueueFull", "message": "full"}
    answer = wps.get("Recorder")

    assert answer.status_code == 503
    assert answer["Retry-After"] == "10"
    assert b'exceptionCode="ServerBusy"' in answer.content
    schemas.check(answer.content, schemas.EXCEPTION_REPORT)
    assert_nothing_left(wps, api)
    assert processes.names() == ["initialize", "on_accepted", "discard"]


def test_no_verdict_in_time_is_server_busy(wps: Wps, api: FakeApi) -> None:
    api.on_created = lambda _: None
    began = time.monotonic()
    answer = wps.get("Echo", text="x")

    assert answer.status_code == 503
    assert 1.5 < time.monotonic() - began < 4.0
    assert_nothing_left(wps, api)


def test_accepted_wins_over_an_impatient_client(
    wps: Wps, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict comes after the last look and before the deletion."""
    api.on_created = lambda _: None
    delete = client.Cluster.delete_job

    def late(self: Any, name: str, **options: Any) -> None:
        if api.jobs[name].get("status") is None:
            api.set_status(name, phase="Accepted")
        delete(self, name, **options)

    monkeypatch.setattr(client.Cluster, "delete_job", late)
    answer = wps.get("Echo", text="x")

    assert answer.status_code == 200
    assert len(api.jobs) == 1


def test_a_job_that_fails_at_once_is_an_exception(wps: Wps, api: FakeApi) -> None:
    api.on_created = lambda _: {
        "phase": "Failed",
        "reason": "UnknownProcess",
        "message": "There is no process Echo; there are: NDVI",
    }
    answer = wps.get("Echo", text="x")

    assert answer.status_code == 500
    assert b"there are: NDVI" in answer.content
    assert_nothing_left(wps, api)


def test_an_exception_of_initialize_reaches_the_client(wps: Wps, api: FakeApi) -> None:
    answer = wps.get("Recorder", raise_in="initialize")

    assert answer.status_code == 400
    assert b'locator="raise_in"' in answer.content
    assert_nothing_left(wps, api)
    assert processes.names() == ["initialize", "discard"]


def test_a_cluster_that_is_not_there_is_server_busy_with_one_log_line(
    wps: Wps, api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    write_kubeconfig(wps.work, port)
    caplog.set_level(logging.INFO)
    for name in ("wpsjobs", "eoxserver", "django", "urllib3"):
        logging.getLogger(name).addHandler(caplog.handler)
    try:
        began = time.monotonic()
        answer = wps.get("Echo", text="x")
        took = time.monotonic() - began
    finally:
        for name in ("wpsjobs", "eoxserver", "django", "urllib3"):
            logging.getLogger(name).removeHandler(caplog.handler)

    assert answer.status_code == 503
    assert took < 2.5
    assert b"Traceback" not in answer.content
    assert str(port).encode() not in answer.content
    lines = {record.getMessage() for record in caplog.records}
    assert len(lines) == 1, lines
    assert_nothing_left(wps, api)


def test_a_cluster_that_goes_away_between_takes_everything_back(wps: Wps, api: FakeApi) -> None:
    api.refuse = lambda method, _: Refusal(500, "etcd is away") if method == "POST" else None
    answer = wps.get("Recorder")

    assert answer.status_code == 500
    assert_nothing_left(wps, api)
    assert processes.names() == ["initialize", "on_accepted", "discard"]


@pytest.mark.parametrize("times", [2, 1000])
def test_an_overloaded_api_server_is_asked_again_and_then_it_is_server_busy(
    wps: Wps, api: FakeApi, backend: Any, times: int
) -> None:
    refused: list[str] = []

    def refuse(method: str, path: str) -> Refusal | None:
        if method == "POST" and len(refused) < times:
            refused.append(path)
            return Refusal(429, "too many requests, please try again later")
        return None

    api.refuse = refuse
    answer = wps.get("Echo", text="x")

    if times == 2:
        assert answer.status_code == 200
        assert len(api.jobs) == 1
    else:
        assert answer.status_code == 503
        assert b"ServerBusy" in answer.content
        assert_nothing_left(wps, api)


def test_a_volume_that_cannot_be_written_to_is_not_enough_storage(wps: Wps, api: FakeApi) -> None:
    (wps.work / "task").rename(wps.work / "unmounted")
    try:
        answer = wps.get("Echo", text="x")
    finally:
        (wps.work / "unmounted").rename(wps.work / "task")

    assert answer.status_code == 507
    assert b"NotEnoughStorage" in answer.content
    assert_nothing_left(wps, api)


@pytest.mark.parametrize(
    "path", ["..%2fkubeconfig", "%2e%2e/kubeconfig", "x/../../kubeconfig", "x/.hidden", ""]
)
def test_results_outside_of_the_published_directory_are_not_served(wps: Wps, path: str) -> None:
    (wps.work / "perm" / "x").mkdir()
    (wps.work / "perm" / "x" / ".hidden").write_text("half-written")

    assert wps.http.get(f"/results/{path}").status_code == 404


def test_a_link_that_a_process_made_to_somewhere_else_is_not_served(wps: Wps) -> None:
    published = wps.work / "perm" / "x"
    published.mkdir()
    (published / "own.txt").write_text("mine")
    (published / "link.txt").symlink_to("own.txt")
    (published / "secret.txt").symlink_to(wps.work / "kubeconfig")
    os.mkfifo(published / "pipe.txt")

    answer = wps.http.get("/results/x/link.txt")
    assert b"".join(answer.streaming_content) == b"mine"
    assert answer["Content-Type"] == "text/plain"
    assert "Last-Modified" in answer
    assert wps.http.get("/results/x/secret.txt").status_code == 404
    assert wps.http.get("/results/x/pipe.txt").status_code == 404
    assert wps.http.get("/results/x").status_code == 404
