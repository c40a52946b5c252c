"""The operator is killed between its writes; its successor goes on from what is stored."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kube import Space
from tests.integration.operator_process import Operator


@pytest.fixture(autouse=True)
def echo(space: Space) -> Iterator[None]:
    name = f"echo-{uuid.uuid4().hex[:6]}"
    space.custom("wpsprocesses", name, identifier="Echo")
    yield
    space.delete("wpsprocesses", name)


def test_a_slot_that_was_taken_before_a_crash_gets_its_kubernetes_job(
    space: Space, tmp_path: Path
) -> None:
    """As left by an operator that died after the write-ahead and before the Kubernetes Job."""
    space.queue("ahead", parallelism=1)
    space.custom("wpsjobs", "ahead", process="Echo", queue="ahead")
    status = {"phase": "Scheduled", "sequence": 1, "attempt": 1, "jobName": "ahead-1"}
    space.patch("wpsjobs", "ahead", {"status": status}, "status")
    space.custom("wpsjobs", "behind", process="Echo", queue="ahead")
    with Operator(space.name, tmp_path):
        space.wait(lambda: space.find("jobs", "ahead-1"), "the Kubernetes Job")
        space.wait_phase("behind", "Accepted")
        assert space.status("ahead")["attempt"] == 1
        assert space.find("jobs", "behind-1") is None
        space.end_pod("ahead-1", 0)
        space.wait_phase("ahead", "Succeeded")
        space.wait_phase("behind", "Scheduled")


def test_a_kubernetes_job_that_was_made_before_a_crash_is_not_made_twice(
    space: Space, tmp_path: Path
) -> None:
    space.queue("twice")
    with Operator(space.name, tmp_path) as operator:
        space.custom("wpsjobs", "twice", process="Echo", queue="twice")
        child = space.wait(lambda: space.find("jobs", "twice-1"), "the Kubernetes Job")
        space.run_pod("twice-1")
        operator.kill()
    with Operator(space.name, tmp_path):
        space.wait_phase("twice", "Started")
        assert space.get("jobs", "twice-1")["metadata"]["uid"] == child["metadata"]["uid"]
        assert space.status("twice")["attempt"] == 1
        space.end_pod("twice-1", 0)
        space.wait_phase("twice", "Succeeded")


def test_what_ended_and_expired_while_no_operator_ran_is_seen_to(
    space: Space, tmp_path: Path
) -> None:
    space.queue("absent", keepPodsSeconds=0)
    with Operator(space.name, tmp_path) as operator:
        space.custom("wpsjobs", "ends", process="Echo", queue="absent")
        space.custom(
            "wpsjobs", "expires", process="Echo", queue="absent", ttlSecondsAfterFinished=1
        )
        space.custom("wpsjobs", "crashes", process="Echo", queue="absent", restartLimit=0)
        space.end_pod("expires-1", 0)
        space.wait_phase("expires", "Succeeded")
        space.pod_of("ends-1")
        space.pod_of("crashes-1")
        operator.kill()
    space.end_pod("ends-1", 0)
    space.end_pod("crashes-1", 137)
    space.wait(lambda: space.get("jobs", "ends-1")["status"].get("succeeded"), "its end")
    with Operator(space.name, tmp_path):
        space.wait_phase("ends", "Succeeded")
        space.wait_phase("crashes", "Failed")
        space.wait(lambda: space.find("wpsjobs", "expires") is None, "its expiry")


def test_killed_at_random_moments_every_wpsjob_runs_once_within_the_limits(
    space: Space, tmp_path: Path
) -> None:
    """Each attempt but the first would be a relaunch, and nothing fails here."""
    chance = random.Random(7)  # noqa: S311 - reproducible, not secret
    names = [f"storm-{number}" for number in range(12)]
    space.queue("storm", parallelism=3)
    for name in names:
        space.custom("wpsjobs", name, process="Echo", queue="storm")
    over = 0
    # At how many ended pods the operator is killed; none ends after that before it is.
    kill_at = sorted(chance.sample(range(9), 3))
    operator = Operator(space.name, tmp_path)
    operator.start()
    try:
        ended: set[str] = set()

        def step() -> bool:
            nonlocal over
            children = space.items("jobs", "?labelSelector=wps.eoxserver.org/queue=storm")
            open_ones = [
                child["metadata"]["name"]
                for child in children
                if not any(c["status"] == "True" for c in child["status"].get("conditions", []))
            ]
            # A Kubernetes Job whose pod has ended makes no other and needs no slot.
            over += len(set(open_ones) - ended) > 3
            for name in open_ones:
                pods = space.items("pods", f"?labelSelector=batch.kubernetes.io/job-name={name}")
                kill_is_due = kill_at and len(ended) >= kill_at[0]
                if pods and name not in ended and not kill_is_due and chance.random() < 0.4:
                    space.end_pod(name, 0)
                    ended.add(name)
            if kill_at and len(ended) >= kill_at[0] and operator.ask("/readyz")[0] == 200:
                operator.kill()
                del kill_at[0]
                operator.start()
            return all(space.status(name).get("phase") == "Succeeded" for name in names)

        space.wait(step, "all Succeeded", 150)
    finally:
        operator.stop()
    assert not kill_at
    assert over == 0
    assert ended == {f"{name}-1" for name in names}
    for name in names:
        status = space.status(name)
        assert (status["attempt"], status.get("restarts", 0)) == (1, 0)
        assert [e["phase"] for e in status["history"]].count("Scheduled") == 1


def test_the_operator_ends_by_sigterm_with_0(space: Space, tmp_path: Path) -> None:
    with Operator(space.name, tmp_path) as operator:
        operator.wait_ready()
        assert operator.stop() == 0


def test_wrong_settings_end_it_with_a_word(space: Space, tmp_path: Path) -> None:
    with Operator(space.name, tmp_path, WPSJOBS_LIST_SECONDS="often") as operator:
        space.wait(lambda: "WPSJOBS_LIST_SECONDS" in operator.words(), "its words")
        assert operator.stop() != 0
        assert "Traceback" not in operator.words()
