"""The time that an attempt has run for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.worker.clock import RunClock


def test_frozen_time_does_not_count() -> None:
    clock = RunClock(100.0)
    clock.freeze(110.0)
    assert clock.ran(150.0) == 10.0
    clock.freeze(120.0)  # again changes nothing
    clock.thaw(160.0)
    clock.thaw(165.0)

    assert clock.ran(170.0) == 20.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1000)), max_size=30))
def test_the_time_run_is_the_time_not_frozen(steps: list[tuple[bool, int]]) -> None:
    now, ran, frozen = 0, 0, False
    clock = RunClock(0.0)
    for freeze, seconds in steps:
        (clock.freeze if freeze else clock.thaw)(float(now))
        frozen = freeze
        now += seconds
        ran += 0 if frozen else seconds
        assert clock.ran(float(now)) == ran
