"""Names, signatures and defaults are those of the reference."""

from __future__ import annotations

import inspect

import pytest

import wpsjobs.tracker
from wpsjobs.tracker import DummyLock, QueueEmpty, QueueException, QueueFull, TaskStatus, dbLocker

SIGNATURES = {
    "dummyHandler": "(taskStatus, input)",
    "dbLocker": "(dbLock, func, *prm, **kprm)",
    "registerTaskType": "(identifier, handler, timeout=3600, timeret=-1, maxrestart=2)",
    "unregisterTaskType": "(identifier, force=False)",
    "getQueueSize": "()",
    "getMaxQueueSize": "()",
    "getTaskInfo": "(task_id)",
    "getTaskIdentifier": "(task_id)",
    "getTaskStatus": "(task_id)",
    "getTaskStatusByIdentifier": "(type, identifier)",
    "deleteTask": "(task_id)",
    "deleteTaskByIdentifier": "(type, identifier)",
    "enqueueTask": "(type, identifier, input, message='')",
    "reenqueueTask": "(task_id, message='')",
    "dequeueTask": "(serverID, message='')",
    "startTask": "(task_id, message='')",
    "stopTaskSuccessIfNotFinished": "(task_id, message='')",
    "stopTaskSuccess": "(task_id, message='')",
    "stopTaskFailure": "(task_id, message='')",
    "pauseTask": "(task_id, message='')",
    "resumeTask": "(task_id, message='')",
    "setTaskResponse": "(task_id, response, mimeType='text/xml')",
    "getTaskResponse": "(type, identifier)",
    "getTaskLog": "(type, identifier)",
    "reenqueueZombieTasks": "(message='')",
    "deleteRetiredTasks": "()",
}
CLASSES = {"QueueException", "QueueEmpty", "QueueFull", "DummyLock", "TaskStatus"}
METHODS = {
    "getInfo": "(self)",
    "getIdentifier": "(self)",
    "getStatus": "(self)",
    "setSuccess": "(self, message='')",
    "setFailure": "(self, message='')",
    "setPaused": "(self, message='')",
    "setRunning": "(self, message='')",
    "storeResponse": "(self, response, mimeType='text/xml')",
}


def plain(function: object) -> str:
    """A signature without its types."""
    signature = inspect.signature(function)  # type: ignore[arg-type]
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_signature_is_that_of_the_reference(name: str) -> None:
    assert plain(getattr(wpsjobs.tracker, name)) == SIGNATURES[name]


@pytest.mark.parametrize("name", METHODS)
def test_so_is_that_of_the_method(name: str) -> None:
    assert plain(getattr(TaskStatus, name)) == METHODS[name]


def test_a_star_brings_every_name_of_the_reference_and_no_other() -> None:
    names: dict[str, object] = {}
    exec("from wpsjobs.tracker import *", names)  # noqa: S102
    found = {name for name in names if not name.startswith("__")}
    assert found == {*SIGNATURES, *CLASSES, "MAX_QUEUE_SIZE"}


def test_all_of_them_have_types_and_words() -> None:
    for name in SIGNATURES:
        function = getattr(wpsjobs.tracker, name)
        signature = inspect.signature(function)
        assert function.__doc__, name
        assert signature.return_annotation is not signature.empty, name
        assert all(p.annotation is not p.empty for p in signature.parameters.values()), name


def test_exceptions_are_those_of_the_queue() -> None:
    assert issubclass(QueueEmpty, QueueException)
    assert issubclass(QueueFull, QueueException)


class Recorder(DummyLock):
    """A lock that tells what was done to it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def acquire(self) -> None:
        self.calls.append("acquire")

    def release(self) -> None:
        self.calls.append("release")


def test_a_lock_is_held_while_the_function_runs() -> None:
    lock = Recorder()

    def work(one: int, *, two: int) -> int:
        lock.calls.append("work")
        return one + two

    assert dbLocker(lock, work, 1, two=2) == 3
    assert lock.calls == ["acquire", "work", "release"]


def test_a_lock_is_given_back_where_the_function_raises() -> None:
    lock = Recorder()
    with pytest.raises(ZeroDivisionError):
        dbLocker(lock, lambda: 1 // 0)
    assert lock.calls == ["acquire", "release"]


def test_the_status_object_has_the_codes_of_the_reference() -> None:
    status = TaskStatus(7)
    assert (status.task_id, type(status.dbLock)) == (7, DummyLock)
    assert (status.ACCEPTED, status.SCHEDULED, status.RUNNING) == (1, 2, 3)
    assert (status.PAUSED, status.FINISHED, status.FAILED) == (4, 5, 6)
