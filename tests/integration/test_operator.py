"""The operator as a process against a real API server and its Kubernetes Job controller.

Pods are never bound to a node; the tests tell their status, as a kubelet would.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from tests.integration.kube import RefusedError, Space
from tests.integration.operator_process import Operator
from wpsjobs.api.attempt import ExitCode, TerminationMessage

pytestmark = pytest.mark.usefixtures("operator")

FAST = {"initialSeconds": 0.1, "factor": 1, "maxSeconds": 0.1}


@pytest.fixture(scope="module", autouse=True)
def echo(space: Space) -> None:
    """The process Echo, of which there is a Hillshade, too."""
    space.custom("wpsprocesses", "echo", identifier="Echo")
    space.custom("wpsprocesses", "hillshade", identifier="Hillshade")


@pytest.fixture
def queue() -> str:
    return f"q-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def job() -> str:
    return f"j-{uuid.uuid4().hex[:8]}"


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def events(space: Space, job: str) -> list[str]:
    found = space.items("events", f"?fieldSelector=involvedObject.name={job}")
    return [
        event["reason"]
        for event in sorted(found, key=lambda e: int(e["metadata"]["resourceVersion"]))
    ]


def test_a_wpsjob_goes_from_launch_over_started_to_succeeded(
    space: Space, queue: str, job: str
) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    status = space.wait_phase(job, "Scheduled")
    assert (status["attempt"], status["jobName"], status["restarts"]) == (1, f"{job}-1", 0)
    pod = space.run_pod(f"{job}-1")
    status = space.wait_phase(job, "Started")
    assert status["attempts"][0]["podName"] == pod
    # What only the pod's own kubelet and worker would tell in between.
    space.patch("wpsjobs", job, {"status": {"progress": {"percent": 70}}}, "status")
    space.end_pod(f"{job}-1", 0)
    status = space.wait_phase(job, "Succeeded")
    assert status["progress"] == {"percent": 70}
    assert status["attempts"][0]["exitCode"] == 0
    assert [entry["phase"] for entry in status["history"]] == ["Scheduled", "Started", "Succeeded"]
    truth = {c["type"] for c in status["conditions"] if c["status"] == "True"}
    assert truth == {"Accepted", "Complete"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", status["finishedAt"])
    expected = ["Scheduled", "Started", "Succeeded"]
    space.wait(lambda: events(space, job) == expected, "its Kubernetes Events")


def test_the_sequence_is_the_version_of_the_unmodified_object(
    space: Space, queue: str, job: str
) -> None:
    space.queue(queue, parallelism=0)
    made = space.custom("wpsjobs", job, process="Echo", queue=queue)
    status = space.wait_phase(job, "Accepted")
    assert status["sequence"] == int(made["metadata"]["resourceVersion"])


def test_children_belong_to_their_wpsjob_and_go_with_it(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    made = space.custom("wpsjobs", job, process="Echo", queue=queue)
    child = space.wait(lambda: space.find("jobs", f"{job}-1"), "its Kubernetes Job")
    owner = child["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"]) == (made["metadata"]["uid"], True)
    space.delete("wpsjobs", job)
    space.wait(lambda: space.find("jobs", f"{job}-1") is None, "no Kubernetes Job")


def test_a_crash_is_relaunched_up_to_the_restart_limit(space: Space, queue: str, job: str) -> None:
    space.queue(queue, backoff=FAST)
    space.custom("wpsjobs", job, process="Echo", queue=queue, restartLimit=2)
    for attempt, code in enumerate((137, ExitCode.TIMEOUT, ExitCode.CRASHED), 1):
        space.run_pod(f"{job}-{attempt}")
        space.wait_phase(job, "Started")
        assert space.status(job)["restarts"] == attempt - 1
        space.end_pod(f"{job}-{attempt}", code, TerminationMessage("it broke").to_json())
    status = space.wait_phase(job, "Failed")
    assert (status["reason"], status["restarts"], status["attempt"]) == ("Crash", 2, 3)
    assert "it broke" in status["message"]
    ends = [(entry["exitCode"], entry["reason"]) for entry in status["attempts"]]
    assert ends == [(137, "Crash"), (12, "Timeout"), (16, "Crash")]
    assert space.find("jobs", f"{job}-4") is None
    space.wait(lambda: events(space, job).count("Relaunched") == 2, "Events of the relaunches")


def test_an_error_of_the_client_is_final_at_once(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    words = TerminationMessage("azimuth: none of 0…360", "InvalidParameterValue", "azimuth")
    space.end_pod(f"{job}-1", ExitCode.CLIENT_ERROR, words.to_json())
    status = space.wait_phase(job, "Failed")
    assert (status["reason"], status["message"]) == ("ClientError", "azimuth: none of 0…360")


def test_out_of_memory_is_told_from_a_crash(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue, restartLimit=0)
    space.end_pod(f"{job}-1", 137, reason="OOMKilled")
    assert space.wait_phase(job, "Failed")["reason"] == "OutOfMemory"


def test_a_deleted_pod_is_a_crash_and_is_relaunched(space: Space, queue: str, job: str) -> None:
    space.queue(queue, backoff=FAST)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.delete("pods", space.pod_of(f"{job}-1"))
    space.wait(lambda: space.find("jobs", f"{job}-2"), "the second attempt")
    assert space.status(job)["restarts"] == 1


def test_an_expired_wpsjob_is_deleted_with_its_children(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue, ttlSecondsAfterFinished=2)
    space.end_pod(f"{job}-1", 0)
    status = space.wait_phase(job, "Succeeded")
    assert seconds_between(status["finishedAt"], status["expiresAt"]) == 2.0
    ended_at = time.monotonic()
    space.wait(lambda: space.find("wpsjobs", job) is None, "its expiry", 10)
    assert time.monotonic() - ended_at > 1.0
    space.wait(lambda: space.find("jobs", f"{job}-1") is None, "no Kubernetes Job")


def test_an_expiry_that_is_put_off_is_kept_to(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue, ttlSecondsAfterFinished=600)
    space.end_pod(f"{job}-1", 0)
    space.wait_phase(job, "Succeeded")
    space.patch("wpsjobs", job, {"spec": {"ttlSecondsAfterFinished": -1}})
    space.wait(lambda: "expiresAt" not in space.status(job), "no expiry")
    space.patch("wpsjobs", job, {"spec": {"ttlSecondsAfterFinished": 0}})
    space.wait(lambda: space.find("wpsjobs", job) is None, "its expiry")


def test_old_kubernetes_jobs_are_removed_after_keep_pods_seconds(
    space: Space, queue: str, job: str
) -> None:
    space.queue(queue, keepPodsSeconds=1)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.end_pod(f"{job}-1", 0)
    space.wait_phase(job, "Succeeded")
    space.wait(lambda: space.find("jobs", f"{job}-1") is None, "no Kubernetes Job")
    assert space.status(job)["phase"] == "Succeeded"


def test_an_unknown_process_is_told_with_those_there_are(
    space: Space, queue: str, job: str
) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Hilshade", queue=queue)
    status = space.wait_phase(job, "Failed")
    assert status["reason"] == "UnknownProcess"
    assert "Echo, Hillshade" in status["message"]


def test_an_unknown_queue_is_told_with_those_there_are(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue="nowhere")
    status = space.wait_phase(job, "Failed")
    assert status["reason"] == "UnknownQueue"
    assert queue in status["message"]


def test_a_wpsjob_seen_too_late_is_rejected(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    too_late = "2020-01-01T00:00:00Z"
    space.custom("wpsjobs", job, process="Echo", queue=queue, acceptBefore=too_late)
    assert space.wait_phase(job, "Rejected")["reason"] == "TooLate"


def test_a_full_queue_rejects_and_later_lets_in_again(space: Space, queue: str, job: str) -> None:
    space.queue(queue, parallelism=1, maxQueued=1)
    for suffix, phase in (("a", "Scheduled"), ("b", "Accepted"), ("c", "Rejected")):
        space.custom("wpsjobs", f"{job}{suffix}", process="Echo", queue=queue)
        status = space.wait_phase(f"{job}{suffix}", phase)
    assert status["reason"] == "QueueFull"
    assert queue in status["message"]
    space.end_pod(f"{job}a-1", 0)
    space.wait_phase(f"{job}b", "Scheduled")
    space.custom("wpsjobs", f"{job}d", process="Echo", queue=queue)
    space.wait_phase(f"{job}d", "Accepted")


def test_of_30_created_at_once_exactly_12_are_accepted_the_oldest_ones(
    space: Space, queue: str, job: str
) -> None:
    space.queue(queue, parallelism=2, maxQueued=10)

    def create(number: int) -> int:
        made = space.custom("wpsjobs", f"{job}-{number}", process="Echo", queue=queue)
        return int(made["metadata"]["resourceVersion"])

    with ThreadPoolExecutor(10) as pool:
        versions = dict(zip(range(30), pool.map(create, range(30)), strict=True))
    query = f"?fieldSelector=spec.queue={queue}"

    def phases() -> dict[str, str]:
        items = space.items("wpsjobs", query)
        found = {i["metadata"]["name"]: i.get("status", {}).get("phase", "") for i in items}
        return found if all(found.values()) else {}

    found = space.wait(phases, "verdicts on all")
    counts = {phase: list(found.values()).count(phase) for phase in set(found.values())}
    assert counts == {"Scheduled": 2, "Accepted": 10, "Rejected": 18}
    # Nobody is ever admitted past somebody older.
    oldest = sorted(versions, key=versions.__getitem__)
    let_in = {number for number in versions if found[f"{job}-{number}"] != "Rejected"}
    assert {f"{job}-{number}" for number in oldest[:2]} == {
        name for name, phase in found.items() if phase == "Scheduled"
    }
    assert let_in == set(oldest[:12])
    children = space.items("jobs", f"?labelSelector=wps.eoxserver.org/queue={queue}")
    assert len(children) == 2
    shown = space.wait(
        lambda: space.get("wpsqueues", queue).get("status", {}).get("queued") == 10, "its counts"
    )
    assert shown
    assert space.get("wpsqueues", queue)["status"]["running"] == 2


def test_a_held_queue_admits_when_it_is_let_go(space: Space, queue: str, job: str) -> None:
    space.queue(queue, suspend=True)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.wait_phase(job, "Accepted")
    space.patch("wpsqueues", queue, {"spec": {"suspend": False}})
    space.wait_phase(job, "Scheduled")


def test_raised_parallelism_admits_more(space: Space, queue: str, job: str) -> None:
    space.queue(queue, parallelism=1)
    for suffix in "abc":
        space.custom("wpsjobs", f"{job}{suffix}", process="Echo", queue=queue)
    space.wait_phase(f"{job}c", "Accepted")
    space.patch("wpsqueues", queue, {"spec": {"parallelism": 2}})
    space.wait_phase(f"{job}b", "Scheduled")
    assert space.status(f"{job}c")["phase"] == "Accepted"


def test_cancel_ends_the_pod_and_then_the_wpsjob(space: Space, queue: str, job: str) -> None:
    space.queue(queue, parallelism=1)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.custom("wpsjobs", f"{job}-next", process="Echo", queue=queue)
    space.run_pod(f"{job}-1")
    space.wait_phase(job, "Started")
    space.patch("wpsjobs", job, {"spec": {"cancel": True}})
    space.wait_phase(job, "Dismissed")
    space.wait_phase(f"{job}-next", "Scheduled")
    space.wait(lambda: space.find("jobs", f"{job}-1") is None, "no Kubernetes Job")


def test_a_queued_wpsjob_is_cancelled(space: Space, queue: str, job: str) -> None:
    space.queue(queue, parallelism=0)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.wait_phase(job, "Accepted")
    space.patch("wpsjobs", job, {"spec": {"cancel": True}})
    space.wait_phase(job, "Dismissed")


def test_raised_retries_run_a_failed_wpsjob_again(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.end_pod(f"{job}-1", ExitCode.PROCESS_ERROR)
    space.wait_phase(job, "Failed")
    space.patch("wpsjobs", job, {"spec": {"retries": 1}})
    space.end_pod(f"{job}-2", 0)
    status = space.wait_phase(job, "Succeeded")
    assert (status["attempt"], status["retriesSeen"]) == (2, 1)


def test_a_wpsjob_of_the_name_of_a_deleted_one_runs_itself(
    space: Space, queue: str, job: str
) -> None:
    """It is not taken for finished by the old one's Kubernetes Job, which goes a little later."""
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.end_pod(f"{job}-1", 0)
    space.wait_phase(job, "Succeeded")
    space.delete("wpsjobs", job)
    made = space.custom("wpsjobs", job, process="Echo", queue=queue)

    def child_of_the_new() -> bool:
        child = space.find("jobs", f"{job}-1")
        owner = child and child["metadata"]["ownerReferences"][0]["uid"]
        return bool(owner == made["metadata"]["uid"])

    space.wait(child_of_the_new, "a Kubernetes Job of its own")
    assert space.status(job)["phase"] == "Scheduled"


def test_a_template_that_the_api_server_refuses_holds_up_nobody_else(
    space: Space, queue: str, job: str
) -> None:
    space.queue(queue)
    bad = {"spec": {"containers": [{"name": "worker"}]}}  # no image
    space.custom("wpsqueues", f"{queue}-bad", template=bad)
    for number in range(3):
        space.custom("wpsjobs", f"{job}-bad{number}", process="Echo", queue=f"{queue}-bad")
        space.wait_phase(f"{job}-bad{number}", "Scheduled")

    def told() -> bool:
        status = space.status(f"{job}-bad0")
        return status["reason"] == "CannotStart" and "image: Required" in status["message"]

    space.wait(told, "what the API server does not take")
    for number in range(5):
        name = f"{job}-{number}"
        space.custom("wpsjobs", name, process="Echo", queue=queue)
        # Two passes each: one launches, one sees the end.
        space.end_pod(f"{name}-1", 0)
        space.wait_phase(name, "Succeeded", 3)
    good = {"spec": {"containers": [{"name": "worker", "image": "example.org/none"}]}}
    space.patch("wpsqueues", f"{queue}-bad", {"spec": {"template": good}})
    space.wait(lambda: space.find("jobs", f"{job}-bad0-1"), "the Kubernetes Job, put right")
    for number in range(3):
        space.delete("wpsjobs", f"{job}-bad{number}")


@pytest.mark.parametrize(
    "status",
    [
        {"finishedAt": "9999-12-31T23:59:59Z"},
        {"finishedAt": "0001-01-01T00:00:00+14:00"},
        {"sequence": 0, "attempt": 2_000_000_000},
        {"phase": "Started", "jobName": None, "attempts": [], "history": []},
        {"phase": "Failed", "finishedAt": None},
        {"phase": "Paused", "jobName": "another"},
    ],
)
def test_a_status_spoilt_by_hand_does_not_stop_others(
    space: Space, operator: Operator, queue: str, job: str, status: dict[str, object]
) -> None:
    space.queue(queue, backoff=FAST)
    space.custom("wpsjobs", job, process="Echo", queue=queue, ttlSecondsAfterFinished=2**31 - 1)
    space.end_pod(f"{job}-1", ExitCode.CLIENT_ERROR)
    space.wait_phase(job, "Failed")
    space.patch("wpsjobs", job, {"status": status}, "status")
    space.custom("wpsjobs", f"{job}-other", process="Echo", queue=queue)
    space.end_pod(f"{job}-other-1", 0)
    space.wait_phase(f"{job}-other", "Succeeded", 10)
    space.delete("wpsjobs", job)
    assert "pass failed" not in operator.words()


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00Z"]
)
def test_a_time_out_of_range_does_not_stop_others(
    space: Space, operator: Operator, queue: str, job: str, moment: str
) -> None:
    """Whoever may create WpsJobs could else stop the operator."""
    space.queue(queue)
    with contextlib.suppress(RefusedError):
        space.custom("wpsjobs", f"{job}-bad", process="Echo", queue=queue, acceptBefore=moment)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.wait_phase(job, "Scheduled", 10)
    assert "pass failed" not in operator.words()


# -- what it tells about itself --------------------------------------------------------------------


def test_the_probes_answer(operator: Operator) -> None:
    assert operator.ask("/healthz") == (200, "ok\n")
    assert operator.ask("/readyz") == (200, "ok\n")


def test_the_metrics_count(space: Space, operator: Operator, queue: str, job: str) -> None:
    before = operator.metric("wpsjobs_finished_total")
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.end_pod(f"{job}-1", 0)
    space.wait_phase(job, "Succeeded")
    space.wait(lambda: operator.metric("wpsjobs_finished_total") >= before + 1, "one more finished")
    assert operator.metric("wpsjobs_api_requests_total") > 0
    assert operator.metric("wpsjobs_loop_seconds_count") > 0
    assert 0 <= operator.metric("wpsjobs_list_age_seconds") < 120


def test_the_log_is_json_that_names_the_wpsjob(
    space: Space, operator: Operator, queue: str, job: str
) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.wait_phase(job, "Scheduled")
    told = [record for record in operator.records() if record.get("job") == f"{space.name}/{job}"]
    assert told
    assert told[0]["process"] == "Echo"
    json.dumps(told)


def test_nothing_of_the_operators_is_stored_on_a_wpsjob(space: Space, queue: str, job: str) -> None:
    space.queue(queue)
    space.custom("wpsjobs", job, process="Echo", queue=queue)
    space.wait_phase(job, "Scheduled")
    metadata = space.get("wpsjobs", job)["metadata"]
    assert not {"annotations", "finalizers"} & set(metadata)
