"""Times as Kubernetes has them."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.times import format_time, later, parse_time

ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=ZONES,
)


@given(MOMENTS)
def test_a_moment_comes_back_as_it_was(moment: datetime) -> None:
    text = format_time(moment)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text)
    assert parse_time(text) == moment


@given(MOMENTS, MOMENTS)
def test_texts_are_in_the_order_of_their_moments(one: datetime, other: datetime) -> None:
    assert (format_time(one) < format_time(other)) is (one < other)


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2026-01-31T09:30:00Z", 0),
        ("2026-01-31T09:30:00.5Z", 500_000),
        ("2026-01-31T10:30:00.123456789+01:00", 123_456),
    ],
)
def test_all_forms_of_kubernetes_are_read(text: str, microseconds: int) -> None:
    assert parse_time(text) == datetime(2026, 1, 31, 9, 30, 0, microseconds, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-01-31",
        "2026-01-31T09:30:00",
        "2026-02-30T09:30:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_what_is_no_moment_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(text)


@given(st.text(max_size=40))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_time(text).tzinfo is UTC


@given(MOMENTS, st.floats(0, 1e18))
def test_later_is_never_earlier(moment: datetime, seconds: float) -> None:
    assert later(moment.astimezone(UTC), seconds) >= moment


def test_later_is_exact_where_it_can_be() -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    assert later(moment, 90) == moment + timedelta(seconds=90)
