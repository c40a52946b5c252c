"""Broken copies of rules, and how hard a storm looks for what they break."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

Mutation = Callable[[pytest.MonkeyPatch], None]


def is_noticed(storm: type[RuleBasedStateMachine]) -> None:
    """Raises ``Failed`` where a thousand runs of *storm*, the same each time, find nothing."""
    quick = settings(
        max_examples=1000,
        stateful_step_count=50,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(storm, settings=quick)
