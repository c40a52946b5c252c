"""The Kubernetes Job of an attempt: golden pairs in tests/data/kubernetes.

After a change that is meant, ``UPDATE_GOLDEN=1 pytest tests/unit/controller/test_manifests.py``
writes the outputs anew; read the difference before you commit it.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.controller.objects import process, queue, wpsjob
from wpsjobs.api.names import LABEL_WPSJOB
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.controller.manifests import Assignment, kubernetes_job

DATA = Path(__file__).parents[2] / "data" / "kubernetes"
CASES = sorted(path.name for path in (DATA / "input").glob("*.yaml"))


def build(case: str) -> dict[str, Any]:
    documents = {
        raw["kind"]: raw for raw in yaml.safe_load_all((DATA / "input" / case).read_text())
    }
    job = WpsJob.from_raw(documents["WpsJob"])
    return kubernetes_job(
        Assignment(job, job.status.attempt + 1),
        WpsQueue.from_raw(documents["WpsQueue"]),
        WpsProcess.from_raw(documents["WpsProcess"]),
        "wpsjobs-worker",
    )


def _worker(manifest: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = manifest["spec"]["template"]["spec"]["containers"]
    return next(one for one in containers if one["name"] == "worker")


@pytest.mark.parametrize("case", CASES)
def test_the_manifest_is_the_golden_one(case: str) -> None:
    output = DATA / "output" / case
    manifest = build(case)
    if os.environ.get("UPDATE_GOLDEN"):
        output.write_text(yaml.safe_dump(manifest, sort_keys=False, width=100))
    assert manifest == yaml.safe_load(output.read_text())


def test_every_output_has_its_input() -> None:
    assert sorted(path.name for path in (DATA / "output").glob("*.yaml")) == CASES


def test_the_template_is_not_changed_by_its_use() -> None:
    template = {"spec": {"containers": [{"name": "worker", "image": "x", "env": []}]}}
    a_queue = queue(template=copy.deepcopy(template))
    a_process = process(resources={"limits": {"memory": "1Gi"}}, env=[{"name": "A", "value": "1"}])
    manifest = kubernetes_job(Assignment(wpsjob("a"), 1), a_queue, a_process, "worker")
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "2Gi"
    assert a_queue.template == template
    assert a_process.resources == {"limits": {"memory": "1Gi"}}


def test_two_attempts_of_a_wpsjob_differ_by_name_annotation_and_command() -> None:
    first, second = (
        kubernetes_job(Assignment(wpsjob("a"), number), queue(), process(), "worker")
        for number in (1, 2)
    )
    assert (first["metadata"]["name"], second["metadata"]["name"]) == ("a-1", "a-2")
    assert first["metadata"]["labels"][LABEL_WPSJOB] == "a"
    assert first["metadata"]["annotations"] != second["metadata"]["annotations"]
    commands = [_worker(manifest)["command"] for manifest in (first, second)]
    assert [word for word in commands[0] if word not in commands[1]] == [
        "WPSJOBS_ATTEMPT=1",
        "WPSJOBS_KUBERNETES_JOB=a-1",
    ]


def test_a_wpsjob_of_the_longest_name_fits_with_its_labels_and_pods() -> None:
    manifest = kubernetes_job(Assignment(wpsjob("x" * 40), 10_000), queue(), process(), "worker")
    # A pod's name is that of its Kubernetes Job with a dash and five characters, 63 at most.
    assert len(manifest["metadata"]["name"]) + 6 <= 63
    assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())


def test_a_template_without_containers_still_gives_a_manifest() -> None:
    """The API server then says what is missing, which is better than an operator that stops."""
    manifest = kubernetes_job(Assignment(wpsjob("a"), 1), queue(), process(), "worker")
    containers = manifest["spec"]["template"]["spec"]["containers"]
    assert [container["name"] for container in containers] == ["worker"]
