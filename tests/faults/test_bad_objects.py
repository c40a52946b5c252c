"""Objects that are wrong in every way: refused with useful words, or lived with."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.settings import ClusterError
from tests.deployment.tools import kubectl
from tests.faults.product import Product
from tests.faults.watcher import Watcher
from tests.integration.kube import RefusedError, Space
from tests.integration.operator_process import Operator

pytestmark = pytest.mark.e2e

LONG = "x" * 70_000
BAD_SPECS: list[tuple[dict[str, Any], str, str]] = [
    # what differs from a good spec, the field at fault, and what to write instead
    ({"process": None}, "spec.process", "Required value"),
    ({"process": {"name": "Echo"}}, "spec.process", "must be of type string"),
    ({"queue": 5}, "spec.queue", "must be of type string"),
    ({"priority": 1.5}, "spec.priority", "must be of type integer"),
    ({"suspend": "yes"}, "spec.suspend", "must be of type boolean"),
    ({"cancel": 1}, "spec.cancel", "must be of type boolean"),
    ({"retries": "2"}, "spec.retries", "must be of type integer"),
    ({"timeoutSeconds": "1h"}, "spec.timeoutSeconds", "must be of type integer"),
    ({"restartLimit": True}, "spec.restartLimit", "must be of type integer"),
    ({"restartLimit": 1001}, "spec.restartLimit", "less than or equal to 1000"),
    ({"ttlSecondsAfterFinished": 0.5}, "spec.ttlSecondsAfterFinished", "must be of type integer"),
    ({"acceptBefore": 1769851800}, "spec.acceptBefore", "must be of type date-time"),
    ({"acceptBefore": "2026-13-45T00:00:00Z"}, "spec.acceptBefore", "must be of type date-time"),
    ({"submission": ["a"]}, "spec.submission", "must be of type string"),
    ({"responseUrl": 5}, "spec.responseUrl", "must be of type string"),
    ({"responseUrl": f"https://example.org/{LONG}"}, "spec.responseUrl", "Too long"),
    ({"owner": "ada"}, "spec.owner", "must be of type object"),
    ({"owner": {"user": 5}}, "spec.owner.user", "must be of type string"),
    ({"owner": {"user": LONG}}, "spec.owner.user", "Too long"),
    ({"parts": "north"}, "spec.parts", "must be of type array"),
    ({"parts": [1, 2]}, "spec.parts[0]", "must be of type string"),
    ({"parts": ["a"], "partParallelism": 0}, "spec.partParallelism", "greater than or equal to 1"),
    ({"payload": "request"}, "spec.payload", "must be of type object"),
    ({"payload": {"sha256": "0" * 64, "size": -1}}, "spec.payload.size", "greater than or equal"),
    ({"payload": {"sha256": "A" * 64, "size": 1}}, "spec.payload.sha256", "should match"),
    ({"execute": []}, "spec.execute", "must be of type object"),
    ({"execute": {"inputs": {"text": "a"}}}, "spec.execute.inputs", "must be of type array"),
    ({"execute": {"inputs": ["a"]}}, "spec.execute.inputs[0]", "must be of type object"),
    (
        {"execute": {"inputs": [{"id": "text", "data": 5}]}},
        "spec.execute.inputs[0].data",
        "must be of type string",
    ),
    (
        {"execute": {"inputs": [{"id": "a", "bbox": [0, 0, 1, "north"]}]}},
        "spec.execute.inputs[0].bbox[3]",
        "must be of type number",
    ),
    ({"execute": {"outputs": [{}]}}, "spec.execute.outputs[0].id", "Required value"),
    ({"execute": {"lineage": "true"}}, "spec.execute.lineage", "must be of type boolean"),
]


@pytest.mark.parametrize(("spec", "field", "words"), BAD_SPECS)
def test_a_spec_of_a_wrong_kind_is_refused_with_what_to_write(
    space: Space, spec: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        space.custom("wpsjobs", "bad", **{"process": "Echo", **spec})
    assert caught.value.status == 422
    assert field in str(caught.value)
    assert words in str(caught.value)


def test_a_misspelt_field_is_named_by_kubectl(space: Space) -> None:
    manifest = f"""
apiVersion: wps.eoxserver.org/v1alpha1
kind: WpsJob
metadata: {{name: misspelt, namespace: {space.name}}}
spec: {{process: Echo, timeoutSecond: 5}}
"""
    with pytest.raises(ClusterError, match=r'unknown field "spec\.timeoutSecond"'):
        kubectl("create", "-f", "-", stdin=manifest)


EARLY, LATE = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
TIMES = ("acceptedAt", "scheduledAt", "startedAt", "finishedAt", "expiresAt")
MOST = (1 << 31) - 1
SPOILT: list[dict[str, Any]] = [
    *({"phase": phase} for phase in ("Accepted", "Scheduled", "Started", "Paused")),
    *({"phase": phase} for phase in ("Succeeded", "Failed", "Dismissed", "Rejected")),
    {"phase": None},
    {"sequence": None},
    {"sequence": 0},
    {"sequence": (1 << 63) - 1},
    {"attempt": None},
    {"attempt": 0},
    {"attempt": 7},
    {"attempt": MOST},
    {"restarts": None},
    {"restarts": MOST},
    {"retriesSeen": MOST},
    {"jobName": None},
    {"jobName": ""},
    {"jobName": "Not a name!"},
    {"jobName": "somebody-elses-1"},
    *({time: when} for time in TIMES for when in (None, EARLY, LATE)),
    {"pausedSeconds": 1e300},
    {"progress": {}},
    {"progress": {"finalising": True, "percent": 0, "updatedAt": LATE}},
    {"claim": {"consumer": "nobody", "attempt": 3, "state": "??", "heartbeat": EARLY}},
    {"attempts": []},
    {"attempts": [{}] * 10},
    {"attempts": [{"number": MOST, "finishedAt": LATE, "reason": "Timeout", "exitCode": 0}]},
    {"history": []},
    {"history": [{}] * 200},
    {"history": [{"phase": "Nonsense", "time": LATE}]},
    {"parts": {"total": 5, "succeeded": "9-1,,x", "running": "-"}},
    {"conditions": []},
    {"reason": "NoSuchReason", "message": ""},
]
LIFETIMES = ("timeoutSeconds", "ttlSecondsAfterFinished")
FAILURES = frozenset({"pass failed", "no rest yet", "WpsJob left alone"})
"""What the operator's log must not hold."""
NOW = "2026-01-31T09:30:00.000001Z"
ACCEPTED = {"phase": "Accepted", "sequence": 1, "attempt": 0, "acceptedAt": NOW}
STARTED = ACCEPTED | {"phase": "Started", "attempt": 1, "scheduledAt": NOW, "startedAt": NOW}
GOOD: dict[str, dict[str, Any]] = {
    "accepted": ACCEPTED,
    "started": STARTED | {"attempts": [{"number": 1}]},
    "frozen": STARTED | {"phase": "Paused", "history": [{"phase": "Paused", "time": NOW}]},
    "succeeded": STARTED | {"phase": "Succeeded", "finishedAt": NOW},
}


def _check_health(space: Space, operator: Operator, name: str) -> None:
    """Others go on, in the same queue and in another one, and the loop never failed."""
    for queue in ("spoilt", "good"):
        space.custom("wpsjobs", f"{name}-{queue}", process="Echo", queue=queue)
    for queue in ("spoilt", "good"):
        space.run_pod(f"{name}-{queue}-1")
        space.wait_phase(f"{name}-{queue}", "Started")
        space.end_pod(f"{name}-{queue}-1", 0)
        space.wait_phase(f"{name}-{queue}", "Succeeded")
    assert operator.ask("/healthz")[0] == 200
    failures = [r for r in operator.records() if r.get("event") in FAILURES]
    assert not failures, failures[0]


def test_a_status_spoilt_by_hand_does_not_stop_the_loop(space: Space, tmp_path: Path) -> None:
    space.queue("spoilt", parallelism=1000)
    space.queue("good", parallelism=1)
    # The API server does not hold anybody to int32.
    numbers = dict.fromkeys(("priority", "retries", *LIFETIMES), MOST << 31)
    space.custom("wpsjobs", "huge", process="Echo", queue="spoilt", **numbers)
    for base, (number, spoilt) in itertools.product(GOOD, enumerate(SPOILT)):
        name = f"{base}-{number}"
        frozen = {"suspend": True} if base == "frozen" else {}
        space.custom("wpsjobs", name, process="Echo", queue="spoilt", restartLimit=0, **frozen)
        launched = {} if base == "accepted" else {"jobName": f"{name}-1"}
        status = {**GOOD[base], **launched, **spoilt}
        space.patch("wpsjobs", name, {"status": status}, "status")
    space.patch("wpsqueues", "good", {"status": {"queued": 77, "running": 77}}, "status")
    space.patch("wpsprocesses", "echo", {"status": {"jobs": 7777}}, "status")
    with Operator(space.name, tmp_path) as operator, Watcher(space.name) as watcher:
        operator.wait_ready()
        _check_health(space, operator, "first")
        # Once more, with an operator that knows them, and pods that run.
        some = SPOILT[::2]
        alive = [f"alive-{number}" for number in range(len(some))]
        for name in alive:
            space.custom("wpsjobs", name, process="Echo", queue="spoilt", restartLimit=0)
        for name in alive:
            space.run_pod(f"{name}-1")
            space.wait_phase(name, "Started")
        for name, spoilt in zip(alive, some, strict=True):
            space.patch("wpsjobs", name, {"status": spoilt}, "status")
        _check_health(space, operator, "second")
        for pod in space.items("pods", "?labelSelector=wps.eoxserver.org/queue=spoilt"):
            name = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
            if name.startswith("alive") and pod["status"]["phase"] == "Running":
                with contextlib.suppress(RefusedError):  # deleted: for its start in the year 1, say
                    space.end_pod(name, 0)
        _check_health(space, operator, "third")
        space.wait(
            lambda: (
                space.get("wpsprocesses", "echo")["status"]["jobs"] == len(space.items("wpsjobs"))
            ),
            "the true count of WpsJobs",
        )
        for name in alive:
            space.delete("wpsjobs", name)
        space.wait(lambda: not any(space.find("jobs", f"{n}-1") for n in alive), "their children")
        watcher.check(only=["good"], finished=False)


def test_a_timeout_of_years_is_one(product: Product) -> None:
    name = product.echo(product.queue(parallelism=1), timeoutSeconds=MOST)
    status = product.wait_phase(name, "Succeeded")
    assert (status["attempt"], status["restarts"]) == (1, 0)
