"""What the housekeeper writes, calls, removes, and what it refuses to remove."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract import processes, schemas
from tests.contract.conftest import Wps, only_job
from tests.contract.fakeapi import JOBS, FakeApi, Refusal, make_job
from tests.contract.test_accept import execute
from tests.contract.test_worker import RunWorker, read
from wpsjobs.api.times import format_time
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver import client, config, housekeeper
from wpsjobs.eoxserver.client import ClusterError
from wpsjobs.eoxserver.housekeeper import Housekeeper
from wpsjobs.eoxserver.sweep import MIN_MASS

AN_HOUR = 3600.0


@pytest.fixture
def keeper(api: FakeApi) -> Housekeeper:
    return housekeeper.make(config.load())


def accept(wps: Wps, api: FakeApi, process: str = "Recorder") -> str:
    """An accepted job, whose marker is old enough to be swept."""
    wps.get(process)
    name = str(list(api.jobs)[-1])
    age_marker(wps, name)
    return name


def age_marker(wps: Wps, job: str) -> None:
    old = time.time() - AN_HOUR
    os.utime(wps.work / "task" / job / "marker.json", (old, old))


def two_passes(keeper: Housekeeper) -> None:
    keeper.full_pass()
    keeper.full_pass()


# Final responses


@pytest.mark.parametrize(
    ("phase", "reason", "message"),
    [
        ("Failed", "Crash", "The process was ended by the signal SIGKILL."),
        ("Failed", "Timeout", "The process ran for too long: 3 s."),
        ("Failed", "OutOfMemory", "It needed more memory than it may have."),
        ("Dismissed", "Dismissed", "The job was dismissed."),
    ],
)
def test_a_job_that_died_gets_its_response_and_on_failed(
    wps: Wps, api: FakeApi, keeper: Housekeeper, phase: str, reason: str, message: str
) -> None:
    name = accept(wps, api)
    api.set_status(name, phase=phase, reason=reason, message=message, attempt=1)
    keeper.full_pass()

    document = wps.document(name)
    schemas.check(document)
    (error,) = read(document).errors
    assert "ProcessFailed" in document
    assert (error.code, error.locator, error.text) == ("NoApplicableCode", reason, message)
    assert processes.calls()[-1] == ["on_failed", message, reason]


def test_it_is_done_once_by_however_many_housekeepers(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    api.set_status(name, phase="Failed", reason="Crash", message="gone", attempt=1)
    two_passes(keeper)
    housekeeper.make(config.load()).full_pass()

    assert processes.names().count("on_failed") == 1


def test_the_exceptions_class_is_the_locator(
    wps: Wps, api: FakeApi, keeper: Housekeeper, run_worker: RunWorker
) -> None:
    wps.get("Fail", message="nope")
    name = str(only_job(api)["metadata"]["name"])
    run_worker(name)
    api.set_status(name, phase="Failed", reason="ProcessError", message="nope")
    keeper.full_pass()

    (error,) = read(wps.document(name)).errors
    assert (error.locator, error.text) == ("RuntimeError", "nope")


def test_a_success_is_never_overwritten(
    wps: Wps, api: FakeApi, keeper: Housekeeper, run_worker: RunWorker
) -> None:
    name = accept(wps, api)
    run_worker(name)
    document = wps.document(name)
    api.set_status(name, phase="Failed", reason="Crash", message="its node was lost")
    keeper.full_pass()

    assert wps.document(name) == document
    assert "on_failed" not in processes.names()


def test_the_clients_error_is_reported_once(
    wps: Wps, api: FakeApi, keeper: Housekeeper, run_worker: RunWorker
) -> None:
    wps.get("Recorder", error="client")
    name = str(only_job(api)["metadata"]["name"])
    run_worker(name)
    document = wps.document(name)
    api.set_status(name, phase="Failed", reason="ClientError", message="not this one")
    keeper.full_pass()

    assert wps.document(name) == document
    assert processes.names().count("on_failed") == 1


def test_a_job_asked_for_again_that_fails_again_is_reported_again(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    api.set_status(name, phase="Failed", reason="Crash", message="first", attempt=1)
    keeper.full_pass()
    api.set_status(name, phase="Failed", message="second", attempt=2, retriesSeen=1)
    keeper.full_pass()

    assert "second" in wps.document(name)
    assert processes.names().count("on_failed") == 2


def test_a_dismissed_jobs_outputs_go_and_its_response_stays(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    (wps.work / "perm" / name / "half.tif").write_text("x")
    (wps.work / "temp" / name / "1").mkdir(parents=True)
    api.set_status(name, phase="Dismissed", reason="Dismissed", attempt=1)
    keeper.full_pass()

    assert [path.name for path in (wps.work / "perm" / name).iterdir()] == ["executeResponse.xml"]
    assert not (wps.work / "temp" / name).exists()


def test_an_unknown_process_gets_a_response_that_says_so(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    api.add(make_job("by-hand", process="Unheard"))
    api.set_status("by-hand", phase="Failed", reason="UnknownProcess", message="There are: Echo")
    keeper.full_pass()

    document = wps.document("by-hand")
    schemas.check(document)
    assert "Unheard" in document
    assert "There are: Echo" in document


def test_what_xml_cannot_hold_does_not_cost_the_response(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    api.set_status(name, phase="Failed", reason="Crash", message="a\x00b\x1b[0m \ud800", attempt=1)
    keeper.full_pass()

    document = wps.document(name)
    schemas.check(document)
    assert "ProcessFailed" in document


def test_on_paused_is_called_when_a_job_is_paused(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    document = wps.document(name)
    keeper.full_pass()
    api.set_status(name, phase="Paused", progress={"percent": 33})
    two_passes(keeper)

    assert processes.calls()[2:] == [["on_paused", 33]]
    assert wps.document(name) == document, "known clients fail on ProcessPaused"


# Sweeping


def test_a_job_that_is_gone_is_discarded_and_removed(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    (wps.work / "perm" / name / "made.txt").write_text("x")
    api.remove(name)
    keeper.full_pass()
    assert (wps.work / "task" / name).exists(), "absent from one list only"
    keeper.full_pass()

    assert wps.files() == []
    assert processes.calls()[-1] == ["discard", name]


def test_discard_is_called_by_one_alone(
    wps: Wps, api: FakeApi, backend: Any, keeper: Housekeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A housekeeper sees at once that a web server has deleted a WpsJob."""
    name = accept(wps, api)
    keeper.full_pass()
    delete = client.Cluster.delete_job

    def seen_at_once(self: Any, name: str, **options: Any) -> None:
        job = WpsJob.from_raw(api.jobs[name])
        delete(self, name, **options)
        keeper._remove_promptly(job)

    monkeypatch.setattr(client.Cluster, "delete_job", seen_at_once)
    backend.purge(name)

    assert processes.names().count("discard") == 1
    assert wps.files() == []


def test_a_discard_whose_caller_died_is_taken_over(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    claim = wps.work / "task" / name / "discarding"
    claim.touch()
    api.remove(name)
    two_passes(keeper)
    assert "discard" not in processes.names()
    os.utime(claim, (time.time() - AN_HOUR,) * 2)
    keeper.full_pass()

    assert processes.calls()[-1] == ["discard", name]
    assert wps.files() == []


def test_a_young_marker_is_not_swept(wps: Wps, api: FakeApi, keeper: Housekeeper) -> None:
    """An Execute writes it before the WpsJob."""
    name = accept(wps, api)
    (wps.work / "task" / name / "marker.json").touch()
    api.remove(name)
    two_passes(keeper)

    assert (wps.work / "task" / name).exists()


def test_what_has_no_marker_is_not_swept(wps: Wps, api: FakeApi, keeper: Housekeeper) -> None:
    for folder in ("task", "perm", "temp"):
        (wps.work / folder / "old-daemon").mkdir()
    (wps.work / "task" / "old-daemon" / "marker.json").write_text("not a marker")
    (wps.work / "task" / "file").write_text("x")
    before = wps.files()
    two_passes(keeper)

    assert wps.files() == before


def test_another_namespaces_directories_are_not_swept(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    marker = wps.work / "task" / name / "marker.json"
    marker.write_text(marker.read_text().replace("5f0c7a52", "00000000"))
    age_marker(wps, name)
    api.remove(name)
    two_passes(keeper)

    assert (wps.work / "perm" / name).exists()


def test_nothing_is_swept_after_a_list_that_failed(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    api.remove(name)
    keeper.full_pass()
    api.refuse = lambda _, path: Refusal(500, "broken") if path == JOBS else None
    with pytest.raises(ClusterError):
        keeper.full_pass()

    assert (wps.work / "task" / name).exists()


def test_a_job_that_the_list_lacks_and_a_get_finds_is_not_swept(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    hidden = api.jobs.pop(name)
    keeper.full_pass()
    original = api.answer

    def answer(method: str, path: str, body: Any) -> Any:
        return hidden if path.endswith(name) else original(method, path, body)

    api.answer = answer  # type: ignore[method-assign]
    keeper.full_pass()

    assert (wps.work / "task" / name).exists()


def test_a_mass_removal_stops_and_is_reported(
    wps: Wps,
    backend: Any,
    api: FakeApi,
    keeper: Housekeeper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(12):
        execute(backend, "Echo", job_id=f"job{number}", text="x")
        age_marker(wps, f"job{number}")
    for name in list(api.jobs)[:11]:
        api.remove(name)
    reports: list[str] = []
    monkeypatch.setattr(
        "wpsjobs.eoxserver.housekeeper.logger.error", lambda _, text: reports.append(text)
    )
    two_passes(keeper)
    keeper.full_pass()

    assert len(list((wps.work / "task").iterdir())) == 12
    assert len(reports) == 1, "said once, not at each pass"
    assert "11 of 12" in reports[0]
    two_passes(housekeeper.make(config.load(), allow_mass=True))
    assert [path.name for path in (wps.work / "task").iterdir()] == ["job11"]


def test_what_had_expired_is_no_loss_however_much_it_is(
    wps: Wps, backend: Any, api: FakeApi, keeper: Housekeeper
) -> None:
    past = format_time(datetime.now(UTC) - timedelta(minutes=1))
    for number in range(12):
        execute(backend, "Echo", job_id=f"job{number}", text="x")
        age_marker(wps, f"job{number}")
        api.set_status(f"job{number}", phase="Succeeded", expiresAt=past)
    keeper.full_pass()
    for name in list(api.jobs):
        api.remove(name)
    two_passes(keeper)

    assert wps.files() == []


def test_a_rejected_job_whose_web_server_died_is_deleted(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    long_ago = format_time(datetime.now(UTC) - timedelta(hours=1))
    api.set_spec(name, acceptBefore=long_ago)
    api.set_status(name, phase="Rejected", reason="QueueFull")
    two_passes(keeper)
    keeper.full_pass()

    assert api.jobs == {}
    assert wps.files() == []
    assert processes.names()[-1] == "discard"


def test_another_submission_of_the_same_name_is_left_alone(
    wps: Wps, api: FakeApi, keeper: Housekeeper
) -> None:
    name = accept(wps, api)
    document = wps.document(name)
    api.remove(name)
    api.add(make_job(name, process="Recorder", submission="another"))
    api.set_status(name, phase="Failed", reason="Crash", message="x")
    two_passes(keeper)

    assert wps.document(name) == document


def test_many_deletions_at_once_are_left_to_the_full_pass(
    wps: Wps,
    backend: Any,
    api: FakeApi,
    keeper: Housekeeper,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the watch tells is acted on at once, up to where somebody may have lost a cluster."""
    names = [f"job{number}" for number in range(30)]
    for name in names:
        execute(backend, "Echo", job_id=name, text="x")
        age_marker(wps, name)
    version = keeper.full_pass()
    for name in names[:20]:
        api.remove(name)
    reports: list[str] = []
    monkeypatch.setattr(
        "wpsjobs.eoxserver.housekeeper.logger.error", lambda _, text: reports.append(text)
    )
    keeper._follow(version, 1.5)

    left = {path.name for path in (wps.work / "task").iterdir()}
    assert len(left) == 30 - (MIN_MASS - 1)
    two_passes(keeper)
    assert {path.name for path in (wps.work / "task").iterdir()} == left
    assert len(reports) == 1


def test_a_single_deletion_is_acted_on_at_once(wps: Wps, api: FakeApi, keeper: Housekeeper) -> None:
    name = accept(wps, api)
    version = keeper.full_pass()
    api.remove(name)
    keeper._follow(version, 1.5)

    assert wps.files() == []
    assert processes.names()[-1] == "discard"
