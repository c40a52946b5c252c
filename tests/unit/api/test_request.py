"""The Execute request as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.request import (
    MAX_EXECUTE_BYTES,
    ExecuteRequest,
    Input,
    Output,
    RequestError,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
OPTIONAL = st.none() | TEXT
IDENTIFIER = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
BBOX = st.sampled_from([2, 4, 6]).flatmap(lambda size: st.tuples(*[NUMBER] * size))
VALUES = (
    st.fixed_dictionaries({"data": TEXT})
    | st.fixed_dictionaries({"href": TEXT})
    | st.fixed_dictionaries({"bbox": BBOX})
)
FORM = dict.fromkeys(
    ("title", "abstract", "mime_type", "encoding", "schema", "uom", "crs"), OPTIONAL
)


@st.composite
def inputs(draw: st.DrawFn) -> Input:
    form = draw(st.fixed_dictionaries({**FORM, "as_url": st.booleans()}))
    return Input(id=draw(IDENTIFIER), **draw(VALUES), **form)


OUTPUTS = st.builds(Output, id=IDENTIFIER, **FORM, as_reference=st.none() | st.booleans())
REQUESTS = st.builds(
    ExecuteRequest,
    inputs=st.lists(inputs(), max_size=5, unique_by=lambda item: item.id).map(tuple),
    outputs=st.lists(OUTPUTS, max_size=5, unique_by=lambda item: item.id).map(tuple),
    lineage=st.booleans(),
    raw=st.booleans(),
)


@given(REQUESTS)
def test_json_gives_back_the_same_request(request: ExecuteRequest) -> None:
    assert ExecuteRequest.from_json(json.loads(json.dumps(request.to_json()))) == request
    assert ExecuteRequest.from_json(json.loads(request.to_bytes())) == request


@given(REQUESTS)
def test_a_request_fits_exactly_where_its_json_is_small_enough(request: ExecuteRequest) -> None:
    assert request.fits() == (len(request.to_bytes()) <= MAX_EXECUTE_BYTES)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["inputs", "outputs", "id", "data", "bbox"]), inner)
        ),
        max_leaves=12,
    )
)
def test_any_json_is_parsed_or_refused_with_words(raw: object) -> None:
    try:
        ExecuteRequest.from_json(raw)
    except RequestError as error:
        assert str(error)  # noqa: PT017 (either way is right)


@pytest.mark.parametrize(
    ("execute", "words"),
    [
        ([], "spec.execute must be an object, not a list"),
        ({"input": []}, "unknown field 'input'; there are inputs, lineage, outputs, raw"),
        ({"inputs": {}}, "inputs must be a list, not an object"),
        ({"inputs": ["x"]}, r"inputs\[0\] must be an object, not a string"),
        ({"inputs": [{"data": "1"}]}, r"inputs\[0\] must have an id"),
        ({"inputs": [{"id": "a"}]}, "exactly one of data, href and bbox; it has none"),
        ({"inputs": [{"id": "a", "data": "1", "href": "x"}]}, "it has data and href"),
        ({"inputs": [{"id": "a", "data": 1}]}, "must be a string, not a number; write it in quot"),
        ({"inputs": [{"id": "a", "data": "1"}, {"id": "a", "data": "2"}]}, "id 'a' twice"),
        ({"inputs": [{"id": "a", "bbox": [1, 2, 3]}]}, "2, 4 or 6 numbers"),
        ({"inputs": [{"id": "a", "bbox": [1, "2"]}]}, "finite numbers"),
        ({"inputs": [{"id": "a", "bbox": [1, 10**400]}]}, "finite numbers"),
        ({"inputs": [{"id": "a", "data": "x" * 9000}]}, "more than 8192 characters"),
        ({"outputs": [{"id": "a", "asReference": "yes"}]}, "must be true or false, not a string"),
        ({"outputs": [{"id": "a", "data": "1"}]}, "unknown field 'data'"),
        ({"lineage": None, "raw": 1}, "raw must be true or false, not a number"),
    ],
)
def test_what_is_wrong_is_said(execute: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        ExecuteRequest.from_json(execute)


def test_half_characters_do_not_fit() -> None:
    """A lone surrogate cannot be written as UTF-8."""
    assert not ExecuteRequest(inputs=(Input(id="a", data="\ud800"),)).fits()


def test_defaults_are_left_out() -> None:
    request = ExecuteRequest(
        inputs=(Input(id="a", data=""),), outputs=(Output(id="b", as_reference=False),)
    )

    assert request.to_json() == {
        "inputs": [{"id": "a", "data": ""}],
        "outputs": [{"id": "b", "asReference": False}],
    }
