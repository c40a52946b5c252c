"""The rest of the back-end's interface, as other code of an instance calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eoxserver.services.ows.wps.exceptions import InvalidParameterValue
from eoxserver.services.ows.wps.parameters import ResponseDocument
from eoxserver.services.ows.wps.util import get_process_by_identifier

from tests.contract import processes
from tests.contract.conftest import Wps
from tests.contract.fakeapi import FakeApi, Refusal
from tests.contract.test_accept import execute
from wpsjobs.eoxserver.client import ClusterError
from wpsjobs.eoxserver.jobs import UnknownJobError

OLD_RESPONSE = (
    '<wps:ExecuteResponse xmlns:wps="http://www.opengis.net/wps/1.0.0"><wps:Status>'
    "<wps:ProcessSucceeded/></wps:Status></wps:ExecuteResponse>"
)


@pytest.fixture
def job(backend: Any, wps: Wps) -> str:
    return execute(backend, "Echo", job_id="mine", text="x")


@pytest.mark.parametrize(
    ("phase", "status"),
    [
        ("Accepted", "ACCEPTED"),
        ("Scheduled", "ACCEPTED"),
        ("Started", "STARTED"),
        ("Paused", "PAUSED"),
        ("Succeeded", "SUCCEEDED"),
        ("Failed", "FAILED"),
        ("Dismissed", "CANCELLED"),
    ],
)
def test_get_status_follows_the_phase(
    backend: Any, api: FakeApi, job: str, phase: str, status: str
) -> None:
    api.set_status(job, phase=phase)

    assert backend.get_status(job) == status


def test_other_versions_than_1_0_are_refused(backend: Any, wps: Wps) -> None:
    assert backend.supported_versions == ("1.0.0",)
    process = get_process_by_identifier("Echo")
    form = ResponseDocument(status=True, store_response=True)
    with pytest.raises(InvalidParameterValue, match=r"2\.0\.0"):
        backend.execute(process, {}, form, version="2.0.0")
    assert wps.files() == []


def test_the_web_servers_working_directory_stays(backend: Any, wps: Wps) -> None:
    """It is one for all threads of a process."""
    before = Path.cwd()
    wps.get("Recorder")
    backend.purge(backend.list_queue()[0])

    assert Path.cwd() == before


def test_an_unknown_job_is_an_error_of_its_own(backend: Any) -> None:
    for call in (backend.get_status, backend.get_response, backend.cancel, backend.pause):
        for job_id in ("nobody", "../../etc", ""):
            with pytest.raises(UnknownJobError):
                call(job_id)


def test_get_response_is_a_binary_file(backend: Any, job: str) -> None:
    with backend.get_response(job) as file:
        assert b"ProcessAccepted" in file.read()


def test_cancel_pause_and_resume_write_the_spec(backend: Any, api: FakeApi, job: str) -> None:
    backend.pause(job)
    assert api.jobs[job]["spec"]["suspend"] is True
    backend.resume(job)
    assert api.jobs[job]["spec"]["suspend"] is False
    backend.cancel(job)
    assert api.jobs[job]["spec"]["cancel"] is True


def test_list_says_what_is_known_of_each(backend: Any, api: FakeApi, job: str) -> None:
    execute(backend, "Echo", job_id="done", text="x")
    api.set_status("done", phase="Succeeded")

    assert backend.list(["mine", "done", "nobody"]) == [
        ("mine", {"response_exists": True, "is_finished": False, "is_active": True}),
        ("done", {"response_exists": True, "is_finished": True, "is_active": False}),
    ]
    assert {job_id for job_id, _ in backend.list()} == {"mine", "done"}


def test_the_queue_is_listed_in_its_order(backend: Any, api: FakeApi) -> None:
    for number, (job_id, priority) in enumerate([("b", 0), ("a", 0), ("c", 5), ("d", 0)]):
        execute(backend, "Echo", job_id=job_id, text="x")
        api.set_spec(job_id, priority=priority)
        api.set_status(job_id, sequence=number + 1)
    api.set_status("d", phase="Started")

    assert backend.list_queue() == ["c", "b", "a"]
    assert backend.get_queue_size() == 3


@pytest.mark.parametrize("phase", ["Accepted", "Started", "Paused", "Succeeded", "Dismissed"])
@pytest.mark.parametrize("process", [None, "Recorder"])
def test_purge_removes_all_in_every_phase(
    backend: Any, api: FakeApi, wps: Wps, phase: str, process: str | None
) -> None:
    wps.get("Recorder")
    (name,) = api.jobs
    api.set_status(name, phase=phase)
    backend.purge(name, process)

    assert api.jobs == {}
    assert wps.files() == []
    assert processes.calls()[-1] == ["discard", name]
    backend.purge(name, process)  # again does no harm


def test_a_purge_that_the_api_server_stopped_can_be_repeated(
    backend: Any, api: FakeApi, wps: Wps
) -> None:
    wps.get("Recorder")
    (name,) = api.jobs
    api.refuse = lambda method, _: Refusal(500, "away") if method == "DELETE" else None
    with pytest.raises(ClusterError):
        backend.purge(name)
    assert "discard" not in processes.names()
    api.refuse = lambda *_: None
    backend.purge(name)

    assert processes.calls()[-1] == ["discard", name]
    assert wps.files() == []


def test_results_of_an_older_back_end_stay_readable_and_can_be_purged(
    backend: Any, wps: Wps
) -> None:
    directory = wps.work / "perm" / "from-before"
    directory.mkdir()
    (directory / "executeResponse.xml").write_text(OLD_RESPONSE)

    with backend.get_response("from-before") as file:
        assert file.read().decode() == OLD_RESPONSE
    assert backend.get_status("from-before") == "SUCCEEDED"
    assert backend.list(["from-before"]) == [
        ("from-before", {"response_exists": True, "is_finished": True, "is_active": False})
    ]
    backend.purge("from-before", "Recorder")
    assert wps.files() == []
    assert processes.calls() == [["discard", "from-before"]]
