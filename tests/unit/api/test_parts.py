"""The parts of a fan-out as texts in a status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.parts import MAX_PARTS, Parts, Restarts, format_indexes, parse_indexes


@pytest.mark.parametrize(
    ("indexes", "text"),
    [([], ""), ([7], "7"), ([0, 1, 2, 3, 4, 7], "0-4,7"), ([3, 1, 2], "1-3"), ([0, 2], "0,2")],
)
def test_indexes_are_written_as_intervals(indexes: list[int], text: str) -> None:
    assert format_indexes(indexes) == text
    assert parse_indexes(text, 10) == set(indexes)


@given(st.sets(st.integers(0, 300)))
def test_indexes_come_back_as_they_were(indexes: set[int]) -> None:
    assert parse_indexes(format_indexes(indexes), 301) == indexes


@pytest.mark.parametrize("text", ["x", "-3", "5-2", "1-x-", ",,", "99999999999", "²", "1.5"])
def test_an_interval_that_is_none_is_read_as_one_or_none(text: str) -> None:
    assert len(parse_indexes(text, 10)) <= 1


def test_an_interval_without_end_does_no_harm() -> None:
    assert parse_indexes("0-999999999999999", 3) == {0, 1, 2}


def test_all_of_them_come_back_as_they_were() -> None:
    parts = Parts(
        attempt=2,
        total=10,
        succeeded=frozenset({0, 1}),
        failed=frozenset({9}),
        running=frozenset({2, 3}),
        late=frozenset({3}),
        restarts={3: Restarts(2), 7: Restarts(1, 1)},
        launched_at=datetime(2026, 1, 31, 9, 30, 0, 1, tzinfo=UTC),
        reason="Crash",
        message="Part 9 failed",
    )
    raw = parts.to_json()
    assert (raw["succeeded"], raw["restarts"]) == ("0-1", "3:2,7:1+1")
    assert Parts.from_raw(raw) == parts
    assert (parts.tries(3), parts.tries(7), parts.tries(0)) == (2, 2, 0)


def test_the_parts_are_nine_tenths_of_the_progress() -> None:
    assert Parts(1, 3).percent == 0
    assert Parts(1, 3, succeeded=frozenset({1})).percent == 30
    done = Parts(1, 3, succeeded=frozenset({0, 1, 2}))
    assert (done.percent, done.complete) == (90, True)
    assert not Parts(1, 0).complete


@given(
    st.fixed_dictionaries(
        {},
        optional={
            key: st.none() | st.integers() | st.text(max_size=20) | st.lists(st.integers())
            for key in (*Parts(1, 1).to_json(), "launchedAt", "reason", "message")
        },
    )
)
def test_a_spoilt_status_is_read_without_an_error(raw: dict[str, Any]) -> None:
    parts = Parts.from_raw(raw)
    assert 0 <= parts.total <= MAX_PARTS
    assert all(index < parts.total for index in parts.running | parts.succeeded | parts.failed)


@pytest.mark.parametrize(
    "indexes", [range(MAX_PARTS), range(0, MAX_PARTS, 2), range(1, MAX_PARTS, 3)]
)
def test_the_texts_fit_into_the_schema(indexes: range) -> None:
    every = dict.fromkeys(range(MAX_PARTS), Restarts(1000, 10))
    raw = Parts(1, MAX_PARTS, running=frozenset(indexes), restarts=every).to_json()
    assert len(raw["running"]) <= 65536
    assert len(raw["restarts"]) <= 262144
