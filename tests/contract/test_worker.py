"""A job pod's supervisor and its child, at work on a WpsJob."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from eoxserver.services.ows.wps.parameters import (
    InputData,
    InputReference,
    ResponseDocument,
)
from eoxserver.services.ows.wps.util import get_process_by_identifier
from owslib.wps import WPSExecution

from tests.contract import processes, schemas
from tests.contract.conftest import Ended, StartWorker, Wps, job_id, only_job
from tests.contract.fakeapi import NAMESPACE_UID, FakeApi, Refusal, make_job
from tests.contract.test_accept import execute, execute_document
from wpsjobs.api.attempt import Environment, ExitCode

RunWorker = Callable[..., Ended]


def name_of(api: FakeApi) -> str:
    return str(only_job(api)["metadata"]["name"])


def started_percent(wps: Wps, job: str) -> int | None:
    try:
        found = re.search(r'percentCompleted="(\d+)"', wps.document(job))
    except FileNotFoundError:
        return None
    return int(found.group(1)) if found else None


# The way to the final document


def test_outputs_are_published_and_the_document_is_final(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Hillshade")
    ended = run_worker(name_of(api))

    job = job_id(only_job(api))
    assert ended.code == ExitCode.SUCCEEDED, ended.output
    document = wps.document(job)
    schemas.check(document)
    execution = read(document)
    assert execution.status == "ProcessSucceeded"
    (output,) = execution.processOutputs
    assert output.reference == f"http://testserver/results/{job}/hillshade.tif"
    answer = wps.http.get(f"/results/{job}/hillshade.tif")
    assert answer["Content-Type"] == "image/tiff"
    assert b"".join(answer.streaming_content)[:4] in {b"II*\0", b"MM\0*"}
    assert not (wps.work / "temp" / job).exists()


def test_the_vegetation_index_has_a_mean(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    wps.get("NDVI")
    assert run_worker(name_of(api)).code == ExitCode.SUCCEEDED

    outputs = {o.identifier: o for o in read(wps.document(name_of(api))).processOutputs}
    assert -1.0 < float(outputs["mean"].data[0]) < 1.0
    assert outputs["ndvi"].reference.endswith("/ndvi.tif")


def test_callbacks_run_in_order(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    wps.get("Recorder")
    ended = run_worker(name_of(api))

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert processes.names() == [
        "initialize",
        "on_accepted",
        "on_started",
        "execute",
        "on_progress_update",
        "on_succeeded",
    ]
    execute_call = processes.calls()[3]
    assert execute_call[1] is True, "the working directory is the workspace"
    assert execute_call[2] == [1, 2], "a set survives the way to the worker"
    assert (wps.work / "perm" / name_of(api) / "made.txt").read_text() == "published"


def test_inputs_arrive_as_they_were_sent(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    """What goes through the WpsJob's spec is what a synchronous execution gets."""
    others = "".join(
        f"<wps:Input><ows:Identifier>{key}</ows:Identifier><wps:Data>{data}</wps:Data></wps:Input>"
        for key, data in {
            "literal": '<wps:LiteralData uom="km">1.50</wps:LiteralData>',
            "bbox": "<wps:BoundingBoxData><ows:LowerCorner>-35 -8.10</ows:LowerCorner>"
            "<ows:UpperCorner>-34.8 -7.9</ows:UpperCorner></wps:BoundingBoxData>",
            "xml": '<wps:ComplexData><e xmlns="urn:x" n="ü">ß</e></wps:ComplexData>',
            "json": '<wps:ComplexData>{"a": ["ö", 1.0]}</wps:ComplexData>',
            "text": "<wps:ComplexData>  Zeile\n\tzwei &lt;ä&gt; </wps:ComplexData>",
        }.items()
    )
    document = execute_document(
        "Inputs", "<wps:LiteralData>7</wps:LiteralData>", identifier="required", more=others
    )
    synchronous = document.replace('storeExecuteResponse="true" status="true"', "")
    expected = read(wps.post(synchronous).content.decode()).processOutputs[0].data
    wps.post(document)
    assert "payload" not in only_job(api)["spec"]
    run_worker(name_of(api))

    found = read(wps.document(name_of(api))).processOutputs[0].data
    assert json.loads(found[0]) == json.loads(expected[0])
    assert json.loads(found[0])["literal"] == 1500.0


def test_progress_goes_to_the_document_and_to_the_api(
    wps: Wps, api: FakeApi, start_worker: StartWorker
) -> None:
    wps.get("Sleep", seconds="2.5")
    name = name_of(api)
    worker = start_worker(name)
    api.wait_for(lambda: api.progress(name).get("percent", 0) >= 40)

    document = wps.document(name)
    schemas.check(document)
    execution = read(document)
    assert execution.status == "ProcessStarted"
    assert 40 <= execution.percentCompleted <= 99
    assert worker.wait().code == ExitCode.SUCCEEDED
    last = api.progress(name)
    assert last["percent"] == 100
    assert last["finalising"] is True


def test_progress_is_patched_at_most_twice_a_second_and_the_latest_always(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Hog", megabytes="300")
    ended = run_worker(name_of(api))

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    sent = [patch["status"]["progress"] for _, patch in api.patches]
    times = [datetime.fromisoformat(progress["updatedAt"]) for progress in sent]
    # The last one does not wait: nothing follows it.
    gaps = [(after - before).total_seconds() for before, after in pairwise(times[:-1])]
    assert all(gap > 0.45 for gap in gaps), gaps
    assert sent[-1]["finalising"] is True


def test_lineage_repeats_the_inputs_in_the_final_document(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get(
        "Echo",
        "&storeExecuteResponse=true&status=true&lineage=true&ResponseDocument=text",
        text="grüße",
    )
    run_worker(name_of(api))

    document = wps.document(name_of(api))
    schemas.check(document)
    assert "<wps:DataInputs>" in document
    assert "<wps:OutputDefinitions>" in document
    assert document.count("grüße") == 2


def test_parts_of_a_multipart_request_reach_the_process(
    backend: Any, wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    """By a direct call, as other code of an instance does; test_references.py has HTTP."""
    raw = {
        "required": InputData("1", "required"),
        "text": InputReference("cid:part1", "text", method="GET"),
    }
    form = ResponseDocument(status=True, store_response=True)
    parts = {"part1": b"from a part"}
    name = backend.execute(get_process_by_identifier("Inputs"), raw, form, parts)
    ended = run_worker(name)

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert "from a part" in wps.document(name)


# Failures


def test_an_exception_of_the_process_is_left_to_the_operator(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Fail", message="größer als erlaubt")
    ended = run_worker(name_of(api))

    assert ended.code == ExitCode.PROCESS_ERROR
    assert ended.termination is not None
    assert ended.termination.message == "größer als erlaubt"
    assert ended.termination.locator == "RuntimeError"
    assert "Traceback" in ended.output
    assert "ProcessStarted" in wps.document(name_of(api)), "another attempt may follow"
    assert "on_failed" not in processes.names()
    assert not (wps.work / "temp" / name_of(api)).exists()


def test_the_clients_own_error_is_final(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    wps.get("Recorder", error="client")
    ended = run_worker(name_of(api))

    assert ended.code == ExitCode.CLIENT_ERROR
    document = wps.document(name_of(api))
    schemas.check(document)
    execution = read(document)
    assert "ProcessFailed" in document
    assert (execution.errors[0].code, execution.errors[0].locator) == (
        "InvalidParameterValue",
        "error",
    )
    assert processes.names()[-1] == "on_failed"
    assert api.progress(name_of(api))["finalising"] is True


def test_a_reference_that_cannot_be_fetched_is_the_clients_error(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.http.get(
        "/ows?service=WPS&version=1.0.0&request=Execute&identifier=Echo&storeExecuteResponse=true"
        "&status=true&DataInputs=text=@xlink:href=http%3A%2F%2F127.0.0.1%3A9%2Fnothing"
    )
    ended = run_worker(name_of(api))

    assert ended.code == ExitCode.CLIENT_ERROR, ended.output
    assert read(wps.document(name_of(api))).errors[0].locator == "text"


def test_a_process_that_kills_itself_has_crashed(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Crash")
    ended = run_worker(name_of(api))

    assert ended.code == ExitCode.CRASHED
    assert ended.termination is not None
    assert "SIGKILL" in ended.termination.message
    # the last progress is sent, though its sender is dead
    assert api.progress(name_of(api))["percent"] == 50


def test_a_timeout_ends_the_process(wps: Wps, api: FakeApi, run_worker: RunWorker) -> None:
    wps.get("Sleep", seconds="60")
    ended = run_worker(name_of(api), **{Environment.TIMEOUT_SECONDS: "2"})

    assert ended.code == ExitCode.TIMEOUT
    assert ended.termination is not None
    assert "2 s" in ended.termination.message


def test_a_timeout_in_the_spec_goes_before_the_one_of_the_launch(
    wps: Wps, api: FakeApi, start_worker: StartWorker
) -> None:
    wps.get("Sleep", seconds="60")
    name = name_of(api)
    worker = start_worker(name, **{Environment.TIMEOUT_SECONDS: "600"})
    api.wait_for(lambda: api.progress(name) != {})
    api.set_spec(name, timeoutSeconds=1)

    assert worker.wait(20).code == ExitCode.TIMEOUT


def test_sigterm_is_passed_on(wps: Wps, api: FakeApi, start_worker: StartWorker) -> None:
    wps.get("Sleep", seconds="60")
    name = name_of(api)
    worker = start_worker(name)
    api.wait_for(lambda: api.progress(name) != {})
    worker.process.send_signal(signal.SIGTERM)

    assert worker.wait(10).code == ExitCode.TERMINATED


def test_a_deleted_wps_job_ends_its_worker(
    wps: Wps, api: FakeApi, start_worker: StartWorker
) -> None:
    wps.get("Sleep", seconds="60")
    name = name_of(api)
    worker = start_worker(name)
    api.wait_for(lambda: api.progress(name) != {})
    api.remove(name)

    assert worker.wait(10).code == ExitCode.TERMINATED


def test_suspend_freezes_and_resume_goes_on_with_nothing_lost(
    wps: Wps, api: FakeApi, start_worker: StartWorker
) -> None:
    wps.get("Sleep", seconds="3")
    name = name_of(api)
    worker = start_worker(name, **{Environment.TIMEOUT_SECONDS: "6"})
    api.wait_for(lambda: api.progress(name).get("percent", 0) >= 33)
    child = only_child(worker.process.pid)
    api.set_spec(name, suspend=True)
    wait_until(lambda: state_of(child) == "T")
    percent = started_percent(wps, name)
    # Longer than is left of the timeout, which does not run meanwhile.
    wait_until(lambda: False, seconds=5.0)
    assert started_percent(wps, name) == percent
    api.set_spec(name, suspend=False)

    assert worker.wait(15).code == ExitCode.SUCCEEDED
    assert "<wps:LiteralData" in wps.document(name)


# Who may work on it


def test_a_pod_that_is_not_the_current_attempt_does_nothing(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Recorder")
    name = name_of(api)
    api.set_status(name, phase="Scheduled", attempt=2, jobName=f"{name}-2")
    before = wps.files()
    ended = run_worker(name, 1, launch=False)

    assert ended.code == ExitCode.SUPERSEDED
    assert wps.files() == before
    assert processes.names() == ["initialize", "on_accepted"]
    assert api.patches == []


def test_a_second_pod_of_one_attempt_does_nothing(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Fail")
    name = name_of(api)
    assert run_worker(name).code == ExitCode.PROCESS_ERROR

    assert run_worker(name).code == ExitCode.SUPERSEDED


def test_a_superseded_attempt_never_makes_its_response_final(
    wps: Wps, api: FakeApi, start_worker: StartWorker
) -> None:
    """The admission policy refuses its "finalising"."""
    wps.get("Sleep", seconds="1")
    name = name_of(api)
    worker = start_worker(name)
    api.wait_for(lambda: api.progress(name) != {})
    api.refuse = lambda method, _: Refusal(403, "not yours") if method == "PATCH" else None
    api.set_status(name, attempt=2, jobName=f"{name}-2")
    ended = worker.wait(15)

    assert ended.code == ExitCode.SUPERSEDED, ended.output
    assert "ProcessSucceeded" not in wps.document(name)


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(503, "away"),
        Refusal(403, "no rights are known yet"),
        Refusal(422, "the policy cannot be evaluated yet"),
    ],
    ids=["away", "without rights", "without policies"],
)
def test_finalising_outlasts_an_api_server_that_is_away(
    wps: Wps, api: FakeApi, start_worker: StartWorker, refusal: Refusal
) -> None:
    wps.get("Sleep", seconds="0.2")
    name = name_of(api)
    failures = 4

    def refuse(method: str, _: str) -> Refusal | None:
        nonlocal failures
        if method == "PATCH" and failures:
            failures -= 1
            return refusal
        if method == "GET" and 0 < failures < 4 and refusal.status == 403:
            return refusal  # nor does it tell whether the attempt is the current one
        return None

    api.refuse = refuse

    assert start_worker(name).wait(30).code == ExitCode.SUCCEEDED
    assert "ProcessSucceeded" in wps.document(name)


def test_an_attempt_after_a_final_success_succeeds_at_once(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    """The attempt before died between its last act and its exit."""
    wps.get("Recorder")
    name = name_of(api)
    run_worker(name)
    before, document = processes.names(), wps.document(name)

    assert run_worker(name, 2).code == ExitCode.SUCCEEDED
    assert processes.names() == before
    assert wps.document(name) == document


def test_a_job_that_is_asked_for_again_runs_again(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Recorder")
    name = name_of(api)
    run_worker(name)
    api.set_status(name, retriesSeen=1)

    assert run_worker(name, 2).code == ExitCode.SUCCEEDED
    assert processes.names().count("execute") == 2


# Requests that cannot be trusted, and jobs made by hand


@pytest.mark.parametrize("damage", ["changed", "longer", "missing", "link"])
def test_a_payload_that_is_not_the_submitted_one_is_never_opened(
    wps: Wps, api: FakeApi, run_worker: RunWorker, tmp_path: Path, damage: str
) -> None:
    wps.get("Recorder")
    name = name_of(api)
    payload = wps.work / "task" / name / "request"
    original = payload.read_bytes()
    if damage == "changed":
        payload.write_bytes(bytes([original[0] ^ 1]) + original[1:])
    elif damage == "longer":
        payload.write_bytes(original + b"x")
    else:
        payload.unlink()
        if damage == "link":
            (tmp_path / "other").write_bytes(original)
            payload.symlink_to(tmp_path / "other")
    ended = run_worker(name)

    assert ended.code == ExitCode.BAD_REQUEST, ended.output
    assert ended.termination is not None
    assert "stored request" in ended.termination.message
    assert "execute" not in processes.names()


def test_a_job_made_by_hand_is_prepared_first(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    inputs = [{"id": "error", "data": ""}]
    api.add(make_job("by-hand", process="Recorder", execute={"inputs": inputs}))
    ended = run_worker("by-hand")

    # Recorder's hidden input is filled by the web server only, so that it cannot succeed.
    assert ended.code == ExitCode.PROCESS_ERROR, ended.output
    assert processes.names()[:3] == ["initialize", "on_accepted", "on_started"]
    marker = json.loads((wps.work / "task" / "by-hand" / "marker.json").read_text())
    assert marker["namespace_uid"] == NAMESPACE_UID


def test_a_job_made_by_hand_with_a_bounding_box_succeeds(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    inputs = [{"id": "required", "data": "3"}, {"id": "bbox", "bbox": [-35, -8.1, -34.8, -7.9]}]
    api.add(make_job("by-hand", process="Inputs", execute={"inputs": inputs}))

    assert run_worker("by-hand").code == ExitCode.SUCCEEDED
    assert "-8.1" in wps.document("by-hand")


def test_a_job_made_by_hand_with_bad_input_fails_as_an_execute_would(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    api.add(make_job("by-hand", process="Hillshade", execute={"inputs": []}))
    api.set_spec("by-hand", execute={"inputs": [{"id": "azimuth", "data": "up"}]})

    assert run_worker("by-hand").code == ExitCode.CLIENT_ERROR
    assert read(wps.document("by-hand")).errors[0].locator == "azimuth"


def test_an_unknown_process_is_named_beside_those_there_are(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    api.add(make_job("by-hand", process="Unheard"))
    ended = run_worker("by-hand")

    assert ended.code == ExitCode.BAD_REQUEST
    assert ended.termination is not None
    assert "'Unheard'" in ended.termination.message
    assert "Hillshade, Hog, Inputs, Mosaic, NDVI" in ended.termination.message


def test_a_request_in_the_spec_that_is_none_is_refused(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    api.add(make_job("by-hand", process="Echo", execute={"inputs": [{"id": "text"}]}))
    ended = run_worker("by-hand")

    assert ended.code == ExitCode.BAD_REQUEST
    assert ended.termination is not None
    assert "exactly one of data, href and bbox" in ended.termination.message


# Logs


def test_logs_are_kept_where_the_queue_says_so(
    backend: Any, wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    execute(backend, "Fail", job_id="kept", message="in the log")
    ended = run_worker("kept", **{Environment.KEEP_LOGS: "true"})

    log = (wps.work / "task" / "kept" / "1.log").read_text()
    assert "RuntimeError: in the log" in log
    assert "RuntimeError: in the log" in ended.output
    assert [path.name for path in (wps.work / "perm" / "kept").iterdir()] == ["executeResponse.xml"]


def test_the_supervisor_is_small(wps: Wps, api: FakeApi, start_worker: StartWorker) -> None:
    wps.get("Sleep", seconds="60")
    name = name_of(api)
    worker = start_worker(name)
    api.wait_for(lambda: api.progress(name) != {})
    api.wait_for(lambda: len(api.patches) >= 2)
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1))  # type: ignore[union-attr]

    assert peak < 25 * 1024, f"{peak} kB"


def read(document: str) -> Any:
    """As OWSLib reads it."""
    execution = WPSExecution()
    execution.checkStatus(response=document.encode(), sleepSecs=0)
    return execution


def only_child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll until *condition* holds or *seconds* have passed."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        os.sched_yield()
        time.sleep(0.02)
