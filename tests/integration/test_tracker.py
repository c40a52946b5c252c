"""The tracker's functions on a real API server with an operator that launches pods for the tasks.

The pods are never bound to a node: what becomes of them is up to the test.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError
from django.db.models import ProtectedError

from tests.integration.kube import Space
from tests.integration.operator_process import Operator
from tests.integration.tracked import HANDLER, Tracked, tracked
from wpsjobs import tracker
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.tracker import (
    MAX_QUEUE_SIZE,
    QueueException,
    QueueFull,
    ResponseNotFound,
    TaskExists,
    TaskNotFound,
    TaskStateError,
    TaskStatus,
    TaskTypeNotFound,
)
from wpsjobs.tracker.names import process_name, task_name

QUEUE = "tracker"


@pytest.fixture(scope="module")
def tasks(
    space: Space, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tracked]:
    """A queue that the first registerTaskType makes, like the one for WPS."""
    space.queue("default")
    with tracked(space, tmp_path_factory.mktemp("volume"), QUEUE) as one:
        yield one


@pytest.fixture(autouse=True)
def room(tasks: Tracked) -> Iterator[None]:
    """No test leaves a task behind, which would take room in the queue."""
    yield
    for raw in tasks.space.items("wpsjobs"):
        tasks.space.delete("wpsjobs", raw["metadata"]["name"])
    tasks.space.wait(lambda: not tasks.space.items("wpsjobs"), "no task")
    for folder in (tasks.folder / "task").iterdir():
        shutil.rmtree(folder)  # as the housekeeper does later


@pytest.fixture
def held(tasks: Tracked) -> Iterator[None]:
    """A queue that starts nothing."""
    tasks.type()  # makes the queue
    tasks.space.patch("wpsqueues", QUEUE, {"spec": {"suspend": True}})
    tasks.space.wait(lambda: _active(tasks.space) == "False", "the queue held")
    yield
    tasks.space.patch("wpsqueues", QUEUE, {"spec": {"suspend": False, "maxQueued": 64}})
    tasks.space.wait(lambda: _active(tasks.space) == "True", "the queue released")


def _active(space: Space) -> str:
    conditions = space.get("wpsqueues", QUEUE).get("status", {}).get("conditions", [])
    return next((str(c["status"]) for c in conditions if c["type"] == "Active"), "")


def _is_full(kind: str) -> bool:
    """Whether the queue takes no task any more, of those given to it one after the other."""
    try:
        tracker.enqueueTask(kind, f"task {tracker.getQueueSize()}", 1)
    except QueueFull:
        return True
    return False


def registered(tasks: Tracked, identifier: str) -> WpsProcess:
    return WpsProcess.from_raw(tasks.space.get("wpsprocesses", process_name(identifier)))


# Task types


def test_a_task_type_is_a_wps_process_with_a_handler(tasks: Tracked) -> None:
    found = registered(tasks, tasks.type())
    assert (found.handler, found.queue) == (HANDLER, QUEUE)
    times = found.lifetimes
    assert (times.timeout_seconds, times.restart_limit) == (3600, 2)
    assert times.ttl_seconds_after_finished == -1
    assert sorted(found.restart_on or ()) == ["Crash", "OutOfMemory", "Timeout"]


def test_a_second_registration_changes_it(tasks: Tracked) -> None:
    kind = tasks.type(timeout=60, timeret=600, maxrestart=3)
    assert registered(tasks, kind).lifetimes.ttl_seconds_after_finished == 600
    tracker.registerTaskType(kind, "other.module.handler", timeout=0.5, timeret=0, maxrestart=0)
    found = registered(tasks, kind)
    assert found.handler == "other.module.handler"
    assert (found.lifetimes.timeout_seconds, found.lifetimes.restart_limit) == (1, 0)
    assert found.lifetimes.ttl_seconds_after_finished == -1


def test_many_may_register_it_at_once(tasks: Tracked) -> None:
    threads = [
        threading.Thread(target=tracker.registerTaskType, args=("At once", HANDLER))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = tasks.space.items("wpsprocesses")
    assert [raw["spec"]["identifier"] for raw in found].count("At once") == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"handler": "handler"},
        {"handler": "not a.path"},
        {"timeout": 0},
        {"maxrestart": -1},
        {"identifier": ""},
    ],
)
def test_what_cannot_be_registered_is_refused(tasks: Tracked, wrong: dict[str, object]) -> None:
    given = {"identifier": "Wrong", "handler": HANDLER, **wrong}
    with pytest.raises(ValueError, match=r"must|no dotted path"):
        tracker.registerTaskType(**given)  # type: ignore[arg-type]


def test_a_wps_process_is_not_taken_for_a_task_type(tasks: Tracked) -> None:
    if tasks.space.find("wpsprocesses", "echo") is None:
        tasks.space.custom("wpsprocesses", "echo", identifier="Echo")
    with pytest.raises(ValueError, match="is a WPS process"):
        tracker.registerTaskType("Echo", HANDLER)
    with pytest.raises(TaskTypeNotFound):
        tracker.enqueueTask("Echo", "one", 1)
    with pytest.raises(TaskTypeNotFound):
        tracker.unregisterTaskType("Echo", force=True)


def test_the_queue_is_made_like_that_of_the_wps(tasks: Tracked) -> None:
    tasks.type()
    queue = tasks.space.get("wpsqueues", QUEUE)
    assert queue["spec"]["template"] == tasks.space.get("wpsqueues", "default")["spec"]["template"]
    assert tracker.getMaxQueueSize() == MAX_QUEUE_SIZE == queue["spec"]["maxQueued"]


def test_a_task_type_with_tasks_is_protected(tasks: Tracked) -> None:
    kind = tasks.type()
    tracker.enqueueTask(kind, "one", 1)
    with pytest.raises(ProtectedError) as caught:
        tracker.unregisterTaskType(kind)
    assert isinstance(caught.value, IntegrityError)
    assert caught.value.protected_objects == {"one"}
    tracker.deleteTaskByIdentifier(kind, "one")
    tracker.unregisterTaskType(kind)
    assert tasks.space.find("wpsprocesses", process_name(kind)) is None


def test_with_force_its_tasks_go_first(tasks: Tracked) -> None:
    kind = tasks.type()
    for identifier in ("one", "two"):
        tracker.enqueueTask(kind, identifier, 1)
    tracker.unregisterTaskType(kind, force=True)
    with pytest.raises(TaskTypeNotFound):
        tracker.enqueueTask(kind, "one", 1)
    with pytest.raises(TaskNotFound):
        tracker.getTaskStatusByIdentifier(kind, "two")
    with pytest.raises(TaskTypeNotFound):
        tracker.unregisterTaskType(kind)


# Into the queue


def test_a_type_can_be_used_at_once(tasks: Tracked) -> None:
    """The operator may hear of a task before it hears of its type."""
    for _ in range(5):
        assert tracker.enqueueTask(tasks.type(), "one", (1, 2)) > 0


def test_a_task_has_a_number_and_is_accepted(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    first, second = (tracker.enqueueTask(kind, name, (1,)) for name in ("one", "two"))
    assert first < second
    assert tracker.getTaskInfo(first) == (kind, "one", 1, "ACCEPTED")
    assert tracker.getTaskIdentifier(second) == (kind, "two")
    assert tracker.getTaskStatus(second) == (1, "ACCEPTED")
    assert tracker.getQueueSize() == 2
    assert tasks.space.get("wpsjobs", task_name(kind, "one"))["status"]["sequence"] == first


def test_another_program_finds_a_task_by_its_number(tasks: Tracked, held: None) -> None:
    number = tracker.enqueueTask(tasks.type(), "one", (1,))
    tracker.close()
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")


def test_identifiers_of_any_kind_are_told_apart(tasks: Tracked, held: None) -> None:
    kind, other = tasks.type(), tasks.type()
    names = ["Task001", "task001", "größer/als:erlaubt, oder?", "x" * 256, " "]
    numbers = [tracker.enqueueTask(kind, name, None) for name in names]
    numbers.append(tracker.enqueueTask(other, "Task001", None))
    assert len(set(numbers)) == len(numbers)
    assert [tracker.getTaskIdentifier(number)[1] for number in numbers] == [*names, "Task001"]


def test_a_type_may_have_what_selectors_use(tasks: Tracked) -> None:
    kind = "a=b,c\\d !"
    tracker.registerTaskType(kind, HANDLER)
    tracker.enqueueTask(kind, "one", None)
    with pytest.raises(ProtectedError):
        tracker.unregisterTaskType(kind)
    tracker.unregisterTaskType(kind, force=True)


def test_a_task_is_there_once(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    numbers, errors = [], []

    def enqueue() -> None:
        try:
            numbers.append(tracker.enqueueTask(kind, "one", 1))
        except TaskExists as error:
            errors.append(error)

    threads = [threading.Thread(target=enqueue) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(numbers), len(errors)) == (1, 7)
    assert isinstance(errors[0], IntegrityError)
    assert len(list((tasks.folder / "task").iterdir())) == 1, "what was refused leaves nothing"


def test_a_full_queue_refuses_and_keeps_nothing(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    tasks.space.patch("wpsqueues", QUEUE, {"spec": {"maxQueued": 2}})
    tasks.space.wait(lambda: _is_full(kind), "a full queue")
    with pytest.raises(QueueFull):
        tracker.enqueueTask(kind, "refused", 1)
    with pytest.raises(TaskNotFound):
        tracker.getTaskStatusByIdentifier(kind, "refused")
    assert (tracker.getQueueSize(), tracker.getMaxQueueSize()) == (2, 2)
    assert len(list((tasks.folder / "task").iterdir())) == 2


def test_an_unknown_type_and_an_unpicklable_input_leave_nothing(tasks: Tracked) -> None:
    with pytest.raises(TaskTypeNotFound) as caught:
        tracker.enqueueTask("Nothing of that name", "one", 1)
    assert isinstance(caught.value, ObjectDoesNotExist)
    with pytest.raises(TypeError):
        tracker.enqueueTask(tasks.type(), "one", threading.Lock())
    assert list((tasks.folder / "task").iterdir()) == []


# What becomes of a task


def test_a_task_runs_and_finishes(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    tasks.until(kind, "one", "SCHEDULED")
    tasks.space.run_pod(f"{task_name(kind, 'one')}-1")
    tasks.until(kind, "one", "RUNNING")
    tasks.space.end_pod(f"{task_name(kind, 'one')}-1", 0)
    tasks.until(kind, "one", "FINISHED")
    assert tracker.getTaskStatus(number) == (5, "FINISHED")


def test_a_failure_is_final_at_once(tasks: Tracked) -> None:
    kind = tasks.type()
    tracker.enqueueTask(kind, "one", (1,))
    tasks.space.end_pod(f"{task_name(kind, 'one')}-1", 10, '{"message": "no numbers"}')
    tasks.until(kind, "one", "FAILED")
    assert tracker.getTaskLog(kind, "one")[-1][1:] == ((6, "FAILED"), "no numbers")
    assert tasks.space.status(task_name(kind, "one"))["restarts"] == 0


def test_a_crash_is_repeated_up_to_the_limit(tasks: Tracked) -> None:
    kind = tasks.type(maxrestart=1)
    tasks.space.patch("wpsqueues", QUEUE, {"spec": {"backoff": {"initialSeconds": 0}}})
    tracker.enqueueTask(kind, "one", (1,))
    tasks.finish(kind, "one", code=16)
    tasks.finish(kind, "one", code=12, attempt=2)
    tasks.until(kind, "one", "FAILED")
    assert tasks.space.status(task_name(kind, "one"))["restarts"] == 1


def test_a_finished_task_is_enqueued_again_past_the_limit(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    tasks.finish(kind, "one")
    tasks.until(kind, "one", "FINISHED")
    tasks.space.patch("wpsqueues", QUEUE, {"spec": {"maxQueued": 0, "suspend": True}})
    try:
        tasks.space.wait(lambda: _active(tasks.space) == "False", "the queue held")
        tracker.reenqueueTask(number, "once more")
        assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
        assert tracker.getQueueSize() == 1
        assert "once more" in [record[2] for record in tracker.getTaskLog(kind, "one")]
    finally:
        tasks.space.patch("wpsqueues", QUEUE, {"spec": {"maxQueued": 64, "suspend": False}})
    tasks.finish(kind, "one", attempt=2)
    tasks.until(kind, "one", "FINISHED")


def test_a_running_task_is_enqueued_again_once_it_has_ended(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    tasks.space.run_pod(f"{task_name(kind, 'one')}-1")
    tasks.until(kind, "one", "RUNNING")
    tracker.reenqueueTask(number)
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    tasks.space.end_pod(f"{task_name(kind, 'one')}-1", 0)
    tasks.finish(kind, "one", attempt=2)
    tasks.until(kind, "one", "FINISHED")


def test_to_enqueue_a_waiting_task_again_changes_nothing(tasks: Tracked, held: None) -> None:
    number = tracker.enqueueTask(tasks.type(), "one", (1,))
    tracker.reenqueueTask(number, "already")
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    assert tracker.getQueueSize() == 1


def test_a_paused_task_that_is_enqueued_again_runs_once(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    tracker.pauseTask(number)
    tasks.space.wait_phase(task_name(kind, "one"), "Paused")
    tracker.reenqueueTask(number)
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    assert tasks.space.get("wpsjobs", task_name(kind, "one"))["spec"]["retries"] == 0


def test_a_task_that_was_dismissed_is_enqueued_again(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    tracker.stopTaskFailure(number)
    tracker.reenqueueTask(number)
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    assert tasks.space.status(task_name(kind, "one"))["phase"] == "Accepted"


def test_a_paused_task_waits_aside_until_it_is_resumed(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    tracker.pauseTask(number, "not now")
    assert tracker.getTaskStatus(number) == (4, "PAUSED")
    tasks.space.wait_phase(task_name(kind, "one"), "Paused")
    assert tracker.getTaskStatus(number) == (4, "PAUSED")
    tracker.resumeTask(number)
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    tasks.space.wait_phase(task_name(kind, "one"), "Accepted")


def test_a_task_is_stopped_from_elsewhere_with_a_failure_alone(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    with pytest.raises(TaskStateError, match="who processes it"):
        tracker.stopTaskSuccess(number)
    tracker.stopTaskFailure(number, "nobody wants it")
    assert tracker.getTaskStatus(number) == (6, "FAILED")
    tracker.stopTaskSuccessIfNotFinished(number)
    tasks.space.wait_phase(task_name(kind, "one"), "Dismissed")
    assert tracker.getTaskStatus(number) == (6, "FAILED")
    with pytest.raises(TaskStateError, match="FAILED already"):
        tracker.stopTaskSuccess(number)


def test_tasks_of_the_operators_pods_cannot_be_pulled(tasks: Tracked, held: None) -> None:
    number = tracker.enqueueTask(tasks.type(), "one", (1,))
    with pytest.raises(QueueException, match="Consumers"):
        tracker.dequeueTask("me")
    with pytest.raises(TaskStateError, match="dequeueTask"):
        tracker.startTask(number)


def test_the_log_has_the_history_and_what_callers_said(tasks: Tracked) -> None:
    began = datetime.now(UTC)
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,), "as the user wished")
    tracker.pauseTask(number, "too much to do")
    tracker.resumeTask(number, "go on")
    tasks.finish(kind, "one")
    tasks.until(kind, "one", "FINISHED")
    log = tracker.getTaskLog(kind, "one")
    times = [record[0] for record in log]
    assert times == sorted(times)
    assert began <= times[0] <= times[-1] <= datetime.now(UTC)
    said = [(status[1], text) for _, status, text in log]
    assert ("ACCEPTED", "as the user wished") in said
    assert ("PAUSED", "too much to do") in said
    assert ("RUNNING", "go on") in said
    assert said[-1][0] == "FINISHED"


# Responses and ends


def test_a_response_is_stored_again_and_again(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    with pytest.raises(ResponseNotFound, match="ACCEPTED"):
        tracker.getTaskResponse(kind, "one")
    tracker.setTaskResponse(number, "<größer/>")
    assert tracker.getTaskResponse(kind, "one") == ("<größer/>", "text/xml")
    TaskStatus(number).storeResponse(b"\x00\xff", "image/tiff")
    assert tracker.getTaskResponse(kind, "one") == (b"\x00\xff", "image/tiff")


def test_a_deleted_task_leaves_nothing_and_its_name_is_free(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    first = tracker.enqueueTask(kind, "one", (1,))
    tracker.setTaskResponse(first, "old")
    tracker.deleteTask(first)
    for ask in (tracker.getTaskStatus, tracker.deleteTask, tracker.reenqueueTask):
        with pytest.raises(TaskNotFound):
            ask(first)
    assert list((tasks.folder / "task").iterdir()) == []
    second = tracker.enqueueTask(kind, "one", (2,))
    assert second > first
    with pytest.raises(TaskNotFound):
        tracker.getTaskStatus(first)
    with pytest.raises(ResponseNotFound):
        tracker.getTaskResponse(kind, "one")
    tracker.deleteTaskByIdentifier(kind, "one")
    with pytest.raises(TaskNotFound):
        tracker.deleteTaskByIdentifier(kind, "one")


def test_a_task_is_deleted_while_it_runs(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    tasks.space.run_pod(f"{task_name(kind, 'one')}-1")
    tasks.until(kind, "one", "RUNNING")
    tracker.deleteTask(number)
    assert tasks.space.find("wpsjobs", task_name(kind, "one")) is None
    again = tracker.enqueueTask(kind, "one", (1,))
    tasks.until(kind, "one", "SCHEDULED")
    assert tracker.getTaskIdentifier(again) == (kind, "one")


def test_retired_tasks_are_deleted(tasks: Tracked) -> None:
    kind = tasks.type(timeret=1)
    kept = tasks.type()
    for each in (kind, kept):
        tracker.enqueueTask(each, "one", (1,))
        tasks.finish(each, "one")
        tasks.until(each, "one", "FINISHED")

    def is_gone() -> bool:
        tracker.deleteRetiredTasks()
        return tasks.space.find("wpsjobs", task_name(kind, "one")) is None

    tasks.space.wait(is_gone, "the retired task deleted")
    assert tracker.getTaskStatusByIdentifier(kept, "one") == (5, "FINISHED")


def test_no_zombie_is_found_where_there_is_none(tasks: Tracked) -> None:
    kind = tasks.type()
    tracker.enqueueTask(kind, "one", (1,))
    tasks.space.run_pod(f"{task_name(kind, 'one')}-1")
    tasks.until(kind, "one", "RUNNING")
    tracker.reenqueueZombieTasks("abandoned")
    assert tracker.getTaskStatusByIdentifier(kind, "one") == (3, "RUNNING")
    assert "abandoned" not in [record[2] for record in tracker.getTaskLog(kind, "one")]


def test_the_status_object_reads_what_it_has_written(tasks: Tracked, held: None) -> None:
    kind = tasks.type()
    status = TaskStatus(tracker.enqueueTask(kind, "one", (1,)), threading.Lock())
    assert status.getIdentifier() == (kind, "one")
    status.setPaused()
    assert status.getStatus() == (4, "PAUSED")
    status.setRunning()
    assert status.getInfo() == (kind, "one", 1, "ACCEPTED")
    status.setFailure("enough")
    assert status.getStatus() == (6, "FAILED")


def test_without_an_operator_nothing_is_enqueued(
    tasks: Tracked, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = tasks.type()
    monkeypatch.setenv("WPSJOBS_ACCEPT_TIMEOUT", "0.5")
    tracker.close()
    operator.stop()
    try:
        with pytest.raises(QueueException):
            tracker.enqueueTask(kind, "one", (1,))
        assert tasks.space.find("wpsjobs", task_name(kind, "one")) is None
        assert list((tasks.folder / "task").iterdir()) == []
    finally:
        operator.start()
        operator.wait_ready()
        tracker.close()
