"""What a consumer can do with its own token, and what it cannot."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.settings import REPOSITORY
from tests.deployment.tools import kubectl, run
from tests.integration.kube import NEVER, Kube, RefusedError, Space
from tests.integration.test_least_power import OTHERS as ALL_BUT_PROGRESS
from tests.integration.test_least_power import another, patch_status, refusal, token
from tests.integration.test_resources import STATUS

ACCOUNT = "wpsjobs-consumer"
POD, QUEUE = "consumer-0", "pull"
MINE = f"{POD}/1"
CLAIM = {"consumer": MINE, "attempt": 2, "state": "Running"}
WAITING: dict[str, Any] = {"phase": "Accepted", "attempt": 1}
RUNNING: dict[str, Any] = {"phase": "Started", "attempt": 2, "claim": CLAIM}
OTHERS = sorted(set(ALL_BUT_PROGRESS) - {"claim"})
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def fenced(space: Space) -> Iterator[Space]:
    """A namespace with the chart's accounts, rights and policies, and queues of all kinds."""
    values = ["consumers.enabled=true", "tracker.enabled=true", "tracker.queue.executor=Consumers"]
    manifest = run(
        *("helm", "template", "wpsjobs", str(REPOSITORY / "charts" / "wpsjobs")),
        *("--namespace", space.name, "--set", ",".join(values)),
        *("--show-only", "templates/rbac.yaml", "--show-only", "templates/consumers.yaml"),
    )
    kubectl("apply", "-n", space.name, "-f", "-", stdin=manifest)
    space.custom("wpsqueues", QUEUE, executor="Consumers")
    space.custom("wpsqueues", "held", executor="Consumers", suspend=True)
    space.custom("wpsqueues", "default")
    try:
        yield space
    finally:
        kubectl("delete", "-n", space.name, "-f", "-", "--wait=false", stdin=manifest)


@pytest.fixture(scope="module")
def consumer(fenced: Space) -> Kube:
    """The consumer of a pod; the fence, which takes a moment to be up, is up."""
    found = as_pod(fenced, POD)
    job = made(fenced, WAITING, queue="default")
    fenced.wait(lambda: refusal(found, fenced, job, {"claim": CLAIM}), "the fence")
    job = made(fenced, WAITING)
    fenced.wait(lambda: not refusal(found, fenced, job, {"claim": CLAIM}), "its queues")
    return found


def as_pod(space: Space, name: str) -> Kube:
    """The service account of consumers with the token that the pod *name* would be given."""
    container = {"name": "consumer", "image": "example.org/none"}
    spec = {"serviceAccountName": ACCOUNT, "nodeSelector": NEVER, "containers": [container]}
    spec["terminationGracePeriodSeconds"] = 0
    uid = space.create("pods", {"metadata": {"name": name}, "spec": spec})["metadata"]["uid"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
    return Kube(token(space, ACCOUNT, {"boundObjectRef": bound}))


def made(space: Space, status: dict[str, Any], queue: str = QUEUE, **spec: Any) -> str:
    """A WpsJob of that status."""
    name = f"job-{next(_numbers)}"
    space.custom("wpsjobs", name, process="Echo", queue=queue, **spec)
    space.patch("wpsjobs", name, {"status": status}, "status")
    return name


@pytest.mark.parametrize("state", ["Claimed", "Running"])
def test_a_consumer_claims_what_is_free(fenced: Space, consumer: Kube, state: str) -> None:
    job = made(fenced, WAITING)
    patch_status(consumer, fenced, job, {"claim": {**CLAIM, "state": state}})
    assert fenced.status(job)["claim"]["consumer"] == MINE


def test_it_claims_the_first_attempt_and_one_that_is_repeated(
    fenced: Space, consumer: Kube
) -> None:
    first = made(fenced, {"phase": "Accepted"})
    patch_status(consumer, fenced, first, {"claim": {**CLAIM, "attempt": 1}})
    old = {"consumer": "another/1", "attempt": 1, "state": "Failed"}
    again = made(fenced, {**WAITING, "claim": old})
    patch_status(consumer, fenced, again, {"claim": CLAIM})


@pytest.mark.parametrize("state", ["Paused", "Succeeded", "Failed", "Crashed", "Released"])
def test_it_reports_on_its_own_claim_with_progress_until_its_last_word(
    fenced: Space, consumer: Kube, state: str
) -> None:
    job = made(fenced, RUNNING)
    patch = {"claim": {"state": state, "heartbeat": "2026-01-31T09:30:00Z"}}
    patch_status(consumer, fenced, job, {**patch, "progress": {"percent": 41}})
    assert fenced.status(job)["claim"]["state"] == state
    late = refusal(consumer, fenced, job, {"claim": {"state": "Running"}})
    assert (late is None) == (state == "Paused")


def _changed(**fields: Any) -> dict[str, Any]:
    return {"claim": {**CLAIM, **fields}}


@pytest.mark.parametrize(
    ("status", "patch"),
    [
        (WAITING, _changed(attempt=1)),
        (WAITING, _changed(attempt=3)),
        (WAITING, _changed(state="Succeeded")),
        (WAITING, _changed(state="Whatever")),
        (WAITING, _changed(consumer="consumer-1/1")),
        (WAITING, _changed(consumer="consumer-01/1")),
        (WAITING, _changed(consumer=POD)),
        (WAITING, {"claim": {"consumer": MINE}}),
        (WAITING, {"progress": {"percent": 41}}),
        ({**WAITING, "claim": {**CLAIM, "consumer": "another/1"}}, {"claim": CLAIM}),
        ({**WAITING, "phase": "Paused"}, {"claim": CLAIM}),
        ({}, {"claim": {**CLAIM, "attempt": 1}}),
        (RUNNING, {"claim": None}),
        (RUNNING, {"claim": {"state": "Claimed"}}),
        (RUNNING, {"claim": {"state": "Whatever"}}),
        (RUNNING, {"claim": {"attempt": 3}}),
        (RUNNING, {"claim": {"consumer": f"{POD}/2"}}),
        ({**RUNNING, "claim": {**CLAIM, "consumer": "another/1"}}, {"claim": {"state": "Failed"}}),
        ({**RUNNING, "claim": {**CLAIM, "consumer": "another/1"}}, {"progress": {"percent": 1}}),
        *(
            ({**RUNNING, "phase": phase}, {"claim": {"state": "Succeeded"}})
            for phase in ("Succeeded", "Failed", "Dismissed", "Rejected")
        ),
        *(
            ({**RUNNING, "claim": {**CLAIM, "state": state}}, {"claim": {"state": "Running"}})
            for state in ("Succeeded", "Failed", "Crashed", "Released")
        ),
    ],
    ids=str,
)
def test_it_neither_claims_nor_reports_otherwise(
    fenced: Space, consumer: Kube, status: dict[str, Any], patch: dict[str, Any]
) -> None:
    job = made(fenced, status)
    assert refusal(consumer, fenced, job, patch) is not None
    assert fenced.status(job) == status


@pytest.mark.parametrize("queue", ["default", "held"])
def test_it_claims_nothing_of_a_held_queue_or_of_one_that_the_operator_serves(
    fenced: Space, consumer: Kube, queue: str
) -> None:
    job = made(fenced, WAITING, queue=queue)
    assert refusal(consumer, fenced, job, {"claim": CLAIM}) is not None


def test_what_it_had_claimed_before_the_queue_was_held_it_may_end(
    fenced: Space, consumer: Kube
) -> None:
    job = made(fenced, RUNNING, queue="held")
    patch_status(consumer, fenced, job, {"claim": {"state": "Succeeded"}})


def test_what_is_suspended_cannot_be_claimed(fenced: Space, consumer: Kube) -> None:
    job = made(fenced, WAITING, suspend=True)
    assert refusal(consumer, fenced, job, {"claim": CLAIM}) is not None


@pytest.mark.parametrize("field", OTHERS)
def test_it_changes_no_other_field_of_the_status(fenced: Space, consumer: Kube, field: str) -> None:
    """Neither what is there nor what is not, and removes none."""
    full = {**STATUS, **RUNNING}
    bare_job, full_job = made(fenced, RUNNING), made(fenced, full)
    value = {"phase": "Scheduled"}.get(field) or _other_value(field)
    for job, changed in ((bare_job, value), (full_job, value), (full_job, None)):
        patch = {field: changed, "claim": {"state": "Paused"}}
        words = refusal(consumer, fenced, job, patch)
        assert words is not None, (field, changed)
    assert fenced.status(bare_job) == RUNNING
    assert fenced.status(full_job) == full


def _other_value(field: str) -> Any:
    if field == "conditions":  # two of one type are none
        return [{**STATUS["conditions"][0], "message": "other"}]
    return another(STATUS[field])


def test_a_token_that_is_no_pods_claims_nothing(fenced: Space, consumer: Kube) -> None:
    job = made(fenced, WAITING)
    loose = Kube(token(fenced, ACCOUNT, {}))
    for name in (MINE, "/1"):
        assert refusal(loose, fenced, job, {"claim": {**CLAIM, "consumer": name}}) is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/{ns}/secrets"),
        ("GET", "/api/v1/namespaces/{ns}/configmaps"),
        ("GET", "/api/v1/namespaces/{ns}/pods"),
        ("POST", "/api/v1/namespaces/{ns}/pods"),
        ("POST", "/api/v1/namespaces/{ns}/serviceaccounts/wpsjobs-worker/token"),
        ("GET", "/apis/batch/v1/namespaces/{ns}/jobs"),
        ("POST", "/apis/batch/v1/namespaces/{ns}/jobs"),
        ("POST", "{jobs}"),
        ("PATCH", "{jobs}/own"),
        ("PUT", "{jobs}/own"),
        ("PUT", "{jobs}/own/status"),
        ("DELETE", "{jobs}/own"),
        ("DELETE", "{jobs}"),
        ("GET", "{wps}/wpsqueues"),
        ("PATCH", "{wps}/wpsqueues/pull"),
        ("PATCH", "{wps}/wpsqueues/pull/status"),
        ("POST", "{wps}/wpsprocesses"),
        ("PATCH", "{wps}/wpsprocesses/echo"),
        ("DELETE", "{wps}/wpsprocesses/echo"),
        ("GET", "/apis/wps.eoxserver.org/v1alpha1/namespaces/default/wpsjobs"),
        ("GET", "/apis/wps.eoxserver.org/v1alpha1/wpsjobs"),
        ("GET", "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases"),
        ("GET", "/api/v1/namespaces"),
    ],
)
def test_it_has_no_other_rights(fenced: Space, consumer: Kube, method: str, path: str) -> None:
    jobs = fenced.path("wpsjobs")
    full = path.format(ns=fenced.name, jobs=jobs, wps=jobs.removesuffix("/wpsjobs"))
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    with pytest.raises(RefusedError) as caught:
        consumer.request(method, full, {} if method in {"POST", "PUT", "PATCH"} else None, kind)
    assert caught.value.status == 403, caught.value
