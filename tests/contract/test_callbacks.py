"""What callbacks raise is logged, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract import processes
from tests.contract.conftest import Wps, job_id, only_job
from tests.contract.fakeapi import NAMESPACE, FakeApi
from tests.contract.test_worker import RunWorker, read
from wpsjobs.api.attempt import ExitCode
from wpsjobs.eoxserver import config
from wpsjobs.eoxserver.client import Cluster
from wpsjobs.eoxserver.housekeeper import Housekeeper

MOOD = "is not in the mood"


@pytest.fixture
def keeper() -> Iterator[Housekeeper]:
    cluster = Cluster(NAMESPACE)
    yield Housekeeper(config.load(), cluster)
    cluster.close()


def test_of_a_success(
    backend: Any, wps: Wps, api: FakeApi, run_worker: RunWorker, keeper: Housekeeper
) -> None:
    assert wps.get("Quarrelsome").status_code == 200
    job = job_id(only_job(api))
    keeper.full_pass()
    api.set_status(job, phase="Paused")
    keeper.full_pass()
    ended = run_worker(job)

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert f"on_started {MOOD}" in ended.output
    assert "ProcessSucceeded" in wps.document(job)
    backend.purge(job)
    assert wps.files() == []
    assert processes.names() == [
        *("on_accepted", "on_paused", "on_started", "on_progress_update", "on_succeeded"),
        "discard",
    ]


def test_of_a_failure(wps: Wps, api: FakeApi, run_worker: RunWorker, keeper: Housekeeper) -> None:
    wps.get("Quarrelsome", fail="true")
    job = job_id(only_job(api))
    assert run_worker(job).code == ExitCode.PROCESS_ERROR
    api.set_status(job, phase="Failed", reason="ProcessError", message="as it was asked to")
    keeper.full_pass()
    keeper.full_pass()

    assert "as it was asked to" in wps.document(job)
    assert processes.names()[-1] == "on_failed"
    assert processes.names().count("on_failed") == 1


def test_of_a_refusal(wps: Wps, api: FakeApi) -> None:
    api.on_created = lambda _: {"phase": "Rejected", "reason": "QueueFull", "message": "full"}

    assert wps.get("Quarrelsome").status_code == 503
    assert wps.files() == []
    assert processes.names() == ["on_accepted", "discard"]


def test_a_process_is_called_with_the_formats_of_its_outputs(
    wps: Wps, api: FakeApi, run_worker: RunWorker
) -> None:
    wps.get("Quarrelsome")
    run_worker(job_id(only_job(api)))

    (output,) = read(wps.document(job_id(only_job(api)))).processOutputs
    assert json.loads(output.data[0]) == {"arguments": "application/json"}
