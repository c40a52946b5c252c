"""Tasks of wpsjobs.tracker on the installed release: web pods enqueue, pods run the handlers."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.settings import REPOSITORY
from tests.deployment.release import Release
from tests.deployment.tools import apply, get, kubectl
from tests.e2e.wps import until

EXAMPLE = REPOSITORY / "examples" / "10-sequence-sum"
FOLDER = "/etc/e2e-tracker"
SECONDS = 120.0
HANDLERS = '''\
import os
import pathlib
import signal
import time


def crash_once(status, input):
    """The first attempt is killed."""
    mark = pathlib.Path(input)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    mark.unlink()
    status.storeResponse(b"\\x00 the second time", "application/octet-stream")


def fail(status, input):
    status.setFailure("no more of %d" % sum(input))


def sleep(status, input):
    status.setPaused("for a nap")
    time.sleep(input)
'''
ENQUEUE = """
from wpsjobs.tracker import *
from wpsjobs.eoxserver import config

mark = str(config.load().path_task.parent / {mark!r})
registerTaskType("E2E Crash", "e2e_handlers.crash_once", maxrestart=1)
registerTaskType("E2E Fail", "e2e_handlers.fail")
registerTaskType("E2E Sleep", "e2e_handlers.sleep", timeout=15, maxrestart=0)
enqueueTask("E2E Crash", "one", mark)
enqueueTask("E2E Fail", "one", {{1, 2, 3}}, "a set")
enqueueTask("E2E Sleep", "one", 600)
"""
LOOK = """
import json
from wpsjobs.tracker import *

found = {}
for kind in ("E2E Crash", "E2E Fail", "E2E Sleep"):
    found[kind] = [record[1:] for record in getTaskLog(kind, "one")]
    found[kind].append(getTaskStatusByIdentifier(kind, "one"))
print(json.dumps(found))
"""
TAKE = """
import time
from django.db.models import ProtectedError
from wpsjobs.tracker import *

print(getTaskResponse("E2E Crash", "one"))
for kind in ("E2E Crash", "E2E Fail", "E2E Sleep"):
    try:
        unregisterTaskType(kind)
    except ProtectedError:
        print("protected")
    unregisterTaskType(kind, force=True)
"""


@dataclass(frozen=True)
class Tasks:
    """A queue of the test's own, whose pods have the test's handlers."""

    release: Release
    queue: str

    def run(self, code: str) -> str:
        """What a program in the web pod prints."""
        command = ("env", f"WPSJOBS_TRACKER_QUEUE={self.queue}", "python", "-")
        web = f"deployment/{self.release.name}-web"
        place = ("-i", web, "-c", "eoxserver", "-n", self.release.namespace)
        return kubectl("exec", *place, "--", *command, stdin=code)

    def wpsjobs(self) -> list[dict[str, Any]]:
        """The tasks' WpsJobs."""
        items = get("wpsjobs", "-n", self.release.namespace)["items"]
        return [item for item in items if item["spec"]["queue"] == self.queue]


@pytest.fixture(scope="module")
def tasks(release: Release) -> Iterator[Tasks]:
    name = f"e2e-tracker-{uuid.uuid4().hex[:8]}"
    namespace = release.namespace
    files = {path.name: path.read_text() for path in EXAMPLE.glob("*.py")}
    apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace},
            "data": {**files, "e2e_handlers.py": HANDLERS},
        }
    )
    template = copy.deepcopy(get("wpsqueue", "tracker", "-n", namespace)["spec"]["template"])
    add_modules(template["spec"], name)
    apply(
        {
            "apiVersion": "wps.eoxserver.org/v1alpha1",
            "kind": "WpsQueue",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"backoff": {"initialSeconds": 0}, "template": template},
        }
    )
    one = Tasks(release, name)
    yield one
    for job in one.wpsjobs():
        kubectl("delete", "wpsjob", job["metadata"]["name"], "-n", namespace)
    kubectl("delete", f"wpsqueue/{name}", f"configmap/{name}", "-n", namespace)


def add_modules(pod: dict[str, Any], config_map: str) -> None:
    """Mount the modules of *config_map* where the pod's Python finds them."""
    container = pod["containers"][0]
    pod["volumes"].append({"name": "modules", "configMap": {"name": config_map}})
    container["volumeMounts"].append({"name": "modules", "mountPath": FOLDER, "readOnly": True})
    (path,) = [one for one in container["env"] if one["name"] == "PYTHONPATH"]
    path["value"] = f"{FOLDER}:{path['value']}"


def test_the_application_of_the_guide_runs_as_it_is(tasks: Tasks, volume: Path) -> None:
    before = set((volume / "task").iterdir())
    printed = tasks.run((EXAMPLE / "atp_demo.py").read_text())
    assert "Result: ('15.0', 'text/xml')" in printed
    assert tasks.wpsjobs() == []
    assert set((volume / "task").iterdir()) <= before, "a deleted task leaves nothing"


def test_a_kill_is_repeated_and_a_failure_is_not(tasks: Tasks, volume: Path) -> None:
    tasks.run(ENQUEUE.format(mark=f"{tasks.queue}.mark"))

    def all_ended() -> bool:
        phases = [job.get("status", {}).get("phase") for job in tasks.wpsjobs()]
        return all(phase in {"Succeeded", "Failed"} for phase in phases)

    until(all_ended, "the end of all tasks", SECONDS)
    found = json.loads(tasks.run(LOOK))
    assert found["E2E Crash"][-1] == [5, "FINISHED"]
    assert found["E2E Fail"][-1] == [6, "FAILED"]
    assert [[1, "ACCEPTED"], "a set"] in found["E2E Fail"]
    assert [[6, "FAILED"], "no more of 6"] in found["E2E Fail"]
    assert [[4, "PAUSED"], "for a nap"] in found["E2E Sleep"], "a label: its time went on"
    jobs = {job["spec"]["process"]: job["status"] for job in tasks.wpsjobs()}
    assert jobs["E2E Crash"]["restarts"] == 1
    assert jobs["E2E Fail"]["restarts"] == 0
    assert (jobs["E2E Sleep"]["phase"], jobs["E2E Sleep"]["reason"]) == ("Failed", "Timeout")

    printed = tasks.run(TAKE)
    assert printed.splitlines() == [
        "(b'\\x00 the second time', 'application/octet-stream')",
        *["protected"] * 3,
    ]
    assert tasks.wpsjobs() == []


def test_the_loop_of_the_guide_runs_as_it_is(tasks: Tasks, volume: Path) -> None:
    """In a pod of its own, with the rights of the chart's consumers."""
    queue, namespace = f"{tasks.queue}-pull", tasks.release.namespace
    template = copy.deepcopy(get("wpsqueue", tasks.queue, "-n", namespace)["spec"]["template"])
    pod = template["spec"] | {
        "restartPolicy": "Never",
        "serviceAccountName": f"{tasks.release.name}-consumer",
        "terminationGracePeriodSeconds": 0,
    }
    name = {"fieldRef": {"fieldPath": "metadata.name"}}
    pod["containers"][0] |= {"command": ["python", "-m", "atp_server"]}
    pod["containers"][0]["env"] += [
        {"name": "WPSJOBS_POD_NAME", "valueFrom": name},
        {"name": "WPSJOBS_TRACKER_QUEUE", "value": queue},
    ]
    metadata = {"name": queue, "namespace": namespace}
    spec = {"executor": "Consumers"}
    apply(
        {
            "apiVersion": "wps.eoxserver.org/v1alpha1",
            "kind": "WpsQueue",
            "metadata": metadata,
            "spec": spec,
        }
    )
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    try:
        printed = Tasks(tasks.release, queue).run((EXAMPLE / "atp_demo.py").read_text())
        log = kubectl("logs", queue, "-n", namespace)
    finally:
        kubectl("delete", f"pod/{queue}", f"wpsqueue/{queue}", "-n", namespace)
    assert "Result: ('15.0', 'text/xml')" in printed
    assert "Kubernetes Job" not in printed
    assert log.splitlines()[-1] == "processing SequenceSum Task001"
