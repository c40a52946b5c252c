"""What an object says of its attempt is read as it was written, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.names import ANNOTATION_ATTEMPT, LABEL_QUEUE, LABEL_WPSJOB
from wpsjobs.api.origin import Origin

ORIGINS = st.builds(
    Origin,
    wpsjob=st.from_regex(r"[a-z0-9]{1,40}", fullmatch=True),
    uid=st.uuids().map(str),
    queue=st.from_regex(r"[a-z0-9]{1,63}", fullmatch=True),
    attempt=st.integers(1, 10**6),
    process=st.text(max_size=256),
    owner=st.none() | st.text(max_size=256),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["uid", "number", "part", "try", "owner"]), inner)
    ),
)


@given(ORIGINS)
def test_it_is_read_as_it_was_written(origin: Origin) -> None:
    assert Origin.from_metadata(origin.metadata()) == origin
    assert set(origin.metadata()["labels"]) == {LABEL_WPSJOB, LABEL_QUEUE}


@given(ORIGINS, st.integers(0, 9999), st.integers(0, 99))
def test_so_is_that_of_a_part(origin: Origin, part: int, tried: int) -> None:
    said = {**vars(origin), "part": part, "tried": tried}
    assert Origin.from_metadata(Origin(**said).metadata()) == Origin(**said)


@given(JSON)
def test_what_somebody_else_wrote_is_refused_or_read_but_breaks_nothing(said: Any) -> None:
    metadata = {
        "labels": {LABEL_WPSJOB: "a", LABEL_QUEUE: "q"},
        "annotations": {ANNOTATION_ATTEMPT: json.dumps(said)},
    }
    try:
        origin = Origin.from_metadata(metadata)
    except (KeyError, ValueError):
        return
    assert isinstance(origin.attempt, int)
    assert origin.wpsjob == "a"


@pytest.mark.parametrize("metadata", [{}, {"labels": None}, {"labels": {LABEL_WPSJOB: "a"}}])
def test_what_says_nothing_is_none_of_ours(metadata: Any) -> None:
    with pytest.raises(KeyError):
        Origin.from_metadata(metadata)
