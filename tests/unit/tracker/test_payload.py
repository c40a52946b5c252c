"""Inputs come back as what they were, by JSON where that can, else by a pickle."""

from __future__ import annotations

import enum
import math
import pickle
import threading
from collections import OrderedDict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.tracker.payload import decode, encode, is_same

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
ANY = st.recursive(
    PLAIN | st.binary() | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner)
    ),
)


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    """As lxml has its texts."""

    __slots__ = ()


@given(PLAIN)
def test_what_json_has_is_stored_as_json(value: Any) -> None:
    content = encode(value)
    back = decode(content)
    assert is_same(back, value) or math.inf in _numbers(value) or -math.inf in _numbers(value)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, float) else []


@given(ANY)
def test_equal_values_of_equal_types_come_back(value: Any) -> None:
    back = decode(encode(value))
    assert back == value
    assert repr(back) == repr(value)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2, 3, 4, 5),
        {1: "a"},
        {True: 1},
        {None: 1},
        {"a": [1, (2,)]},
        b"bytes",
        Colour.RED,
        Text("text"),
        {Text("key"): 1},
        OrderedDict(a=1),
        Decimal("0.1"),
        math.inf,
        {1, 2},
    ],
)
def test_what_json_would_change_is_pickled(value: Any) -> None:
    assert encode(value).startswith(b"wpsjobs-task pickle\n")
    back = decode(encode(value))
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("value", [[1, 2.0, "ü", None, True], {"a": {"b": []}}, "text", 10**400])
def test_what_json_keeps_can_be_read_in_the_file(value: Any) -> None:
    assert encode(value).startswith(b"wpsjobs-task json\n")
    assert decode(encode(value)) == value


def test_what_is_not_a_number_is_kept() -> None:
    assert math.isnan(decode(encode(math.nan)))


def test_a_circle_is_pickled() -> None:
    circle: list[Any] = []
    circle.append(circle)
    back = decode(encode(circle))
    assert back[0] is back


def test_what_cannot_be_pickled_is_the_callers_error() -> None:
    with pytest.raises((TypeError, pickle.PicklingError)):
        encode(threading.Lock())


def test_what_is_no_payload_is_not_opened() -> None:
    with pytest.raises(ValueError, match="another version"):
        decode(pickle.dumps("harm"))
