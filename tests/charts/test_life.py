"""The life of a release: install, use, upgrade and roll back with WpsJobs running, uninstall.

Each stage is a fixture that needs the one before it, so that any test can be run by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import pytest
import requests

from tests.charts.own import One, everything
from tests.deployment.tools import get, kubectl, run
from tests.e2e.wps import job_id, until
from tests.unit.charts.rendering import CHART

OWN_INSTANCE = {"settingsModule": "settings_own", "instance": {"configMap": "instance"}}


@dataclass
class Stage:
    """WpsJobs that were there when something was done to the release."""

    running: str
    waiting: str
    refused: list[str] = field(default_factory=list)
    """What the service answered meanwhile where it did not answer."""


class Visitor:
    """A client that asks for the capabilities all the time. Use as a context manager."""

    def __init__(self, one: One) -> None:
        self.refused: list[str] = []
        self.answered = 0
        self._url = f"{one.release.wps_url}?service=WPS&version=1.0.0&request=GetCapabilities"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._visit)

    def __enter__(self) -> Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _visit(self) -> None:
        while not self._stop.wait(0.25):
            try:
                requests.get(self._url, timeout=30).raise_for_status()
                self.answered += 1
            except requests.RequestException as error:
                self.refused.append(str(error))


@pytest.fixture(scope="module")
def installed(one: One) -> One:
    return one


@pytest.fixture(scope="module")
def upgraded(installed: One) -> Stage:
    """A newer release with other pods, another instance and an operator that starts anew."""
    one = installed
    one.make_instance()
    stage = Stage(one.sleep(12), one.sleep(0.1))
    one.until_running(stage.running)
    with Visitor(one) as visitor:
        one.install("two", eoxserver=OWN_INSTANCE, operator={"logLevel": "DEBUG"})
    assert visitor.answered
    stage.refused = visitor.refused
    one.until_phase(stage.waiting, "Succeeded")
    return stage


@pytest.fixture(scope="module")
def greeting(upgraded: Stage, one: One) -> str:
    """The identifier of a WpsJob of the process that only the newer release has."""
    execution = one.client.finish(one.client.execute("Greeting", {"name": "Olinda"}))
    assert execution.isSucceded(), [error.text for error in execution.errors]
    (output,) = execution.processOutputs
    assert output.data == ["Hello Olinda"]
    return job_id(execution)


@pytest.fixture(scope="module")
def rolled_back(upgraded: Stage, greeting: str, one: One) -> Stage:
    """Back to the first release."""
    stage = Stage(one.sleep(8), one.sleep(0.1))
    one.until_running(stage.running)
    one.release.roll_back(1)
    one.until_phase(stage.waiting, "Succeeded")
    return stage


@pytest.fixture(scope="module")
def uninstalled(rolled_back: Stage, one: One) -> set[str]:
    """WpsJobs that were there when the release was uninstalled."""
    jobs = one.names("wpsjobs")
    one.release.uninstall_release()
    return jobs


def test_helm_test_tells_how_an_execute_went(installed: One) -> None:
    words = installed.release.test()
    assert "Phase:          Succeeded" in words
    assert "ProcessSucceeded" in words
    url = words.partition("clients find the result by ")[2].split()[0]
    assert url.startswith(f"{installed.release.url}/results/")
    assert "ProcessSucceeded" in requests.get(url, timeout=30).text


def test_helm_test_tells_why_an_execute_failed(installed: One) -> None:
    script = CHART / "files" / "execute.py"
    environment = {
        **os.environ,
        "SERVICE": "wpsjobs-web",
        "WPSJOBS_WEB_SERVICE_HOST": "127.0.0.1",
        "SERVICE_PORT": str(installed.release.node_port),
        "NAMESPACE": installed.namespace,
        "PUBLIC_URL": installed.release.url,
        "SECONDS": "60",
    }
    expected = {
        "Fail": ["ProcessFailed", "This process always fails.", "kubectl describe wpsjob"],
        "Missing": ["Missing was refused", "Missing"],
    }
    for process, words in expected.items():
        done = subprocess.run(
            [sys.executable, script],
            env={**environment, "PROCESS": process, "INPUTS": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        for word in words:
            assert word in done.stdout + done.stderr


def test_what_runs_finishes_on_the_old_template(upgraded: Stage, one: One) -> None:
    assert one.marks(upgraded.running) == ["one"]
    check_ran_once(one, upgraded.running)


def test_what_waits_starts_on_the_new_template(upgraded: Stage, one: One) -> None:
    assert one.marks(upgraded.waiting) == ["two"]
    check_ran_once(one, upgraded.waiting)


def test_the_service_answers_during_an_upgrade(upgraded: Stage) -> None:
    assert upgraded.refused == []


def test_a_process_that_was_added_to_the_instance_is_there(greeting: str, one: One) -> None:
    process = get("wpsprocess", "greeting", "-n", one.namespace)
    assert process["spec"] == {"identifier": "Greeting", "ttlSecondsAfterFinished": 86400}
    check_ran_once(one, greeting)


def test_a_process_that_sync_has_made_may_come_to_stand_in_the_values(
    greeting: str, one: One
) -> None:
    processes = '[{"identifier": "Greeting", "timeoutSeconds": 60}]'
    place = (str(CHART), "-n", one.namespace, "--dry-run=server", "--reset-then-reuse-values")
    told = run("helm", "upgrade", one.release.name, *place, "--set-json", f"processes={processes}")
    assert "identifier: Greeting" in told


def test_a_rollback_loses_and_repeats_nothing(rolled_back: Stage, one: One) -> None:
    assert one.marks(rolled_back.running) == ["two"]
    assert one.marks(rolled_back.waiting) == ["one"]
    for job in (rolled_back.running, rolled_back.waiting):
        check_ran_once(one, job)


def test_a_rollback_keeps_processes_that_have_wpsjobs(rolled_back: Stage, one: One) -> None:
    assert "greeting" in one.names("wpsprocesses")


def test_no_pod_has_fallen_over(rolled_back: Stage, one: One) -> None:
    for pod in get("pods", "-n", one.namespace, "-l", "app.kubernetes.io/name=wpsjobs")["items"]:
        for status in pod["status"].get("containerStatuses", []):
            assert status["restartCount"] == 0, pod["metadata"]["name"]


def test_an_uninstall_leaves_what_the_notes_say(uninstalled: set[str], one: One) -> None:
    until(lambda: strangers(one) <= {"wpsjobs-test"}, "the end of the release's own pods")
    left = everything(one.namespace, without=("events", "events.events.k8s.io"))
    found = {(item["kind"], item["metadata"]["name"]) for item in left}
    assert {name for kind, name in found if kind == "WpsJob"} == uninstalled
    of_jobs = {"WpsJob", "Job", "Pod"}
    of_others = {
        ("ConfigMap", "kube-root-ca.crt"),
        ("ServiceAccount", "default"),
        ("ConfigMap", "instance"),
    }
    ours = {(kind, name) for kind, name in found - of_others if kind not in of_jobs}
    assert {kind for kind, _ in ours} == {"PersistentVolumeClaim", "WpsProcess"}
    assert ("PersistentVolumeClaim", "wpsjobs-data") in ours


def test_an_uninstall_leaves_nothing_in_the_cluster(uninstalled: set[str], one: One) -> None:
    kinds = kubectl("api-resources", "--verbs=list", "--namespaced=false", "-o", "name").split()
    names = kubectl("get", ",".join(kinds), "-o", "name", "--ignore-not-found").split()
    mine = {name for name in names if one.namespace in name}
    assert mine == {f"namespace/{one.namespace}", f"persistentvolume/{one.namespace}"}


def test_results_outlive_an_uninstall(uninstalled: set[str], greeting: str, one: One) -> None:
    document = one.folder / "perm" / greeting / "executeResponse.xml"
    assert "Hello Olinda" in document.read_text()


def test_a_new_install_takes_over_what_was_left(uninstalled: set[str], one: One) -> None:
    one.install("three")
    assert one.queue_mark() == "three"
    assert one.names("wpsjobs") == uninstalled
    release = one.release
    name = sorted(uninstalled)[0]
    answer = requests.get(f"{release.url}/results/{name}/executeResponse.xml", timeout=30)
    assert answer.status_code == 200
    words = run("helm", "get", "notes", release.name, "--namespace", release.namespace)
    assert f"helm test {release.name} -n {release.namespace}" in words


def strangers(one: One) -> set[str]:
    """Pods and Kubernetes Jobs that are of no WpsJob."""
    return {
        item["metadata"]["name"]
        for item in get("pods,jobs", "-n", one.namespace)["items"]
        if "wps.eoxserver.org/job" not in item["metadata"].get("labels", {})
    }


def check_ran_once(one: One, job: str) -> None:
    one.until_phase(job, "Succeeded")
    status = one.status(job)
    assert status["attempt"] == 1, status
    assert status.get("restarts", 0) == 0
    assert len(status["attempts"]) == 1
