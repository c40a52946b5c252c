"""What a worker can do with its own token, and what it cannot (invariant 8)."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.settings import REPOSITORY
from tests.deployment.tools import kubectl, run
from tests.integration.kube import NEVER, Kube, RefusedError, Space
from tests.integration.test_resources import STATUS

ACCOUNT = "wpsjobs-worker"
PROGRESS = {"percent": 41, "message": "going on", "finalising": False}
BARE = {"phase": "Started", "jobName": "a-2"}
"""The least that a WpsJob with a running attempt has."""
OTHERS = sorted(
    set(
        yaml.safe_load((REPOSITORY / "crds" / "wpsjobs.yaml").read_text())["spec"]["versions"][0][
            "schema"
        ]["openAPIV3Schema"]["properties"]["status"]["properties"]
    )
    - {"progress"}
)
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def fenced(space: Space) -> Iterator[Space]:
    """A namespace with the chart's accounts, rights and admission policies, and no operator."""
    manifest = run(
        *("helm", "template", "wpsjobs", str(REPOSITORY / "charts" / "wpsjobs")),
        *("--namespace", space.name, "--show-only", "templates/rbac.yaml"),
        *("--show-only", "templates/admission.yaml"),
    )
    kubectl("apply", "-n", space.name, "-f", "-", stdin=manifest)
    try:
        yield space
    finally:
        kubectl("delete", "-n", space.name, "-f", "-", "--wait=false", stdin=manifest)


@pytest.fixture(scope="module")
def worker(fenced: Space) -> Kube:
    """The worker of the attempt ``a-2``; the fence, which takes a moment to be up, is up."""
    found = as_pod(fenced, "a-2-abcde")
    job = started(fenced, {**BARE, "jobName": "another-1"})
    fenced.wait(lambda: refusal(found, fenced, job, {"progress": PROGRESS}), "the fence")
    return found


def as_pod(space: Space, name: str) -> Kube:
    """The service account of job pods with the token that the pod *name* would be given."""
    container = {"name": "worker", "image": "example.org/none"}
    pod = {
        "metadata": {"name": name},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "nodeSelector": NEVER,
            "containers": [container],
            "terminationGracePeriodSeconds": 0,
        },
    }
    uid = space.create("pods", pod)["metadata"]["uid"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
    return Kube(token(space, ACCOUNT, {"boundObjectRef": bound}))


def token(space: Space, account: str, spec: dict[str, Any]) -> str:
    path = space.path("serviceaccounts", account, "token")
    return str(space.kube.request("POST", path, {"spec": spec})["status"]["token"])


def started(space: Space, status: dict[str, Any]) -> str:
    """A WpsJob of that status."""
    name = f"job-{next(_numbers)}"
    space.custom("wpsjobs", name, process="Echo")
    space.patch("wpsjobs", name, {"status": status}, "status")
    return name


def patch_status(as_whom: Kube, space: Space, job: str, status: dict[str, Any]) -> Any:
    path = space.path("wpsjobs", job, "status")
    return as_whom.request("PATCH", path, {"status": status}, "application/merge-patch+json")


def refusal(as_whom: Kube, space: Space, job: str, status: dict[str, Any]) -> str | None:
    """The words in which a patch of the status is forbidden; None where it is done."""
    try:
        patch_status(as_whom, space, job, status)
    except RefusedError as error:
        if error.status != 403:
            raise
        return str(error)
    return None


def another(value: Any) -> Any:
    """A valid value of the same field that differs."""
    if isinstance(value, str):
        return "2027-01-31T09:30:00.123456Z" if value.startswith("2026") else f"{value}x"
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, list):
        return [*value, *value]
    return {**value, next(iter(value)): another(next(iter(value.values())))}


@pytest.mark.parametrize("status", [BARE, STATUS], ids=["bare", "full"])
def test_a_worker_reports_the_progress_of_its_own_job(
    fenced: Space, worker: Kube, status: dict[str, Any]
) -> None:
    job = started(fenced, status)
    patch_status(worker, fenced, job, {"progress": PROGRESS})

    assert fenced.status(job)["progress"]["percent"] == 41
    path = fenced.path("wpsjobs")
    assert worker.request("GET", f"{path}/{job}")["metadata"]["name"] == job


@pytest.mark.parametrize("field", OTHERS)
def test_it_changes_no_other_field_of_the_status(fenced: Space, worker: Kube, field: str) -> None:
    """Neither what is there nor what is not, and removes none."""
    bare, full = started(fenced, BARE), started(fenced, STATUS)
    value = {"phase": "Scheduled"}.get(field) or _other_value(field)
    for job, changed in ((bare, value), (full, value), (full, None)):
        words = refusal(worker, fenced, job, {field: changed, "progress": PROGRESS})
        assert words is not None, (field, changed)
        assert f"not status.{field}" in words
    assert fenced.status(bare) == BARE
    assert fenced.status(full) == STATUS


def _other_value(field: str) -> Any:
    if field == "conditions":  # two of one type are none
        return [{**STATUS["conditions"][0], "message": "other"}]
    return another(copy.deepcopy(STATUS[field]))


def test_it_changes_neither_spec_nor_metadata_by_the_status(fenced: Space, worker: Kube) -> None:
    job = started(fenced, BARE)
    body = {
        "metadata": {"labels": {"mine": "true"}, "finalizers": ["example.org/mine"]},
        "spec": {"priority": 9},
        "status": {"progress": PROGRESS},
    }
    path = fenced.path("wpsjobs", job, "status")
    worker.request("PATCH", path, body, "application/merge-patch+json")
    found = fenced.get("wpsjobs", job)

    assert found["spec"]["priority"] == 0
    assert not {"labels", "finalizers"} & found["metadata"].keys()


@pytest.mark.parametrize(
    "status",
    [
        {**BARE, "jobName": "b-2"},
        {**BARE, "jobName": "a-3"},
        {**BARE, "jobName": "a"},
        {**BARE, "jobName": "a-2-abcde"},
        {"phase": "Accepted"},
        {},
        *({**BARE, "phase": phase} for phase in ("Succeeded", "Failed", "Dismissed", "Accepted")),
    ],
    ids=str,
)
def test_it_reports_on_no_job_that_is_not_its_own_or_not_running(
    fenced: Space, worker: Kube, status: dict[str, Any]
) -> None:
    job = started(fenced, status)

    assert refusal(worker, fenced, job, {"progress": PROGRESS}) is not None
    assert "progress" not in fenced.status(job)


@pytest.mark.parametrize(
    "pod", ["a-1-abcde", "a-2-abcdef", "a-2-1-abcde", "a-22-abcd", "ba-2-abcd"]
)
def test_pods_of_similar_names_are_others(fenced: Space, worker: Kube, pod: str) -> None:
    job = started(fenced, BARE)

    assert refusal(as_pod(fenced, pod), fenced, job, {"progress": PROGRESS}) is not None


def test_a_token_that_is_no_pods_reports_nothing(fenced: Space, worker: Kube) -> None:
    job = started(fenced, BARE)
    loose = Kube(token(fenced, ACCOUNT, {}))

    assert refusal(loose, fenced, job, {"progress": PROGRESS}) is not None


FORBIDDEN = [
    ("GET", "/api/v1/namespaces/{ns}/secrets"),
    ("GET", "/api/v1/namespaces/{ns}/secrets/any"),
    ("GET", "/api/v1/namespaces/{ns}/configmaps"),
    ("GET", "/api/v1/namespaces/{ns}/pods"),
    ("GET", "/api/v1/namespaces/{ns}/pods/a-2-abcde"),
    ("POST", "/api/v1/namespaces/{ns}/pods"),
    ("DELETE", "/api/v1/namespaces/{ns}/pods/a-2-abcde"),
    ("GET", "/api/v1/namespaces/{ns}/pods/a-2-abcde/log"),
    ("POST", "/api/v1/namespaces/{ns}/pods/a-2-abcde/exec?command=sh"),
    ("POST", "/api/v1/namespaces/{ns}/serviceaccounts/wpsjobs-operator/token"),
    ("GET", "/apis/batch/v1/namespaces/{ns}/jobs"),
    ("POST", "/apis/batch/v1/namespaces/{ns}/jobs"),
    ("POST", "{jobs}"),
    ("GET", "{jobs}"),
    ("PATCH", "{jobs}/own"),
    ("PUT", "{jobs}/own"),
    ("PUT", "{jobs}/own/status"),
    ("DELETE", "{jobs}/own"),
    ("DELETE", "{jobs}"),
    ("GET", "/apis/wps.eoxserver.org/v1alpha1/namespaces/{ns}/wpsqueues"),
    ("PATCH", "/apis/wps.eoxserver.org/v1alpha1/namespaces/{ns}/wpsqueues/default"),
    ("PATCH", "/apis/wps.eoxserver.org/v1alpha1/namespaces/{ns}/wpsqueues/default/status"),
    ("GET", "/apis/wps.eoxserver.org/v1alpha1/namespaces/default/wpsjobs"),
    ("GET", "/apis/wps.eoxserver.org/v1alpha1/wpsjobs"),
    ("GET", "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"),
    ("GET", "/api/v1/nodes"),
    ("GET", "/api/v1/namespaces"),
]


@pytest.mark.parametrize(("method", "path"), FORBIDDEN)
def test_it_has_no_other_rights(fenced: Space, worker: Kube, method: str, path: str) -> None:
    full = path.format(ns=fenced.name, jobs=fenced.path("wpsjobs"))
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    with pytest.raises(RefusedError) as caught:
        worker.request(method, full, {} if method in {"POST", "PUT", "PATCH"} else None, kind)
    assert caught.value.status == 403, caught.value


@pytest.mark.parametrize("part", ["web", "housekeeper"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, path) for method, path in FORBIDDEN[:12]),
        ("PATCH", "{jobs}/own/status"),
        ("PATCH", "/apis/wps.eoxserver.org/v1alpha1/namespaces/{ns}/wpsqueues/default"),
        ("GET", "/apis/wps.eoxserver.org/v1alpha1/wpsjobs"),
    ],
)
def test_web_servers_and_the_housekeeper_have_none_of_these_either(
    fenced: Space, worker: Kube, part: str, method: str, path: str
) -> None:
    account = Kube(token(fenced, f"wpsjobs-{part}", {}))
    full = path.format(ns=fenced.name, jobs=fenced.path("wpsjobs"))
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    with pytest.raises(RefusedError) as caught:
        account.request(method, full, {} if method in {"POST", "PATCH"} else None, kind)
    assert caught.value.status == 403, caught.value
