"""The tracker's functions on a queue whose tasks daemons of one's own pull and process."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.settings import REPOSITORY
from tests.integration.kube import Space
from tests.integration.operator_process import Operator
from tests.integration.tracked import HANDLER, Tracked, tracked
from wpsjobs import tracker
from wpsjobs.tracker import (
    QueueEmpty,
    QueueException,
    TaskStateError,
    TaskStatus,
    dummyHandler,
)
from wpsjobs.tracker.names import process_name, task_name

QUEUE = "pull"


@pytest.fixture(scope="module")
def tasks(
    space: Space, operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tracked]:
    """A queue for consumers, of which this process is one."""
    spec = {"executor": "Consumers", "maxQueued": 64, "backoff": {"initialSeconds": 0}}
    space.custom("wpsqueues", QUEUE, **spec)
    with tracked(space, tmp_path_factory.mktemp("volume"), QUEUE) as one:
        yield one


@pytest.fixture(autouse=True)
def no_tasks(tasks: Tracked) -> Iterator[None]:
    """No test leaves a task behind, which the next would pull."""
    yield
    for raw in tasks.space.items("wpsjobs"):
        tasks.space.delete("wpsjobs", raw["metadata"]["name"])
    tasks.space.wait(lambda: not tasks.space.items("wpsjobs"), "no task")


def pulled(message: str = "") -> int:
    """The number of the task that is next."""
    (number,) = tracker.dequeueTask("me", message)
    return number


def test_an_empty_queue_says_so(tasks: Tracked) -> None:
    tasks.type()
    with pytest.raises(QueueEmpty):
        tracker.dequeueTask("me")


def test_a_queue_that_is_not_there_says_so(tasks: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WPSJOBS_TRACKER_QUEUE", "nothing")
    tracker.close()
    with pytest.raises(QueueException, match="no WpsQueue 'nothing'"):
        tracker.dequeueTask("me")
    tracker.close()


def test_tasks_are_pulled_in_their_order_and_once(tasks: Tracked) -> None:
    kind = tasks.type()
    numbers = [tracker.enqueueTask(kind, f"task {n}", n) for n in range(4)]
    assert [pulled() for _ in numbers] == numbers
    with pytest.raises(QueueEmpty):
        tracker.dequeueTask("me")
    assert tracker.getQueueSize() == 0


def test_a_task_goes_its_way_and_every_step_is_read_at_once(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1, 2, 3), "as the user wished")
    assert pulled("taken") == number
    assert tracker.getTaskStatus(number) == (2, "SCHEDULED")
    assert tracker.startTask(number, "begun") == (kind, "one", HANDLER, (1, 2, 3))
    assert tracker.getTaskStatus(number) == (3, "RUNNING")
    status = TaskStatus(number)
    status.setPaused("no data yet")
    assert status.getInfo() == (kind, "one", 4, "PAUSED")
    status.setRunning("data is there")
    assert status.getStatus() == (3, "RUNNING")
    status.storeResponse("6", "text/plain")
    assert tracker.getTaskResponse(kind, "one") == ("6", "text/plain")
    tracker.stopTaskSuccessIfNotFinished(number, "done")
    assert tracker.getTaskStatus(number) == (5, "FINISHED")
    tracker.stopTaskSuccessIfNotFinished(number)

    tasks.space.wait_phase(task_name(kind, "one"), "Succeeded")
    said = [(state[1], text) for _, state, text in tracker.getTaskLog(kind, "one")]
    steps = [
        ("ACCEPTED", "as the user wished"),
        ("SCHEDULED", "taken"),
        ("RUNNING", "begun"),
        ("PAUSED", "no data yet"),
        ("RUNNING", "data is there"),
        ("FINISHED", "done"),
    ]
    assert [one for one in said if one in steps] == steps


def test_a_failure_is_final_at_once(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", 1)
    tracker.startTask(pulled())
    tracker.stopTaskFailure(number, "no numbers")
    assert tracker.getTaskStatus(number) == (6, "FAILED")
    tracker.stopTaskSuccessIfNotFinished(number)
    with pytest.raises(TaskStateError, match="reported before"):
        tracker.stopTaskSuccess(number)
    status = tasks.space.wait_phase(task_name(kind, "one"), "Failed")
    assert (status["restarts"], status["message"]) == (0, "no numbers")


def test_a_task_whose_time_is_over_is_put_back_and_its_consumer_told(tasks: Tracked) -> None:
    kind = tasks.type(timeout=1, maxrestart=1)
    number = tracker.enqueueTask(kind, "one", 1)
    tracker.startTask(pulled())
    tasks.until(kind, "one", "ACCEPTED")
    with pytest.raises(TaskStateError, match="not yours any more"):
        tracker.stopTaskSuccess(number)
    TaskStatus(number).setFailure("the loop's last resort")
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    # Another one gets it now.
    assert pulled() == number
    tasks.until(kind, "one", "FAILED")
    assert tasks.space.status(task_name(kind, "one"))["restarts"] == 1
    with pytest.raises(TaskStateError):
        tracker.startTask(number)


def test_zombies_have_been_put_back_once_they_were_asked_for(tasks: Tracked) -> None:
    kind = tasks.type(timeout=1)
    number = tracker.enqueueTask(kind, "one", 1)
    tracker.startTask(pulled())

    def is_back() -> bool:
        tracker.reenqueueZombieTasks("abandoned")
        return tracker.getTaskStatus(number) == (1, "ACCEPTED")

    tasks.space.wait(is_back, "the zombie in the queue")


def test_a_pulled_task_can_be_enqueued_again(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", 1)
    tracker.startTask(pulled())
    tracker.reenqueueTask(number, "once more")
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    tracker.stopTaskSuccess(number)
    tasks.space.wait(lambda: tracker.getQueueSize() == 1, "the task in the queue")
    assert tracker.startTask(pulled())[3] == 1
    tracker.stopTaskSuccess(number)
    tasks.until(kind, "one", "FINISHED")


def test_a_finished_task_can_be_enqueued_again(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", 1)
    tracker.startTask(pulled())
    tracker.stopTaskSuccess(number)
    tasks.space.wait_phase(task_name(kind, "one"), "Succeeded")
    tracker.reenqueueTask(number)
    assert tracker.getTaskStatus(number) == (1, "ACCEPTED")
    assert pulled() == number


def test_a_deleted_task_is_nobodys(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", 1)
    tracker.startTask(pulled())
    tracker.deleteTask(number)
    assert tracker.enqueueTask(kind, "one", 2) != number


def test_the_input_that_was_changed_is_not_opened(tasks: Tracked) -> None:
    kind = tasks.type()
    number = tracker.enqueueTask(kind, "one", (1,))
    spec = tasks.space.get("wpsjobs", task_name(kind, "one"))["spec"]
    path = tasks.folder / "task" / spec["id"] / "request"
    path.write_bytes(b"wpsjobs-task pickle\ncos\nsystem\n(S'touch harm'\ntR.")
    with pytest.raises(ValueError, match="SHA-256"):
        tracker.startTask(pulled())
    tracker.stopTaskFailure(number, "not what was enqueued")
    tasks.until(kind, "one", "FAILED")


def _process(number: int, answer: Any) -> None:
    """As a daemon of the guide's time has it: a process for each task."""
    status = TaskStatus(number)
    _, _, handler, given = tracker.startTask(number)
    dummyHandler(status, given)
    status.storeResponse(repr(given))
    tracker.stopTaskSuccessIfNotFinished(number)
    answer.send(handler)
    tracker.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_process_of_the_consumers_may_do_the_work(tasks: Tracked, method: str) -> None:
    kind = tasks.type()
    tracker.enqueueTask(kind, "one", (1, 2))
    number = pulled()
    context = multiprocessing.get_context(method)
    mine, theirs = context.Pipe()
    process = context.Process(target=_process, args=(number, theirs))  # type: ignore[attr-defined]
    process.start()
    try:
        assert mine.poll(60)
        assert mine.recv() == HANDLER
    finally:
        process.join(30)
        process.close()
        mine.close()
        theirs.close()
    assert tracker.getTaskStatus(number) == (5, "FINISHED")
    assert tracker.getTaskResponse(kind, "one") == ("(1, 2)", "text/xml")


def test_the_loop_and_the_application_of_the_guide_run_as_they_are(tasks: Tracked) -> None:
    folder = REPOSITORY / "examples" / "10-sequence-sum"
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY / "operator", folder))),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "atp_server"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            application = subprocess.run(
                [sys.executable, "-m", "atp_demo"],
                env=environ,
                check=True,
                capture_output=True,
                text=True,
                timeout=120,
            )
            tracker.enqueueTask("SequenceSum", "wrong", ("one", "two"))
            tasks.until("SequenceSum", "wrong", "FAILED")
        finally:
            server.terminate()
            output, _ = server.communicate(timeout=20)
    assert "Result: ('15.0', 'text/xml')" in application.stdout
    assert output.splitlines() == ["processing SequenceSum Task001", "processing SequenceSum wrong"]
    log = tracker.getTaskLog("SequenceSum", "wrong")
    assert log[-1][1:] == ((6, "FAILED"), "Input must be a sequence of numbers!")
    handler = tasks.space.get("wpsprocesses", process_name("SequenceSum"))["spec"]
    assert (handler["handler"], handler["restartLimit"]) == ("atp_demo.handler", 3)
