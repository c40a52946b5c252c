"""From an Execute to a WpsJob."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from eoxserver.services.ows.wps.parameters import InputData, ResponseDocument
from eoxserver.services.ows.wps.util import get_process_by_identifier

from tests.contract import processes, schemas
from tests.contract.conftest import Wps, job_id, only_job
from tests.contract.fakeapi import NAMESPACE_UID, FakeApi

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def test_an_execute_becomes_a_readable_wps_job(wps: Wps, api: FakeApi) -> None:
    answer = wps.get("Hillshade", azimuth="270", altitude="30")

    assert answer.status_code == 200, answer.content
    job = only_job(api)
    assert UUID.fullmatch(job["metadata"]["name"])
    spec = job["spec"]
    assert spec["process"] == "Hillshade"
    assert spec["execute"] == {
        "inputs": [
            {"id": "azimuth", "data": "270", "asUrl": True},
            {"id": "altitude", "data": "30", "asUrl": True},
        ]
    }
    assert (spec["version"], spec["queue"]) == ("1.0.0", "default")
    assert spec["owner"] == {"remoteAddress": "127.0.0.1"}
    assert spec["responseUrl"] == f"http://testserver/results/{job_id(job)}/executeResponse.xml"
    assert {"submission", "acceptBefore"} <= spec.keys()
    assert "payload" not in spec
    assert "id" not in spec


def test_the_answer_and_the_stored_document_say_accepted(wps: Wps, api: FakeApi) -> None:
    answer = wps.get("NDVI")

    url = only_job(api)["spec"]["responseUrl"]
    stored = wps.http.get(url.removeprefix("http://testserver"))
    assert stored.status_code == 200
    assert stored["Content-Type"].startswith("application/xml")
    content = b"".join(stored.streaming_content)
    for document in (answer.content, content):
        assert b"ProcessAccepted" in document
        assert url.encode() in document
        schemas.check(document)


def test_the_marker_says_whose_the_directories_are(wps: Wps, api: FakeApi) -> None:
    wps.get("Echo", text="x")

    job = only_job(api)
    marker = json.loads((wps.work / "task" / job_id(job) / "marker.json").read_text())
    assert marker["namespace_uid"] == NAMESPACE_UID
    assert marker["name"] == job["metadata"]["name"]
    assert marker["submission"] == job["spec"]["submission"]
    assert marker["process"] == "Echo"


def test_a_large_request_goes_into_a_file_whose_hash_is_in_the_spec(wps: Wps, api: FakeApi) -> None:
    text = "ä" * 50_000
    answer = wps.post(execute_document("Echo", f"<wps:LiteralData>{text}</wps:LiteralData>"))

    assert answer.status_code == 200, answer.content
    job = only_job(api)
    payload = (wps.work / "task" / job_id(job) / "request").read_bytes()
    assert "execute" not in job["spec"]
    assert job["spec"]["payload"] == {
        "sha256": hashlib.sha256(payload).hexdigest(),
        "size": len(payload),
    }


def test_embedded_xml_stays_readable_in_the_spec(wps: Wps, api: FakeApi) -> None:
    xml = '<wps:ComplexData mimeType="application/xml"><a xmlns=""><b>ü</b></a></wps:ComplexData>'
    answer = wps.post(
        execute_document(
            "Inputs",
            "<wps:LiteralData>1</wps:LiteralData>",
            identifier="required",
            more=f"<wps:Input><ows:Identifier>xml</ows:Identifier><wps:Data>{xml}</wps:Data>"
            "</wps:Input>",
        )
    )

    assert answer.status_code == 200, answer.content
    execute = only_job(api)["spec"]["execute"]
    assert "<b>ü</b>" in execute["inputs"][1]["data"]


def test_callbacks_come_in_order_and_before_the_wps_job(wps: Wps, api: FakeApi) -> None:
    seen: list[list[str]] = []

    def created(_: Any) -> dict[str, str]:
        seen.append(processes.names())
        return {"phase": "Accepted"}

    api.on_created = created
    answer = wps.get("Recorder")

    assert answer.status_code == 200, answer.content
    assert seen == [["initialize", "on_accepted"]]
    assert processes.names() == ["initialize", "on_accepted"]


def test_hidden_inputs_with_python_objects_go_into_the_payload(wps: Wps, api: FakeApi) -> None:
    wps.get("Recorder")

    assert "payload" in only_job(api)["spec"]
    assert processes.calls()[0][2] == ["\\user"]


def test_the_caller_may_choose_the_job_identifier(backend: Any, api: FakeApi) -> None:
    execute(backend, "Echo", job_id="My_Job.2026", text="x")

    job = only_job(api)
    assert job["spec"]["id"] == "My_Job.2026"
    assert job["metadata"]["name"].startswith("job-")


@pytest.mark.parametrize("verdict", ["Accepted", "Scheduled", "Paused"])
def test_any_unfinished_phase_is_an_acceptance(wps: Wps, api: FakeApi, verdict: str) -> None:
    api.on_created = lambda _: {"phase": verdict}

    assert wps.get("Echo", text="x").status_code == 200


def test_lineage_is_given_for_definitions_in_dictionary_style(wps: Wps, api: FakeApi) -> None:
    answer = wps.get("Recorder", "&storeExecuteResponse=true&status=true&lineage=true", error="no")

    assert answer.status_code == 200, answer.content
    document = wps.document(job_id(only_job(api)))
    assert "<wps:LiteralData" in document
    schemas.check(document)


def execute(backend: Any, process_id: str, job_id: str | None = None, **inputs: str) -> str:
    """Execute by a direct call, as other code of an instance does."""
    raw = {key: InputData(value, key) for key, value in inputs.items()}
    form = ResponseDocument(status=True, store_response=True)
    return str(backend.execute(get_process_by_identifier(process_id), raw, form, {}, job_id=job_id))


def execute_document(
    process: str, data: str, identifier: str = "text", more: str = "", head: str = ""
) -> str:
    """A POST request with one input."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>{head}
<wps:Execute service="WPS" version="1.0.0" xmlns:wps="http://www.opengis.net/wps/1.0.0"
    xmlns:ows="http://www.opengis.net/ows/1.1" xmlns:xlink="http://www.w3.org/1999/xlink">
  <ows:Identifier>{process}</ows:Identifier>
  <wps:DataInputs>
    <wps:Input><ows:Identifier>{identifier}</ows:Identifier><wps:Data>{data}</wps:Data></wps:Input>
    {more}
  </wps:DataInputs>
  <wps:ResponseForm>
    <wps:ResponseDocument storeExecuteResponse="true" status="true"/>
  </wps:ResponseForm>
</wps:Execute>"""
