"""The operator is killed with WpsJobs in every phase; the next goes on from what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.watcher import Watcher
from tests.integration.kube import Space
from tests.integration.operator_process import Operator

pytestmark = pytest.mark.e2e

SAME_POD = {"WPSJOBS_IDENTITY": "the-pod"}
"""A container that is restarted in its pod: it need not wait for its own Lease to run out."""
LASTING = ("phase", "attempt", "restarts", "jobName", "sequence", "startedAt", "finishedAt")


def picture(space: Space) -> dict[str, Any]:
    """What a restart must leave alone."""
    return {
        item["metadata"]["name"]: {key: item["status"].get(key) for key in LASTING}
        for item in space.items("wpsjobs")
        if item.get("status")
    }


def children(space: Space) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in space.items("jobs")}


def bring_into_every_phase(space: Space) -> None:
    space.queue("q", parallelism=5, maxQueued=10, backoff={"initialSeconds": 8})
    space.queue("held", suspend=True)
    space.queue("closed", parallelism=0, maxQueued=0)

    def make(name: str, queue: str = "q", **spec: Any) -> None:
        space.custom("wpsjobs", name, process="Echo", queue=queue, **spec)

    for name in ("succeeded", "failed", "dismissed"):
        make(name, restartLimit=0)
        space.run_pod(f"{name}-1")
        space.wait_phase(name, "Started")
    space.end_pod("succeeded-1", 0)
    space.end_pod("failed-1", 137)
    space.patch("wpsjobs", "dismissed", {"spec": {"cancel": True}})
    space.wait_phase("succeeded", "Succeeded")
    space.wait_phase("failed", "Failed")
    space.wait_phase("dismissed", "Dismissed")
    make("rejected", "closed")
    make("accepted", "held")
    make("paused", "held", suspend=True)
    for name in ("started", "frozen", "ends", "is-cancelled", "relaunched"):
        make(name)
        space.run_pod(f"{name}-1")
        space.wait_phase(name, "Started")
    space.patch("wpsjobs", "frozen", {"spec": {"suspend": True}})
    space.wait_phase("frozen", "Paused")
    make("scheduled")
    space.wait_phase("scheduled", "Accepted")
    space.end_pod("relaunched-1", 137)
    space.wait_phase("scheduled", "Scheduled")
    space.wait_phase("relaunched", "Accepted")
    for name, phase in {"rejected": "Rejected", "accepted": "Accepted", "paused": "Paused"}.items():
        space.wait_phase(name, phase)


def test_a_restart_with_wpsjobs_in_every_phase_resumes(space: Space, tmp_path: Path) -> None:
    with Watcher(space.name) as watcher:
        with Operator(space.name, tmp_path, **SAME_POD) as operator:
            operator.wait_ready()
            bring_into_every_phase(space)
            space.pod_of("scheduled-1")
            operator.kill()
        before, launched = picture(space), children(space)
        assert {fields["phase"] for fields in before.values()} == {
            *("Accepted", "Scheduled", "Started", "Paused"),
            *("Succeeded", "Failed", "Dismissed", "Rejected"),
        }
        space.custom("wpsjobs", "unseen", process="Echo", queue="q")
        with Operator(space.name, tmp_path, **SAME_POD) as operator:
            operator.wait_ready()
            space.wait_phase("unseen", "Accepted")
            after = picture(space)
            assert {name: fields for name, fields in after.items() if name != "unseen"} == before
            assert children(space) == launched, "nothing was launched again"

            operator.kill()
            space.end_pod("ends-1", 0)
            space.patch("wpsjobs", "is-cancelled", {"spec": {"cancel": True}})
        with Operator(space.name, tmp_path, **SAME_POD):
            space.wait_phase("ends", "Succeeded")
            space.wait_phase("is-cancelled", "Dismissed")
            space.patch("wpsjobs", "frozen", {"spec": {"suspend": False}})
            space.patch("wpsjobs", "paused", {"spec": {"suspend": False}})
            space.patch("wpsqueues", "held", {"spec": {"suspend": False}})
            last = ["started-1", "frozen-1", "scheduled-1", "accepted-1", "paused-1", "unseen-1"]
            for name in [*last, "relaunched-2"]:
                space.run_pod(name)
                space.end_pod(name, 0)
            for name in [*last, "relaunched-2"]:
                space.wait_phase(name.rpartition("-")[0], "Succeeded", 60)
            ledger = watcher.check()
        assert ledger.most_held["q"] == 5
        assert ledger.holders("q") == set()
