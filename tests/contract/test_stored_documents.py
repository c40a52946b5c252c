"""Each document that may be stored: as it was agreed on (golden/), and valid by the OGC's schema.

``WPSJOBS_WRITE_GOLDEN=true`` writes the files anew; look at the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from eoxserver.services.ows.wps.parameters import (
    BoundingBox,
    BoundingBoxData,
    CDTextBuffer,
    ComplexData,
    FormatBinaryRaw,
    FormatJSON,
    FormatText,
    FormatXML,
    InputData,
    InputReference,
    LiteralData,
    Output,
    Reference,
    ResponseDocument,
)
from eoxserver.services.ows.wps.v10.execute_util import pack_outputs, parse_params
from lxml import etree

from tests.contract import schemas
from tests.contract.test_worker import read
from wpsjobs.eoxserver.documents import ResponseDocuments, UnknownProcess, read_percent, read_status

GOLDEN = Path(__file__).with_name("golden")
LOCATION = "http://testserver/results/0e6a5b6e-5d0f-4c1c-9f0d-0a8f3d0c6a51/executeResponse.xml"
TIME = "2026-01-31T09:30:00Z"


class Listed:
    """Every kind of input and output, with definitions in list style."""

    identifier = "Everything"
    title = "Everything there is"
    description = "Grüße & <Zeichen>"
    asynchronous = True
    inputs: Any = (
        ("number", LiteralData("number", float, uoms=(("m", 1.0), ("km", 1000.0)))),
        ("text", LiteralData("text", str, optional=True)),
        ("area", BoundingBoxData("area", optional=True)),
        ("tree", ComplexData("tree", FormatXML(), optional=True)),
        ("notes", ComplexData("notes", FormatText(), optional=True)),
        ("far", ComplexData("far", FormatJSON(), optional=True)),
    )
    outputs: Any = (
        ("number", LiteralData("number", float, title="A number")),
        ("area", BoundingBoxData("area")),
        ("tree", ComplexData("tree", FormatXML())),
        ("notes", ComplexData("notes", FormatText())),
        ("file", ComplexData("file", FormatBinaryRaw("image/tiff"))),
    )


class Mapped(Listed):
    """The same in dictionary style."""

    def __init__(self) -> None:
        self.inputs, self.outputs = dict(Listed.inputs), dict(Listed.outputs)


def raw_inputs() -> dict[str, Any]:
    return {
        "number": InputData("1.5", "number", uom="km"),
        "text": InputData("grüße, 世界 & <mehr>", "text", title="Ein Text"),
        "area": InputData(("-35 -8.1", "-34.8 -7.9", None), "area"),
        "tree": InputData(b"<?xml version='1.0'?><a xmlns='urn:x'><b>c</b></a>", "tree"),
        "notes": InputData("  one\n two ", "notes", mime_type="text/plain"),
        "far": InputReference("http://example.org/a.json?b=1&c=2", "far", method="GET"),
        "\\hidden": InputData(None, "\\hidden"),
    }


def form(*, lineage: bool) -> ResponseDocument:
    response = ResponseDocument(lineage=lineage, status=True, store_response=True)
    for name in ("number", "area", "tree", "notes"):
        response.set_output(Output(name))
    response.set_output(Output("file", as_reference=True))
    return response


def outputs() -> dict[str, Any]:
    notes = CDTextBuffer()
    notes.write("zwei\nZeilen")
    return {
        "number": 2.5,
        "area": BoundingBox(((-35.0, -8.1), (-34.8, -7.9))),
        "tree": etree.fromstring('<a xmlns="urn:x"><b>ü</b></a>'),
        "notes": notes,
        "file": Reference("/nowhere", f"{LOCATION.rpartition('/')[0]}/a.tif"),
    }


def documents(process: Any, *, lineage: bool) -> ResponseDocuments:
    inputs = {key: raw for key, raw in raw_inputs().items() if not key.startswith("\\")}
    return ResponseDocuments(process, form(lineage=lineage), inputs, LOCATION)


def succeeded(process: Any, *, lineage: bool) -> bytes:
    response = form(lineage=lineage)
    packed = pack_outputs(outputs(), response, parse_params(process.outputs))
    return documents(process, lineage=lineage).succeeded(packed)


STATES = {
    "accepted": lambda made: made.accepted(),
    "started": lambda made: made.started(0, None),
    "started-45": lambda made: made.started(45, "hälfte & <mehr>"),
    "failed-client": lambda made: made.failed("InvalidParameterValue", "number", "not so, nö"),
    "failed-crash": lambda made: made.failed("NoApplicableCode", "Crash", "ended by SIGKILL"),
    "failed-timeout": lambda made: made.failed("NoApplicableCode", "Timeout", "over 3600 s"),
    "dismissed": lambda made: made.failed("NoApplicableCode", "Dismissed", "was dismissed"),
    "failed-without-words": lambda made: made.failed("NoApplicableCode", None, ""),
    "failed-control-characters": lambda made: made.failed("No\x00", "a\x01", "b\x02\ud800\ufffe"),
}
STATUS = {
    "accepted": "ProcessAccepted",
    "started": "ProcessStarted",
    "succeeded": "ProcessSucceeded",
    "failed": "ProcessFailed",
    "dismissed": "ProcessFailed",
}


def agree(name: str, document: bytes) -> None:
    """*document* is the one of that name in golden/, valid, and OWSLib can read it."""
    text = re.sub(r'creationTime="[^"]+"', f'creationTime="{TIME}"', document.decode())
    path = GOLDEN / f"{name}.xml"
    if os.environ.get("WPSJOBS_WRITE_GOLDEN") == "true":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
    schemas.check(document)
    found = read_status(document)
    assert found == STATUS[name.partition("-")[0]]
    execution = read(document.decode())
    assert execution.statusLocation == LOCATION


@pytest.mark.parametrize("process", [Listed, Mapped])
@pytest.mark.parametrize("lineage", [False, True], ids=["plain", "lineage"])
@pytest.mark.parametrize("state", STATES)
def test_a_stored_document_is_as_agreed_and_valid(state: str, lineage: bool, process: type) -> None:
    document = STATES[state](documents(process(), lineage=lineage))

    agree(f"{state}-lineage" if lineage else state, document)
    assert read_percent(document) == (45 if state == "started-45" else 0)
    assert (b"<wps:DataInputs>" in document) is lineage
    assert b"hidden" not in document


@pytest.mark.parametrize("process", [Listed, Mapped])
@pytest.mark.parametrize("lineage", [False, True], ids=["plain", "lineage"])
def test_a_success_is_as_agreed_and_valid(lineage: bool, process: type) -> None:
    agree("succeeded-lineage" if lineage else "succeeded", succeeded(process(), lineage=lineage))


def test_a_process_that_is_unknown_here_fails_validly() -> None:
    made = ResponseDocuments(UnknownProcess("Überall"), ResponseDocument(), {}, LOCATION)
    document = made.failed("NoApplicableCode", "UnknownProcess", "There is no process Überall.")

    agree("failed-unknown-process", document)


def test_started_always_carries_a_percentage() -> None:
    for percent in range(100):
        document = documents(Listed(), lineage=False).started(percent, "x")
        assert f'percentCompleted="{percent}"'.encode() in document


def test_no_document_says_paused() -> None:
    for path in GOLDEN.iterdir():
        assert "ProcessPaused" not in path.read_text()
