"""A task in a job pod: the supervisor and its child call the handler, and tell what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import Ended, StartWorker, only_job
from tests.contract.fakeapi import FakeApi, Job, make_job
from tests.contract.handlers import Value
from tests.contract.processes import calls, names
from wpsjobs import tracker
from wpsjobs.api.attempt import Environment, ExitCode
from wpsjobs.eoxserver.jobs import UnknownJobError
from wpsjobs.tracker.status import Status

RunWorker = Callable[..., Ended]


@pytest.fixture(autouse=True)
def connection(api: FakeApi, work: Path) -> Iterator[None]:
    """The tracker's own, of each test."""
    tracker.close()
    yield
    tracker.close()


@pytest.fixture
def begin(api: FakeApi, start_worker: StartWorker) -> Callable[..., Any]:
    """Enqueue a task for a handler of this folder, and start its worker."""

    def begin(handler: str, given: Any = None, **options: Any) -> Any:
        path = f"tests.contract.handlers.{handler}"
        tracker.registerTaskType("Test", path)
        tracker.enqueueTask("Test", "one", given)
        return start_worker(name_of(api), **{Environment.HANDLER: path}, **options)

    return begin


def name_of(api: FakeApi) -> str:
    return str(only_job(api)["metadata"]["name"])


def again(api: FakeApi, start_worker: StartWorker, handler: str, attempt: int = 2) -> Ended:
    """The end of a further attempt."""
    path = f"tests.contract.handlers.{handler}"
    return start_worker(name_of(api), attempt, **{Environment.HANDLER: path}).wait()  # type: ignore[no-any-return]


def task_dir(work: Path, job: Job) -> Path:
    return work / "task" / str(job["spec"]["id"])


@pytest.mark.parametrize("given", [[1, 2.5, "ü"], (1, 2), {1: {2}}, None])
def test_a_handler_gets_what_was_enqueued(
    begin: Callable[..., Any], api: FakeApi, work: Path, given: Any
) -> None:
    ended = begin("note", given).wait()

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    ((_, text, info, folder),) = calls()
    assert text == repr(given)
    assert info == ["Test", "one", 3, "RUNNING"]
    assert folder == "1", "the working directory is the attempt's"
    assert tracker.getTaskResponse("Test", "one") == (repr(given), "text/plain")
    assert api.progress(name_of(api))["finalising"] is True
    assert list((work / "temp").iterdir()) == []
    assert list((work / "perm").iterdir()) == [], "nothing of a task is published"


def test_a_handler_gets_objects_of_its_own_classes(begin: Callable[..., Any]) -> None:
    assert begin("note", Value("of a class")).wait().code == ExitCode.SUCCEEDED
    assert calls()[0][1] == "of a class"


def test_the_functions_are_about_the_own_task_as_well(begin: Callable[..., Any]) -> None:
    ended = begin("by_functions", "größer").wait()

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert calls()[0][1:] == ["Test", "one", 3, "RUNNING"]
    expected = "größer".encode(), "application/octet-stream"
    assert tracker.getTaskResponse("Test", "one") == expected
    assert (5, "FINISHED") in [status for _, status, text in tracker.getTaskLog("Test", "one")]


def test_a_failure_is_the_handlers_own_answer(begin: Callable[..., Any]) -> None:
    ended = begin("say", ["setRunning", "setFailure"]).wait()

    assert ended.code == ExitCode.PROCESS_ERROR
    assert ended.termination is not None
    assert ended.termination.message == "said by setFailure"
    assert calls() == [["setRunning", "RUNNING"], ["setFailure", "FAILED"]]
    log = [(status[1], text) for _, status, text in tracker.getTaskLog("Test", "one")]
    assert log == [("RUNNING", "said by setRunning"), ("FAILED", "said by setFailure")]


def test_the_last_word_counts(begin: Callable[..., Any]) -> None:
    ended = begin("say", ["setFailure", "setPaused", "setSuccess"]).wait()

    assert ended.code == ExitCode.SUCCEEDED, ended.output
    assert [call[1] for call in calls()] == ["FAILED", "PAUSED", "FINISHED"]


def test_what_a_handler_raises_is_a_failure_whatever_it_has_said(
    begin: Callable[..., Any],
) -> None:
    ended = begin("fail", "größer als erlaubt").wait()

    assert ended.code == ExitCode.PROCESS_ERROR
    assert ended.termination is not None
    assert ended.termination.message == "größer als erlaubt"
    assert "Traceback" in ended.output


def test_a_handler_that_exits_has_failed(begin: Callable[..., Any]) -> None:
    ended = begin("leave", 0).wait()

    assert ended.code == ExitCode.PROCESS_ERROR
    assert ended.termination is not None
    assert "sys.exit(0)" in ended.termination.message


def test_a_handler_that_is_not_there_is_a_failure(begin: Callable[..., Any], api: FakeApi) -> None:
    ended = begin("nothing_of_that_name").wait()

    assert ended.code == ExitCode.PROCESS_ERROR
    assert ended.termination is not None
    assert "nothing_of_that_name" in ended.termination.message


def test_a_handler_that_was_killed_is_called_again(
    begin: Callable[..., Any], api: FakeApi, start_worker: StartWorker
) -> None:
    assert begin("crash", (1,)).wait().code == ExitCode.CRASHED
    assert again(api, start_worker, "note").code == ExitCode.SUCCEEDED
    assert [call[1] for call in calls()] == ["(1,)", "(1,)"]


def test_one_that_had_ended_is_not_called_again(
    begin: Callable[..., Any], api: FakeApi, start_worker: StartWorker
) -> None:
    assert begin("note").wait().code == ExitCode.SUCCEEDED
    assert again(api, start_worker, "note").code == ExitCode.SUCCEEDED
    assert names() == ["handler"]


def test_one_that_is_enqueued_again_is(
    begin: Callable[..., Any], api: FakeApi, start_worker: StartWorker
) -> None:
    assert begin("note").wait().code == ExitCode.SUCCEEDED
    api.set_spec(name_of(api), retries=1)
    api.set_status(name_of(api), retriesSeen=1)
    assert again(api, start_worker, "note").code == ExitCode.SUCCEEDED
    assert names() == ["handler", "handler"]


def test_paused_is_a_label(begin: Callable[..., Any], api: FakeApi) -> None:
    worker = begin("pause", 1.5)
    name = name_of(api)
    api.set_status(name, phase="Started", jobName=f"{name}-1", attempt=1)
    api.wait_for(lambda: api.progress(name).get("message", "").startswith("PAUSED"))

    assert api.progress(name)["message"] == "PAUSED: waiting for more data"
    assert tracker.getTaskStatusByIdentifier("Test", "one") == Status.PAUSED.pair
    assert worker.wait().code == ExitCode.SUCCEEDED
    assert tracker.getTaskStatusByIdentifier("Test", "one") == Status.RUNNING.pair


def test_an_input_that_was_changed_is_not_opened(
    begin: Callable[..., Any], api: FakeApi, work: Path, start_worker: StartWorker
) -> None:
    begin("crash", (1,)).wait()
    path = task_dir(work, only_job(api)) / "request"
    path.write_bytes(b"wpsjobs-task pickle\ncos\nsystem\n(S'touch harm'\ntR.")
    ended = again(api, start_worker, "note")

    assert ended.code == ExitCode.BAD_REQUEST
    assert ended.termination is not None
    assert "SHA-256" in ended.termination.message
    assert names() == ["handler"]


def test_a_task_is_no_wps_job(begin: Callable[..., Any], api: FakeApi, backend: Any) -> None:
    assert begin("note").wait().code == ExitCode.SUCCEEDED
    job = str(only_job(api)["spec"]["id"])
    assert backend.list() == []
    with pytest.raises(UnknownJobError):
        backend.purge(job)
    assert tracker.getTaskResponse("Test", "one")[1] == "text/plain"


def test_a_wpsjob_that_nobody_enqueued_is_refused(api: FakeApi, start_worker: StartWorker) -> None:
    api.add(make_job("by-hand", process="Test", execute={"inputs": [{"id": "a", "data": "b"}]}))
    ended = start_worker("by-hand", **{Environment.HANDLER: "tests.contract.handlers.note"}).wait()

    assert ended.code == ExitCode.BAD_REQUEST
    assert ended.termination is not None
    assert "made by enqueueTask" in ended.termination.message
