"""The instance as a whole: its database, its owner rule, its logs, its probe."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import call_command
from django.db import connections
from django.test import RequestFactory, override_settings
from owslib.wps import WebProcessingService

from tests.contract import processes
from tests.contract.conftest import Ended, Wps, job_id, only_job
from tests.contract.fakeapi import NAMESPACE, FakeApi
from tests.contract.test_worker import read
from wpsjobs.api.attempt import ExitCode
from wpsjobs.eoxserver import client, config, logs
from wpsjobs.eoxserver.housekeeper import Housekeeper
from wpsjobs.eoxserver.owner import owner_of


@pytest.fixture(scope="module")
def database() -> Iterator[None]:
    call_command("demo_setup")
    yield
    connections.close_all()


def test_statistics_of_the_registered_coverage(
    database: None, wps: Wps, api: FakeApi, run_worker: Callable[..., Ended]
) -> None:
    wps.get("Statistics")
    ended = run_worker(job_id(only_job(api)))

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    (output,) = read(wps.document(job_id(only_job(api)))).processOutputs
    (coverage,) = json.loads(output.data[0])["result"]
    (band,) = coverage["bands"]
    assert coverage["id"] == "olinda_elevation"
    assert band["MINIMUM"] < band["MEAN"] < band["MAXIMUM"] < 200.0


def test_statistics_of_an_unknown_collection_fail(
    database: None, wps: Wps, api: FakeApi, run_worker: Callable[..., Ended]
) -> None:
    wps.get("Statistics", collection="nowhere")
    ended = run_worker(job_id(only_job(api)))

    assert ended.code == ExitCode.PROCESS_ERROR
    assert ended.termination is not None
    assert ended.termination.locator == "DoesNotExist"


def test_owslib_reads_the_capabilities(wps: Wps) -> None:
    base = "/ows?service=WPS&version=1.0.0&request="
    capabilities = wps.http.get(base + "GetCapabilities")
    description = wps.http.get(base + "DescribeProcess&identifier=Hillshade")
    service = WebProcessingService("http://testserver/ows", skip_caps=True)
    service.getcapabilities(xml=capabilities.content)
    offered = {process.identifier for process in service.processes}

    assert {"Hillshade", "NDVI", "Statistics", "Echo", "Sleep", "Fail", "Crash", "Hog"} <= offered
    assert b'storeSupported="true"' in description.content


def test_the_probe_loads_everything(wps: Wps) -> None:
    answer = wps.http.get("/healthz")

    assert answer.status_code == 200
    assert answer.json()["processes"] >= 8


def test_the_authenticated_user_is_the_owner() -> None:
    request = RequestFactory().get("/ows", REMOTE_ADDR="192.0.2.7")
    assert owner_of(request) == {"remoteAddress": "192.0.2.7"}
    request.user = AnonymousUser()
    assert owner_of(request) == {"remoteAddress": "192.0.2.7"}
    request.user = User(username="ada")
    assert owner_of(request) == {"user": "ada", "remoteAddress": "192.0.2.7"}
    assert owner_of(None) == {}


def from_header(request: Any) -> tuple[str | None, str | None]:
    return request.headers.get("X-User"), None


@override_settings(WPSJOBS_OWNER="tests.contract.test_instance.from_header")
def test_a_callable_of_the_instance_may_say_who_the_owner_is() -> None:
    request = RequestFactory().get("/ows", headers={"X-User": "grace" * 100})

    assert owner_of(request) == {"user": ("grace" * 100)[:256]}


def test_the_former_back_ends_logger_keeps_receiving() -> None:
    old, new = logging.getLogger("eoxs_wps_async"), logging.getLogger("wpsjobs")
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    before = (new.handlers[:], new.propagate, new.level)
    new.handlers.clear()
    old.addHandler(handler)
    old.setLevel(logging.INFO)
    try:
        logs.keep_old_logger()
        logging.getLogger("wpsjobs.eoxserver.backend").info("queued")
        logging.getLogger("wpsjobs.eoxserver.backend").debug("details")
    finally:
        old.removeHandler(handler)
        new.handlers[:], new.propagate = before[0], before[1]
        new.setLevel(before[2])

    assert [record.getMessage() for record in records] == ["queued"]


def test_an_answer_lost_on_the_way_is_no_second_job(
    wps: Wps, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept connection dies after the API server has created the WpsJob."""
    create, lost = client.Cluster.create_job, []

    def lossy(self: Any, body: Any, timeout: float) -> Any:
        created = create(self, body, timeout)
        if not lost:
            lost.append(created)
            raise client.UnreachableError("connection reset", sent=True)
        return created

    monkeypatch.setattr(client.Cluster, "create_job", lossy)

    assert wps.get("Echo", text="x").status_code == 200
    assert len(api.jobs) == 1


def test_an_error_after_a_lost_answer_does_not_take_back_what_may_have_been_made(
    wps: Wps, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = client.Cluster.create_job
    errors = [client.UnreachableError("reset", sent=True), client.ClusterError("500 etcd is away")]

    def lost(self: Any, body: Any, timeout: float) -> Any:
        if len(errors) == 2:
            create(self, body, timeout)
        raise errors.pop(0)

    monkeypatch.setattr(client.Cluster, "create_job", lost)
    answer = wps.get("Recorder")

    assert not errors
    assert answer.status_code == 503
    name = job_id(only_job(api))
    assert (Path(wps.work) / "task" / name / "marker.json").exists()
    assert processes.names() == ["initialize", "on_accepted"], "nothing is discarded yet"


def test_a_creation_that_nobody_can_tell_of_is_left_to_the_housekeeper(
    wps: Wps, api: FakeApi, monkeypatch: pytest.MonkeyPatch, run_worker: Callable[..., Ended]
) -> None:
    create = client.Cluster.create_job

    def lost(self: Any, body: Any, timeout: float) -> Any:
        create(self, body, timeout)
        raise client.UnreachableError("connection reset", sent=True)

    def unreachable(self: Any, name: str, timeout: float = 1.0) -> Any:
        raise client.UnreachableError("connection refused", sent=False)

    monkeypatch.setattr(client.Cluster, "create_job", lost)
    monkeypatch.setattr(client.Cluster, "get_job", unreachable)
    answer = wps.get("Recorder")

    assert answer.status_code == 503
    name = job_id(only_job(api))
    assert (Path(wps.work) / "task" / name / "marker.json").exists()
    assert run_worker(name).code == ExitCode.BAD_REQUEST, "its client was told: busy"
    assert processes.names() == ["initialize", "on_accepted"]

    monkeypatch.undo()
    keeper = Housekeeper(
        config.load(), client.Cluster(NAMESPACE), now=lambda: datetime.now(UTC) + timedelta(hours=1)
    )
    keeper.full_pass()
    assert api.jobs == {}, "what is refused leaves nothing behind"
    keeper.full_pass()
    keeper.full_pass()
    assert wps.files() == []
    assert processes.names() == ["initialize", "on_accepted", "discard"]
