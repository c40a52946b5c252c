"""What the operator costs when there is nothing to do."""

from __future__ import annotations

import threading
import time

from tests.integration.kube import Space
from tests.integration.operator_process import Operator

SECONDS = 30.0
MOST = 0.02


def test_the_idle_operator_takes_under_2_percent_of_a_core(
    space: Space, operator: Operator
) -> None:
    """With finished, waiting and running WpsJobs there; run this file alone for a figure."""
    space.custom("wpsprocesses", "echo", identifier="Echo")
    space.queue("idle", parallelism=1)
    for name in ("done", "runs", "waits"):
        space.custom("wpsjobs", name, process="Echo", queue="idle")
        if name == "done":
            space.end_pod("done-1", 0)
            space.wait_phase("done", "Succeeded")
    space.run_pod("runs-1")
    space.wait_phase("runs", "Started")
    space.wait_phase("waits", "Accepted")
    before, began = operator.processor_seconds(), time.monotonic()
    # Nothing happens for a while: that is what is measured.
    threading.Event().wait(SECONDS)
    used, passed = operator.processor_seconds() - before, time.monotonic() - began
    assert used / passed < MOST, f"{used:.2f} s of the processor in {passed:.0f} s"
    print(f"idle: {100 * used / passed:.2f} % of a core")
