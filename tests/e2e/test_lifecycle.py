"""What may become of a WpsJob on its way: paused, dismissed, timed out, out of memory, retried."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.deployment.release import Release
from tests.deployment.tools import apply, get, kubectl
from tests.e2e.wps import Client, job_id, stored_status, until


def _patch(client: Client, name: str, **spec: Any) -> None:
    body = json.dumps({"spec": spec})
    kubectl("patch", "wpsjob", name, "-n", client.release.namespace, "--type=merge", "-p", body)


def _phase(client: Client, name: str) -> str:
    return str(client.wpsjob(name).get("status", {}).get("phase"))


def _until_phase(client: Client, name: str, phase: str, seconds: float = 90.0) -> dict[str, Any]:
    until(lambda: _phase(client, name) == phase, f"{name} to be {phase}", seconds)
    return dict(client.wpsjob(name)["status"])


def _pods(client: Client, name: str) -> list[dict[str, Any]]:
    selector = f"wps.eoxserver.org/job={name}"
    return list(get("pods", "-n", client.release.namespace, "-l", selector)["items"])


def test_a_running_job_is_frozen_and_goes_on_where_it_was(client: Client) -> None:
    execution = client.execute("Sleep", {"seconds": "8"})
    name = job_id(execution)
    until(lambda: client.wpsjob(name)["status"].get("progress", {}).get("percent", 0) > 10, "20 %")
    _patch(client, name, suspend=True)
    _until_phase(client, name, "Paused")
    frozen = until(lambda: _steady(client, name), "the progress to stand still for two seconds", 30)
    _patch(client, name, suspend=False)
    _until_phase(client, name, "Started")
    client.finish(execution)
    assert execution.isSucceded()
    status = _until_phase(client, name, "Succeeded")
    assert frozen < 100
    assert status["attempt"] == 1, "it went on and did not begin anew"
    assert status["pausedSeconds"] > 2
    phases = [entry["phase"] for entry in status["history"]][-4:]
    assert phases == ["Started", "Paused", "Started", "Succeeded"]


def _steady(client: Client, name: str) -> int | None:
    """The progress, if it has not been updated for two seconds."""
    before = client.wpsjob(name)["status"]["progress"]
    deadline_polls = 10

    def changed() -> bool:
        nonlocal deadline_polls
        deadline_polls -= 1
        now = client.wpsjob(name)["status"]["progress"]
        return now != before or deadline_polls == 0

    until(changed, "ten looks")
    after = client.wpsjob(name)["status"]["progress"]
    return int(after["percent"]) if after == before else None


def test_a_running_job_is_dismissed(client: Client) -> None:
    execution = client.execute("Sleep", {"seconds": "300"})
    name = job_id(execution)
    _until_phase(client, name, "Started")
    _patch(client, name, cancel=True)
    status = _until_phase(client, name, "Dismissed")
    assert not [pod for pod in _pods(client, name) if pod["status"]["phase"] == "Running"]
    assert status["finishedAt"]
    client.finish(execution)
    assert stored_status(execution) == "ProcessFailed"
    assert "dismissed" in execution.errors[0].text.lower()


def test_a_frozen_job_is_dismissed(client: Client) -> None:
    execution = client.execute("Sleep", {"seconds": "300"})
    name = job_id(execution)
    _until_phase(client, name, "Started")
    _patch(client, name, suspend=True)
    _until_phase(client, name, "Paused")
    _patch(client, name, cancel=True)
    _until_phase(client, name, "Dismissed", 60)
    client.finish(execution)
    assert stored_status(execution) == "ProcessFailed"


def test_a_job_past_its_timeout_fails_with_words(client: Client) -> None:
    execution = client.execute("Sleep", {"seconds": "300"})
    name = job_id(execution)
    _patch(client, name, timeoutSeconds=3, restartLimit=0)
    status = _until_phase(client, name, "Failed")
    assert status["reason"] == "Timeout"
    assert "3 s" in status["message"]
    client.finish(execution)
    assert stored_status(execution) == "ProcessFailed"


def test_a_timeout_can_be_extended_while_it_runs(client: Client) -> None:
    execution = client.execute("Sleep", {"seconds": "8"})
    name = job_id(execution)
    _patch(client, name, timeoutSeconds=5, restartLimit=0)
    _until_phase(client, name, "Started")
    _patch(client, name, timeoutSeconds=60)
    client.finish(execution)
    assert execution.isSucceded()
    assert client.wpsjob(name)["status"]["attempt"] == 1


def test_out_of_memory_is_told_apart(client: Client) -> None:
    execution = client.execute("Hog", {"megabytes": "4000"})
    name = job_id(execution)
    _patch(client, name, restartLimit=0)
    status = _until_phase(client, name, "Failed")
    assert status["reason"] == "OutOfMemory"
    assert "memory" in status["message"]
    client.finish(execution)
    assert stored_status(execution) == "ProcessFailed"


def test_a_retry_runs_a_finished_job_again(client: Client) -> None:
    execution = client.finish(client.execute("Echo", {"text": "again"}))
    name = job_id(execution)
    _until_phase(client, name, "Succeeded")
    _patch(client, name, retries=1)
    until(lambda: client.wpsjob(name)["status"]["attempt"] == 2, "a second attempt")
    status = _until_phase(client, name, "Succeeded")
    assert (status["restarts"], status["retriesSeen"]) == (0, 1)


def test_deleting_a_running_job_ends_its_pod_and_frees_its_slot(
    client: Client, release: Release
) -> None:
    execution = client.execute("Sleep", {"seconds": "300"})
    name = job_id(execution)
    _until_phase(client, name, "Started")

    def running() -> int:
        return int(get("wpsqueue", "default", "-n", release.namespace)["status"]["running"])

    until(lambda: running() == 1, "the slot to be told as held")
    kubectl("delete", "wpsjob", name, "-n", release.namespace)
    until(lambda: not _pods(client, name), "the pod to end")
    until(lambda: running() == 0, "the slot to be free")
    until(
        lambda: requests.get(execution.statusLocation, timeout=30).status_code == 404,
        "the results to go",
    )


@pytest.fixture
def broken_queue(release: Release) -> Iterator[str]:
    """A queue whose pods cannot start, for their image and their volume are not there."""
    template = get("wpsqueue", "default", "-n", release.namespace)["spec"]["template"]
    template["spec"]["containers"][0]["image"] = "localhost/there-is-no-such-image:1"
    manifest = {
        "apiVersion": "wps.eoxserver.org/v1alpha1",
        "kind": "WpsQueue",
        "metadata": {"name": "broken", "namespace": release.namespace},
        "spec": {"parallelism": 1, "startDeadlineSeconds": 8, "template": template},
    }
    apply(manifest)
    yield "broken"
    kubectl("delete", "wpsqueue", "broken", "-n", release.namespace)


def _create(release: Release, **spec: Any) -> str:
    manifest = {
        "apiVersion": "wps.eoxserver.org/v1alpha1",
        "kind": "WpsJob",
        "metadata": {"generateName": "lifecycle-", "namespace": release.namespace},
        "spec": spec,
    }
    created = kubectl("create", "-f", "-", "-o", "name", stdin=json.dumps(manifest))
    return created.strip().partition("/")[2]


ECHO = {"inputs": [{"id": "text", "data": "a"}]}


def test_a_missing_image_fails_at_the_start_deadline_and_frees_the_slot(
    client: Client, release: Release, broken_queue: str
) -> None:
    first = _create(release, process="Echo", queue=broken_queue, execute=ECHO)
    second = _create(release, process="Echo", queue=broken_queue, execute=ECHO)
    status = _until_phase(client, first, "Failed")
    assert status["reason"] == "CannotStart"
    assert "there-is-no-such-image" in status["message"]
    assert status["attempt"] == 1
    assert _until_phase(client, second, "Failed")["reason"] == "CannotStart"
    kubectl("delete", "wpsjob", first, second, "-n", release.namespace)


def test_a_missing_volume_is_named(client: Client, release: Release) -> None:
    template = get("wpsqueue", "default", "-n", release.namespace)["spec"]["template"]
    for volume in template["spec"]["volumes"]:
        if volume["name"] == "data":
            volume["persistentVolumeClaim"]["claimName"] = "there-is-no-such-claim"
    apply(
        {
            "apiVersion": "wps.eoxserver.org/v1alpha1",
            "kind": "WpsQueue",
            "metadata": {"name": "no-volume", "namespace": release.namespace},
            "spec": {"startDeadlineSeconds": 5, "template": template},
        }
    )
    name = _create(release, process="Echo", queue="no-volume", execute=ECHO)
    try:
        status = _until_phase(client, name, "Failed")
        assert status["reason"] == "CannotStart"
        assert "there-is-no-such-claim" in status["message"]
    finally:
        kubectl("delete", "wpsjob", name, "-n", release.namespace)
        kubectl("delete", "wpsqueue", "no-volume", "-n", release.namespace)


def test_a_queued_job_waits_aside_and_is_dismissed(client: Client, release: Release) -> None:
    hold = '{"spec": {"suspend": true}}'
    kubectl("patch", "wpsqueue", "default", "-n", release.namespace, "--type=merge", "-p", hold)
    try:
        paused = job_id(client.execute("Echo", {"text": "a"}))
        execution = client.execute("Echo", {"text": "b"})
        dismissed = job_id(execution)
        assert _phase(client, paused) == "Accepted", "a held queue accepts and does not admit"
        _patch(client, paused, suspend=True)
        _until_phase(client, paused, "Paused")
        _patch(client, dismissed, cancel=True)
        _until_phase(client, dismissed, "Dismissed")
        client.finish(execution)
        assert "dismissed" in execution.errors[0].text.lower()
    finally:
        release_it = hold.replace("true", "false")
        kubectl(
            "patch",
            "wpsqueue",
            "default",
            "-n",
            release.namespace,
            "--type=merge",
            "-p",
            release_it,
        )
    assert _phase(client, paused) == "Paused"
    _patch(client, paused, suspend=False)
    _until_phase(client, paused, "Succeeded")


def test_a_process_with_wpsjobs_is_not_deleted(client: Client, release: Release) -> None:
    client.finish(client.execute("Echo", {"text": "a"}))
    until(
        lambda: get("wpsprocess", "echo", "-n", release.namespace)["status"]["jobs"] > 0, "a count"
    )
    with pytest.raises(Exception, match="delete them first"):
        kubectl("delete", "wpsprocess", "echo", "-n", release.namespace)
