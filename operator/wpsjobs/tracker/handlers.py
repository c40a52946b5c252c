"""What a handler is given, and a handler that does nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from wpsjobs.tracker import control, tasks
from wpsjobs.tracker.locks import DummyLock, Lock, dbLocker
from wpsjobs.tracker.status import Status, StatusTuple


class TaskStatus:
    """An interface to the current task.

    Its methods take *dbLock*, where one is given, for as long as they read or write.
    """

    ACCEPTED: ClassVar[int] = int(Status.ACCEPTED)
    SCHEDULED: ClassVar[int] = int(Status.SCHEDULED)
    RUNNING: ClassVar[int] = int(Status.RUNNING)
    PAUSED: ClassVar[int] = int(Status.PAUSED)
    FINISHED: ClassVar[int] = int(Status.FINISHED)
    FAILED: ClassVar[int] = int(Status.FAILED)

    def __init__(self, task_id: int, dbLock: Lock | None = None) -> None:
        self.task_id = task_id
        self.dbLock: Lock = dbLock if dbLock is not None else DummyLock()

    def getInfo(self) -> tuple[str, str, int, str]:
        """Identifiers of the type and of the task, code and text of its status."""
        return dbLocker(self.dbLock, tasks.getTaskInfo, self.task_id)

    def getIdentifier(self) -> tuple[str, str]:
        """Identifiers of the type and of the task."""
        return dbLocker(self.dbLock, tasks.getTaskIdentifier, self.task_id)

    def getStatus(self) -> StatusTuple:
        """Code and text of the status."""
        return dbLocker(self.dbLock, tasks.getTaskStatus, self.task_id)

    def setSuccessIfNotFinished(self, message: str = "") -> None:
        """The task is FINISHED, unless it is FINISHED or FAILED already."""
        dbLocker(self.dbLock, control.stopTaskSuccessIfNotFinished, self.task_id, message)

    def setSuccess(self, message: str = "") -> None:
        """The task is FINISHED, as it is without a word once its handler returns."""
        dbLocker(self.dbLock, control.stopTaskSuccess, self.task_id, message)

    def setFailure(self, message: str = "") -> None:
        """The task is FAILED, and is not repeated; the handler is to return then."""
        dbLocker(self.dbLock, control.stopTaskFailure, self.task_id, message)

    def setPaused(self, message: str = "") -> None:
        """The task is called PAUSED from now on; it goes on all the same, and so does its time."""
        dbLocker(self.dbLock, control.pauseTask, self.task_id, message)

    def setRunning(self, message: str = "") -> None:
        """The task is called RUNNING from now on."""
        dbLocker(self.dbLock, control.resumeTask, self.task_id, message)

    def storeResponse(self, response: str | bytes, mimeType: str = "text/xml") -> None:
        """Store the response; it takes the place of one that was stored before."""
        dbLocker(self.dbLock, control.setTaskResponse, self.task_id, response, mimeType)


def dummyHandler(taskStatus: TaskStatus, input: Any) -> None:
    """Dummy handler, which does nothing: the prototype of all handlers.

    *taskStatus* gives access to the task that is processed, *input* is what was enqueued with it.
    """
