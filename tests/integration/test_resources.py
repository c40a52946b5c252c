"""The custom resources' schemas, rules, columns and selectable fields on a real API server."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from tests.deployment.tools import kubectl
from tests.integration.kube import Kube, RefusedError, Space

FULL: dict[str, Any] = {
    "id": "Some_Id.1",
    "process": "Echo",
    "version": "1.0.0",
    "queue": "default",
    "execute": {
        "inputs": [
            {"id": "text", "data": "hi"},
            {"id": "image", "href": "https://example.org/image.tif", "mimeType": "image/tiff"},
            {"id": "extent", "bbox": [8.5, 47.25, 9, 48], "crs": "EPSG:4326"},
        ],
        "outputs": [{"id": "out", "asReference": True}],
        "lineage": True,
    },
    "submission": "0b7ff1c4-7b0e-4c5e-8dbe-9d6a3a1b5c11",
    "responseUrl": "https://example.org/results/x/executeResponse.xml",
    "acceptBefore": "2026-01-31T09:30:00.123456Z",
    "parts": ["north", "south"],
    "partParallelism": 2,
    "owner": {"user": "ada", "remoteAddress": "192.0.2.1"},
    "priority": 1,
    "suspend": False,
    "cancel": False,
    "retries": 1,
    "timeoutSeconds": 60,
    "restartLimit": 1,
    "ttlSecondsAfterFinished": 60,
}
CHANGES: dict[str, Any] = {
    "id": "Other",
    "process": "NDVI",
    "version": "2.0.0",
    "queue": "night",
    "execute": {"inputs": []},
    "submission": "x",
    "responseUrl": "https://example.org/other",
    "acceptBefore": "2027-01-31T09:30:00Z",
    "parts": ["north", "south", "east"],
    "partParallelism": 3,
    "owner": {"user": "bob"},
}
PAYLOAD = {"sha256": "0" * 64, "size": 12}


def name() -> str:
    return f"j-{uuid.uuid4().hex[:10]}"


def make(space: Space, **spec: Any) -> str:
    job = name()
    space.custom("wpsjobs", job, **spec)
    return job


def refusal(space: Space, plural: str = "wpsjobs", **spec: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        space.custom(plural, name(), **spec)
    assert caught.value.status == 422
    return str(caught.value)


@pytest.fixture(scope="module")
def full(space: Space) -> str:
    """A WpsJob with every field of the spec, but payload."""
    return make(space, **FULL)


def test_every_field_of_the_design_is_kept(space: Space, full: str) -> None:
    assert space.get("wpsjobs", full)["spec"] == FULL


def test_only_the_process_is_required_and_defaults_are_filled_in(space: Space) -> None:
    spec = space.get("wpsjobs", make(space, process="Echo"))["spec"]
    assert (spec["queue"], spec["version"], spec["priority"]) == ("default", "1.0.0", 0)
    assert "process" in refusal(space)


@pytest.mark.parametrize("field", CHANGES)
def test_an_immutable_field_is_not_changed(space: Space, full: str, field: str) -> None:
    with pytest.raises(RefusedError, match=rf"spec\.{field} is immutable"):
        space.patch("wpsjobs", full, {"spec": {field: CHANGES[field]}})


@pytest.mark.parametrize("field", sorted(set(CHANGES) - {"process", "version", "queue", "parts"}))
def test_an_immutable_field_is_not_removed(space: Space, full: str, field: str) -> None:
    with pytest.raises(RefusedError, match=rf"spec\.{field} is immutable"):
        space.patch("wpsjobs", full, {"spec": {field: None}})


@pytest.mark.parametrize(
    "field", sorted(set(CHANGES) - {"process", "version", "queue", "partParallelism"})
)
def test_an_immutable_field_is_not_added(space: Space, field: str) -> None:
    job = make(space, process="Echo")
    with pytest.raises(RefusedError, match=rf"spec\.{field} is immutable"):
        space.patch("wpsjobs", job, {"spec": {field: CHANGES[field]}})


def test_the_payload_is_immutable_and_excludes_execute(space: Space) -> None:
    job = make(space, process="Echo", payload=PAYLOAD)
    with pytest.raises(RefusedError, match=r"spec\.payload is immutable"):
        space.patch("wpsjobs", job, {"spec": {"payload": {"size": 13}}})
    words = refusal(space, process="Echo", payload=PAYLOAD, execute={"inputs": []})
    assert "either spec.execute or spec.payload" in words


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", -5),
        ("suspend", True),
        ("suspend", False),
        ("retries", 2),
        ("timeoutSeconds", 7200),
        ("timeoutSeconds", None),
        ("restartLimit", 0),
        ("restartLimit", None),
        ("ttlSecondsAfterFinished", -1),
        ("ttlSecondsAfterFinished", None),
        ("cancel", True),
    ],
)
def test_a_mutable_field_is_changed(space: Space, full: str, field: str, value: Any) -> None:
    spec = space.patch("wpsjobs", full, {"spec": {field: value}})["spec"]
    assert spec.get(field) == value


def test_what_is_not_of_the_spec_is_changed_at_will(space: Space) -> None:
    job = make(space, **FULL)
    finalizer = {"metadata": {"finalizers": ["example.org/kept"], "labels": {"team": "relief"}}}
    assert space.patch("wpsjobs", job, finalizer)["metadata"]["labels"] == {"team": "relief"}
    space.patch("wpsjobs", job, {"metadata": {"finalizers": None, "labels": None}})
    space.patch("wpsjobs", job, {"status": {"phase": "Accepted"}}, "status")
    assert space.get("wpsjobs", job)["spec"] == FULL


def test_a_payload_neither_comes_nor_goes(space: Space) -> None:
    """Else another hash could come in its place, and with it a request that nobody has made."""
    for has, change in ((PAYLOAD, None), (None, PAYLOAD)):
        job = make(space, process="Echo", **({"payload": has} if has else {}))
        with pytest.raises(RefusedError, match=r"spec\.payload is immutable"):
            space.patch("wpsjobs", job, {"spec": {"payload": change}})


def test_cancel_is_one_way_and_retries_only_grow(space: Space) -> None:
    job = make(space, process="Echo", cancel=True, retries=3)
    for taken_back in (False, None):
        with pytest.raises(RefusedError, match="one way"):
            space.patch("wpsjobs", job, {"spec": {"cancel": taken_back}})
    for fewer in (2, None):
        with pytest.raises(RefusedError, match="may only grow"):
            space.patch("wpsjobs", job, {"spec": {"retries": fewer}})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", "example.org/mine"),
        ("command", ["sh"]),
        ("args", ["-c", "true"]),
        ("env", [{"name": "A", "value": "1"}]),
        ("volumes", [{"name": "host", "hostPath": {"path": "/"}}]),
        ("serviceAccountName", "admin"),
        ("template", {"spec": {}}),
    ],
)
def test_a_wpsjob_names_no_part_of_a_pod(space: Space, field: str, value: Any) -> None:
    words = refusal(space, process="Echo", **{field: value})
    assert "a WpsJob names a process only" in words
    assert "WpsQueue" in words
    job = make(space, process="Echo")
    with pytest.raises(RefusedError, match="names a process only"):
        space.patch("wpsjobs", job, {"spec": {field: value}})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"process": ""}, "spec.process"),
        ({"process": 5}, "spec.process"),
        ({"process": ["Echo"]}, "spec.process"),
        ({"process": "x" * 257}, "spec.process"),
        ({"process": "Echo", "id": "../etc/passwd"}, "spec.id"),
        ({"process": "Echo", "id": ".."}, "spec.id"),
        ({"process": "Echo", "id": "a/b"}, "spec.id"),
        ({"process": "Echo", "id": "-x"}, "spec.id"),
        ({"process": "Echo", "id": ""}, "spec.id"),
        ({"process": "Echo", "id": "x\n"}, "spec.id"),
        ({"process": "Echo", "version": "3.0.0"}, "spec.version"),
        ({"process": "Echo", "priority": "high"}, "spec.priority"),
        ({"process": "Echo", "retries": -1}, "spec.retries"),
        ({"process": "Echo", "timeoutSeconds": 0}, "spec.timeoutSeconds"),
        ({"process": "Echo", "restartLimit": -1}, "spec.restartLimit"),
        ({"process": "Echo", "ttlSecondsAfterFinished": -2}, "spec.ttlSecondsAfterFinished"),
        ({"process": "Echo", "acceptBefore": "soon"}, "spec.acceptBefore"),
        ({"process": "Echo", "payload": {"sha256": "x", "size": 1}}, "spec.payload.sha256"),
        ({"process": "Echo", "payload": {"sha256": "0" * 64}}, "spec.payload.size"),
        ({"process": "Echo", "parts": []}, "spec.parts"),
        ({"process": "Echo", "partParallelism": 2}, "goes with spec.parts"),
        ({"process": "Echo", "execute": {"inputs": [{"id": "a"}]}}, "exactly one of"),
        (
            {"process": "Echo", "execute": {"inputs": [{"id": "a", "data": "1", "href": "x"}]}},
            "exactly one of",
        ),
        ({"process": "Echo", "execute": {"inputs": [{"data": "1"}]}}, "inputs[0].id"),
        ({"process": "Echo", "execute": {"inputs": [{"id": "a", "bbox": [1]}]}}, "bbox"),
        ({"process": "Echo", "execute": "text"}, "spec.execute"),
    ],
)
def test_a_wrong_spec_is_refused_by_the_field(
    space: Space, spec: dict[str, Any], words: str
) -> None:
    assert words in refusal(space, **spec)


def test_a_request_over_8_kib_belongs_into_the_payload(space: Space) -> None:
    inputs = [{"id": f"input{number}", "data": "x" * 1000} for number in range(9)]
    words = refusal(space, process="Echo", execute={"inputs": inputs})
    assert "spec.payload" in words


def test_a_name_of_over_40_characters_or_with_dots_is_refused(space: Space) -> None:
    for bad in ("a" * 41, "a.b"):
        with pytest.raises(RefusedError, match=r"spec\.id"):
            space.custom("wpsjobs", bad, process="Echo")
    space.custom("wpsjobs", "a" * 40, process="Echo")


# -- status ---------------------------------------------------------------------------------------

STATUS: dict[str, Any] = {
    "phase": "Started",
    "reason": "PodRunning",
    "message": "runs",
    "sequence": 4_000_000_000_000,
    "attempt": 2,
    "restarts": 1,
    "retriesSeen": 0,
    "jobName": "a-2",
    "acceptedAt": "2026-01-31T09:30:00.123456Z",
    "scheduledAt": "2026-01-31T09:30:00.123456Z",
    "startedAt": "2026-01-31T09:30:00.123456Z",
    "finishedAt": "2026-01-31T09:30:00.123456Z",
    "expiresAt": "2026-01-31T09:30:00.123456Z",
    "pausedSeconds": 1.5,
    "progress": {
        "percent": 40,
        "message": "halfway",
        "finalising": False,
        "updatedAt": "2026-01-31T09:30:00.123456Z",
    },
    "claim": {
        "consumer": "c",
        "attempt": 1,
        "state": "RUNNING",
        "message": "m",
        "heartbeat": "2026-01-31T09:30:00Z",
    },
    "attempts": [
        {
            "number": 1,
            "jobName": "a-1",
            "podName": "a-1-abcde",
            "node": "n",
            "startedAt": "2026-01-31T09:30:00Z",
            "finishedAt": "2026-01-31T09:30:00Z",
            "exitCode": 137,
            "reason": "Crash",
        }
    ],
    "history": [{"time": "2026-01-31T09:30:00Z", "phase": "Accepted", "message": "m"}],
    "parts": {"total": 9, "succeeded": "0-4,7", "failed": "5", "running": "6,8", "restarts": ""},
    "conditions": [
        {
            "type": "Accepted",
            "status": "True",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-31T09:30:00Z",
            "reason": "Queued",
            "message": "m",
        }
    ],
}


def test_every_status_field_of_the_design_is_kept(space: Space) -> None:
    job = make(space, process="Echo")
    space.patch("wpsjobs", job, {"status": STATUS}, "status")
    assert space.status(job) == STATUS


def test_the_status_is_a_subresource(space: Space) -> None:
    job = make(space, process="Echo")
    space.patch("wpsjobs", job, {"status": {"phase": "Succeeded"}})
    assert space.status(job) == {}
    changed = {"spec": {"priority": 9}, "status": {"phase": "Accepted"}}
    space.patch("wpsjobs", job, changed, "status")
    assert space.get("wpsjobs", job)["spec"]["priority"] == 0


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Done"},
        {"phase": 3},
        {"sequence": "first"},
        {"sequence": -1},
        {"attempt": 1.5},
        {"acceptedAt": "yesterday"},
        {"pausedSeconds": -1},
        {"progress": {"percent": 101}},
        {"progress": {"message": "x" * 1025}},
        {"attempts": [{"number": 1}] * 11},
        {"history": [{"phase": "Accepted"}] * 201},
        {"conditions": [{"type": "Accepted"}]},
    ],
)
def test_a_wrong_status_is_refused(space: Space, full: str, status: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as caught:
        space.patch("wpsjobs", full, {"status": status}, "status")
    assert caught.value.status == 422
    assert f"status.{next(iter(status))}" in str(caught.value)


def test_wpsjobs_are_selected_by_their_fields(space: Space) -> None:
    job = make(space, process="Selected", queue="chosen", id="ChosenOne")
    other = make(space, process="Echo")
    status = {"phase": "Succeeded", "sequence": 987654321}
    space.patch("wpsjobs", job, {"status": status}, "status")
    for selector in (
        "spec.process=Selected",
        "spec.queue=chosen",
        "spec.id=ChosenOne",
        "status.phase=Succeeded",
        "status.sequence=987654321",
    ):
        found = space.items("wpsjobs", f"?fieldSelector={selector}")
        assert [item["metadata"]["name"] for item in found] == [job], selector
    unfinished = space.items("wpsjobs", "?fieldSelector=status.phase!=Succeeded")
    assert other in [item["metadata"]["name"] for item in unfinished]
    assert job not in [item["metadata"]["name"] for item in unfinished]


# -- queues and processes --------------------------------------------------------------------------


def test_a_queue_has_the_defaults_of_the_design(space: Space) -> None:
    queue = name()
    space.custom("wpsqueues", queue)
    assert space.get("wpsqueues", queue)["spec"] == {
        "maxQueued": 256,
        "parallelism": 4,
        "suspend": False,
        "defaults": {"timeoutSeconds": 3600, "restartLimit": 2, "ttlSecondsAfterFinished": -1},
        "backoff": {"initialSeconds": 2, "factor": 2, "maxSeconds": 60},
        "startDeadlineSeconds": 300,
        "keepPodsSeconds": 600,
        "keepLogs": False,
        "executor": "Jobs",
    }


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"maxQueued": -1}, "spec.maxQueued"),
        ({"parallelism": -1}, "spec.parallelism"),
        ({"parallelism": "many"}, "spec.parallelism"),
        ({"restartOn": ["Rain"]}, "spec.restartOn"),
        ({"restartOn": ["Crash", "Crash"]}, "spec.restartOn"),
        ({"executor": "Magic"}, "spec.executor"),
        ({"backoff": {"factor": 0.5}}, "spec.backoff.factor"),
        ({"defaults": {"restartLimit": -1}}, "spec.defaults.restartLimit"),
        ({"perOwner": {"parallelism": -1}}, "spec.perOwner.parallelism"),
        ({"startDeadlineSeconds": 0}, "spec.startDeadlineSeconds"),
        ({"template": {"spec": {"containers": "none"}}}, "spec.template.spec.containers"),
        ({"template": {"spec": {"containers": ["worker"]}}}, "spec.template.spec.containers"),
        (
            {"template": {"spec": {"containers": [{"name": "worker", "env": {"A": "1"}}]}}},
            "spec.template.spec.containers[0].env",
        ),
        ({"template": {"spec": {"nodeSelector": ["ssd"]}}}, "spec.template.spec.nodeSelector"),
        ({"template": {"metadata": {"labels": ["a"]}}}, "spec.template.metadata.labels"),
    ],
)
def test_a_wrong_queue_is_refused_by_the_field(
    space: Space, spec: dict[str, Any], words: str
) -> None:
    assert words in refusal(space, "wpsqueues", **spec)


def test_a_template_keeps_all_that_a_pod_may_have(space: Space) -> None:
    queue = name()
    pod = {
        "nodeSelector": {"disk": "ssd"},
        "hostUsers": False,
        "containers": [
            {
                "name": "worker",
                "image": "x",
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "nfs": {"server": "example.org", "path": "/"}}],
        "anythingNew": {"of": ["later", "versions"]},
    }
    space.custom("wpsqueues", queue, template={"spec": pod})
    assert space.get("wpsqueues", queue)["spec"]["template"]["spec"] == pod


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "spec.identifier"),
        ({"identifier": ""}, "spec.identifier"),
        ({"identifier": "A", "timeoutSeconds": 0}, "spec.timeoutSeconds"),
        ({"identifier": "A", "restartOn": ["Rain"]}, "spec.restartOn"),
        ({"identifier": "A", "env": [{"value": "1"}]}, "spec.env"),
        ({"identifier": "A", "env": {"A": "1"}}, "spec.env"),
        ({"identifier": "A", "handler": "os.system('x')"}, "spec.handler"),
        ({"identifier": "A", "nodeSelector": {"a": 1}}, "spec.nodeSelector"),
    ],
)
def test_a_wrong_process_is_refused_by_the_field(
    space: Space, spec: dict[str, Any], words: str
) -> None:
    assert words in refusal(space, "wpsprocesses", **spec)


def test_the_identifier_of_a_process_is_immutable(space: Space) -> None:
    process = name()
    space.custom("wpsprocesses", process, identifier="A")
    with pytest.raises(RefusedError, match=r"spec\.identifier is immutable"):
        space.patch("wpsprocesses", process, {"spec": {"identifier": "B"}})
    space.patch("wpsprocesses", process, {"spec": {"parallelism": 1, "handler": "a.b"}})


# -- as people see them ----------------------------------------------------------------------------


def columns(*arguments: str) -> list[str]:
    return re.split(r"\s{2,}", kubectl("get", *arguments).splitlines()[0].strip())


def test_kubectl_shows_the_columns_of_the_design(space: Space, full: str) -> None:
    narrow = ["NAME", "PROCESS", "PHASE", "PROGRESS", "RESTARTS", "QUEUE", "AGE"]
    assert columns("wpsjobs", "-n", space.name) == narrow
    wide = ["OWNER", "JOB", "REASON", "STARTED", "FINISHED"]
    assert columns("wpsjobs", "-n", space.name, "-o", "wide") == narrow + wide
    space.custom("wpsqueues", "columns")
    expected = ["NAME", "QUEUED", "RUNNING", "MAX-QUEUED", "PARALLELISM", "AGE"]
    assert columns("wpsqueues", "-n", space.name) == expected


def test_a_row_shows_what_a_person_asks_for(space: Space) -> None:
    job = make(space, process="Hillshade", owner={"user": "ada"})
    space.patch("wpsjobs", job, {"status": STATUS}, "status")
    row = kubectl("get", "wj", job, "-n", space.name, "-o", "wide").splitlines()[1].split()
    assert row[:6] == [job, "Hillshade", "Started", "40", "1", "default"]
    assert row[7:10] == ["ada", "a-2", "PodRunning"]


@pytest.mark.parametrize("short", ["wj", "wq", "wp", "wps"])
def test_short_names_and_the_category_work(space: Space, short: str) -> None:
    kubectl("get", short, "-n", space.name)


@pytest.mark.parametrize(
    "path", ["wpsjob.spec.priority", "wpsqueue.spec.backoff", "wpsprocess.spec.handler"]
)
def test_kubectl_explains_the_fields(kube: Kube, path: str) -> None:
    words = kubectl("explain", path)
    assert "DESCRIPTION" in words
    assert "<empty>" not in words
