"""The process tracker API: asynchronous tasks by Python, each a WpsJob.

EOxServer once had an Asynchronous Task Processing subsystem. Applications that were written for it
import from here: ``from wpsjobs.tracker import …``, and ``import *`` gives every name.
docs/tracker.md tells how tasks become WpsJobs and how to set it up; ``wpsjobs.tracker.settings``
tells where a program finds its tasks.

    registerTaskType("SequenceSum", "tools.atp_demo.handler", 60, 600, 3)
    enqueueTask("SequenceSum", "Task001", (1, 2, 3, 4, 5))
    getTaskStatusByIdentifier("SequenceSum", "Task001")

A task is what (type, identifier) names, by a number where a *task_id* is asked for. Statuses are
(code, text): ACCEPTED 1, SCHEDULED 2, RUNNING 3, PAUSED 4, FINISHED 5, FAILED 6. Besides what each
function says, all that ask the API server raise ``wpsjobs.eoxserver.client.ClusterError`` where it
does not do what it is asked, and ``wpsjobs.eoxserver.files.StorageError`` where the shared volume
does not. Importing this reads no settings and needs no cluster.
"""

from wpsjobs.tracker.access import close as close
from wpsjobs.tracker.control import (
    pauseTask,
    reenqueueZombieTasks,
    resumeTask,
    setTaskResponse,
    startTask,
    stopTaskFailure,
    stopTaskSuccess,
    stopTaskSuccessIfNotFinished,
)
from wpsjobs.tracker.errors import (
    QueueEmpty,
    QueueException,
    QueueFull,
)
from wpsjobs.tracker.errors import ResponseNotFound as ResponseNotFound
from wpsjobs.tracker.errors import TaskExists as TaskExists
from wpsjobs.tracker.errors import TaskNotFound as TaskNotFound
from wpsjobs.tracker.errors import TaskStateError as TaskStateError
from wpsjobs.tracker.errors import TaskTypeNotFound as TaskTypeNotFound
from wpsjobs.tracker.handlers import TaskStatus, dummyHandler
from wpsjobs.tracker.locks import DummyLock, dbLocker
from wpsjobs.tracker.locks import LeaseLock as LeaseLock
from wpsjobs.tracker.locks import LeaseLostError as LeaseLostError
from wpsjobs.tracker.queues import (
    dequeueTask,
    enqueueTask,
    getMaxQueueSize,
    getQueueSize,
    reenqueueTask,
)
from wpsjobs.tracker.tasks import (
    deleteRetiredTasks,
    deleteTask,
    deleteTaskByIdentifier,
    getTaskIdentifier,
    getTaskInfo,
    getTaskLog,
    getTaskResponse,
    getTaskStatus,
    getTaskStatusByIdentifier,
)
from wpsjobs.tracker.types import MAX_QUEUE_SIZE, registerTaskType, unregisterTaskType

# Names of the reference, in its order. What is imported under its own name besides is ours.
__all__ = [  # noqa: RUF022
    "QueueException",
    "QueueEmpty",
    "QueueFull",
    "DummyLock",
    "TaskStatus",
    "dummyHandler",
    "dbLocker",
    "registerTaskType",
    "unregisterTaskType",
    "getQueueSize",
    "getMaxQueueSize",
    "getTaskInfo",
    "getTaskIdentifier",
    "getTaskStatus",
    "getTaskStatusByIdentifier",
    "deleteTask",
    "deleteTaskByIdentifier",
    "enqueueTask",
    "reenqueueTask",
    "dequeueTask",
    "startTask",
    "stopTaskSuccessIfNotFinished",
    "stopTaskSuccess",
    "stopTaskFailure",
    "pauseTask",
    "resumeTask",
    "setTaskResponse",
    "getTaskResponse",
    "getTaskLog",
    "reenqueueZombieTasks",
    "deleteRetiredTasks",
    "MAX_QUEUE_SIZE",
]
