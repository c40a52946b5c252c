"""Resources are parsed whatever their fields hold; levels of defaults have their order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wpsjobs.api.phases import DEFAULT_RESTART_ON, Cause, Phase
from wpsjobs.api.policy import Policy
from wpsjobs.api.wpsjob import Owner, WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import Backoff, Executor, WpsQueue

CRDS = Path(__file__).parents[3] / "crds"
METADATA = {"name": "a", "namespace": "wps", "uid": "u", "resourceVersion": "7"}


def fields_of(plural: str, part: str) -> dict[str, Any]:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]
    properties: dict[str, Any] = schema["properties"]
    return properties


def _names(schema: dict[str, Any]) -> set[str]:
    names = set(schema.get("properties", {}))
    for inner in schema.get("properties", {}).values():
        names |= _names(inner)
    return names


KEYS = sorted(
    {
        name
        for plural in ("wpsjobs", "wpsqueues", "wpsprocesses")
        for part in ("spec", "status")
        for name in fields_of(plural, part)
        | {n: None for f in fields_of(plural, part).values() for n in _names(f)}
    }
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(
        [10**400, -1, "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00", "Accepted", "Crash"]
    )
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=12) | JUNK
PARSERS: list[Callable[[dict[str, Any]], WpsJob | WpsQueue | WpsProcess]] = [
    WpsJob.from_raw,
    WpsQueue.from_raw,
    WpsProcess.from_raw,
]


@given(OBJECTS, OBJECTS)
def test_no_junk_raises(spec: Any, status: Any) -> None:
    for parse in PARSERS:
        item = parse({"metadata": METADATA, "spec": spec, "status": status})
        assert item.metadata.name == "a"
        hash(item.metadata)


@given(OBJECTS, OBJECTS, OBJECTS)
def test_a_policy_comes_of_any_junk(job: Any, process: Any, queue: Any) -> None:
    policy = Policy.resolve(
        WpsJob.from_raw({"metadata": METADATA, "spec": job}),
        WpsProcess.from_raw({"metadata": METADATA, "spec": process}),
        WpsQueue.from_raw({"metadata": METADATA, "spec": queue}),
    )
    assert isinstance(policy.timeout_seconds, int)
    policy.backoff.seconds(3)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"metadata": {}},
        {"metadata": {"name": "a", "uid": "u"}},
        {"metadata": {**METADATA, "resourceVersion": "x"}},
    ],
)
def test_what_is_no_object_is_refused(parse: Callable[[Any], Any], raw: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        parse(raw)


def test_a_wpsjob_without_more_has_the_defaults_of_the_design() -> None:
    job = WpsJob.from_raw({"metadata": METADATA, "spec": {"process": "Echo"}})
    assert (job.id, job.spec.queue, job.spec.version) == ("a", "default", "1.0.0")
    assert job.status.phase is None
    assert not job.finished
    assert job.sequence == 7


def test_a_wpsjob_with_everything() -> None:
    spec = {
        "id": "Job.1",
        "process": "Echo",
        "payload": {"sha256": "0" * 64, "size": 12},
        "acceptBefore": "2026-01-31T09:30:00Z",
        "parts": ["a", "b"],
        "owner": {"user": "ada", "remoteAddress": "192.0.2.1"},
        "priority": -3,
        "retries": 2,
        "timeoutSeconds": 5,
    }
    status = {
        "phase": "Started",
        "sequence": 3,
        "progress": {"percent": 40, "finalising": True},
        "pausedSeconds": 2,
    }
    job = WpsJob.from_raw({"metadata": METADATA, "spec": spec, "status": status})
    assert (job.id, job.sequence, job.spec.priority, job.spec.parts) == ("Job.1", 3, -3, ("a", "b"))
    assert (job.spec.payload_sha256, job.spec.payload_size) == ("0" * 64, 12)
    assert job.spec.owner.identity == "ada"
    assert job.status.phase is Phase.STARTED
    assert job.status.progress is not None
    assert job.status.progress.finalising
    assert job.status.paused_seconds == 2.0


def test_an_owner_is_told_by_user_and_else_by_address() -> None:
    assert Owner("ada", "192.0.2.1").identity == "ada"
    assert Owner(None, "192.0.2.1").identity == "192.0.2.1"
    assert Owner().identity is None


def test_true_is_no_number_and_text_no_flag() -> None:
    job = WpsJob.from_raw(
        {"metadata": METADATA, "spec": {"process": "A", "priority": True, "cancel": "true"}}
    )
    assert job.spec.priority == 0
    assert job.spec.cancel is False


def test_a_queue_parsed_from_nothing_has_the_schemas_defaults() -> None:
    queue = WpsQueue.from_raw({"metadata": METADATA})
    schema = fields_of("wpsqueues", "spec")
    assert queue.max_queued == schema["maxQueued"]["default"]
    assert queue.parallelism == schema["parallelism"]["default"]
    assert queue.start_deadline_seconds == schema["startDeadlineSeconds"]["default"]
    assert queue.keep_pods_seconds == schema["keepPodsSeconds"]["default"]
    assert queue.executor is Executor.JOBS
    backoff = schema["backoff"]["properties"]
    assert queue.backoff == Backoff(
        backoff["initialSeconds"]["default"],
        backoff["factor"]["default"],
        backoff["maxSeconds"]["default"],
    )
    policy = Policy.resolve(WpsJob.from_raw({"metadata": METADATA}), None, None)
    defaults = {k: v["default"] for k, v in schema["defaults"]["properties"].items()}
    assert policy.timeout_seconds == defaults["timeoutSeconds"]
    assert policy.restart_limit == defaults["restartLimit"]
    assert policy.ttl_seconds_after_finished == defaults["ttlSecondsAfterFinished"]
    assert policy.restart_on == DEFAULT_RESTART_ON


LEVELS = st.none() | st.integers(0, 1000)


@given(LEVELS, LEVELS, LEVELS)
@pytest.mark.parametrize(
    ("key", "attribute"),
    [
        ("timeoutSeconds", "timeout_seconds"),
        ("restartLimit", "restart_limit"),
        ("ttlSecondsAfterFinished", "ttl_seconds_after_finished"),
    ],
)
def test_the_wpsjob_goes_before_the_process_and_that_before_the_queue(
    key: str, attribute: str, job: int | None, process: int | None, queue: int | None
) -> None:
    def spec(value: int | None) -> dict[str, Any]:
        return {} if value is None else {key: value}

    policy = Policy.resolve(
        WpsJob.from_raw({"metadata": METADATA, "spec": spec(job)}),
        WpsProcess.from_raw({"metadata": METADATA, "spec": spec(process)}),
        WpsQueue.from_raw({"metadata": METADATA, "spec": {"defaults": spec(queue)}}),
    )
    known = [value for value in (job, process, queue) if value is not None]
    if known:
        assert getattr(policy, attribute) == known[0]


@pytest.mark.parametrize(
    ("process", "queue", "expected"),
    [
        (None, None, DEFAULT_RESTART_ON),
        (None, ["Timeout"], {Cause.TIMEOUT}),
        (["Crash"], ["Timeout"], {Cause.CRASH}),
        ([], ["Timeout"], set()),
    ],
)
def test_restart_on_of_the_process_goes_before_the_queues(
    process: list[str] | None, queue: list[str] | None, expected: set[Cause]
) -> None:
    def spec(causes: list[str] | None) -> dict[str, Any]:
        return {} if causes is None else {"restartOn": causes}

    policy = Policy.resolve(
        WpsJob.from_raw({"metadata": METADATA}),
        WpsProcess.from_raw({"metadata": METADATA, "spec": spec(process)}),
        WpsQueue.from_raw({"metadata": METADATA, "spec": spec(queue)}),
    )
    assert policy.restart_on == expected


def test_the_pause_grows_by_its_factor_up_to_its_most() -> None:
    backoff = Backoff(2, 3, 60)
    assert [backoff.seconds(n) for n in range(1, 6)] == [2, 6, 18, 54, 60]


@given(st.floats(0, 1e300), st.floats(1, 1e300), st.floats(0, 1e300), st.integers(0, 1_000_000))
def test_no_pause_is_over_its_most(
    initial: float, factor: float, most: float, restarts: int
) -> None:
    assert 0 <= Backoff(initial, factor, most).seconds(restarts) <= most
