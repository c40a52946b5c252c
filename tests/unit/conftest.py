"""How thoroughly Hypothesis looks: the same each time, and elsewhere too in `make soak`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "wpsjobs",
    max_examples=150,
    deadline=None,
    database=None,
    derandomize="WPSJOBS_SOAK" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("wpsjobs")
