"""Execute requests on their way through the WpsJob or a payload file."""

from __future__ import annotations

from typing import Any

from eoxserver.services.ows.wps.parameters import (
    BoundingBoxData,
    ComplexData,
    FormatXML,
    InputData,
    InputReference,
    LiteralData,
    Output,
    ResponseDocument,
)
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.request import MAX_EXECUTE_BYTES
from wpsjobs.eoxserver.requests import WpsRequest

DEFINITIONS: dict[str, Any] = {
    "literal": ("literal", LiteralData("literal", str, optional=True)),
    "bbox": ("bbox", BoundingBoxData("bbox", optional=True)),
    "xml": ("xml", ComplexData("xml", FormatXML(), optional=True)),
}
TEXT = st.text(max_size=30)
OPTIONAL = st.none() | TEXT
NUMBERS = st.floats(allow_nan=True).map(repr) | st.integers().map(str) | TEXT
CORNER = st.lists(NUMBERS, min_size=1, max_size=3).map(" ".join)
DATA = (
    TEXT
    | st.binary(max_size=20)
    | st.just(b"<?xml version='1.0' encoding='utf-8'?>\n<a>\xc3\xbc</a>")
    | st.just("<?xml version='1.0'?><a/>")
    | st.tuples(CORNER, CORNER, OPTIONAL)
    | st.none()
    | st.integers()
)


@st.composite
def raw_inputs(draw: st.DrawFn) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    for key in draw(st.sets(st.sampled_from([*DEFINITIONS, "other"]))):
        form = {name: draw(OPTIONAL) for name in ("mime_type", "encoding", "schema")}
        if draw(st.booleans()):
            inputs[key] = InputData(
                draw(DATA),
                key,
                draw(OPTIONAL),
                uom=draw(OPTIONAL),
                asurl=draw(st.booleans()),
                **form,
            )
        else:
            inputs[key] = InputReference(
                draw(TEXT),
                key,
                headers=draw(st.none() | st.just({"Accept": "text/xml"})),
                body=draw(st.none() | st.just("body")),
                method=draw(st.sampled_from([None, "GET", "POST"])),
                **form,
            )
    if draw(st.booleans()):
        inputs["\\hidden"] = draw(st.none() | st.sets(st.integers()))
    return inputs


@st.composite
def requests(draw: st.DrawFn) -> WpsRequest:
    form = ResponseDocument(lineage=draw(st.booleans()), status=True, store_response=True)
    for key in draw(st.sets(st.sampled_from(["a", "b"]))):
        form.set_output(Output(key, draw(OPTIONAL), as_reference=draw(st.none() | st.booleans())))
    parts = draw(st.just({}) | st.just({"part": b"\x00\xff"}))
    return WpsRequest(draw(raw_inputs()), form, parts)


@given(requests())
def test_what_goes_into_the_spec_loses_nothing(request: WpsRequest) -> None:
    neutral = request.to_neutral(DEFINITIONS)
    if neutral is None:
        return
    assert len(neutral.to_bytes()) <= MAX_EXECUTE_BYTES
    assert request.is_same(WpsRequest.from_neutral(neutral, DEFINITIONS))
    assert not any(key.startswith("\\") for key in request.raw_inputs)
    assert not request.extra_parts


@given(requests())
def test_a_payload_file_loses_nothing(request: WpsRequest) -> None:
    assert request.is_same(WpsRequest.from_payload(request.to_payload()))


@given(st.dictionaries(st.sampled_from([*DEFINITIONS]), st.text(st.characters(codec="utf-8"))))
def test_plain_texts_are_readable_in_the_spec(texts: dict[str, str]) -> None:
    texts = {key: text for key, text in texts.items() if not text.startswith("<?xml")}
    request = WpsRequest(
        {key: InputData(text, key) for key, text in texts.items()},
        ResponseDocument(status=True, store_response=True),
    )
    neutral = request.to_neutral(DEFINITIONS)

    assert neutral is not None
    assert {item.id: item.data for item in neutral.inputs} == texts
