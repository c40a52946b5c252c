"""What a task is and how it stands; its log, its response, its deletion."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.api.times import parse_time
from wpsjobs.tracker.access import own, store
from wpsjobs.tracker.errors import ResponseNotFound
from wpsjobs.tracker.responses import read_response
from wpsjobs.tracker.status import OF_CLAIM, OF_PHASE, StatusTuple

if TYPE_CHECKING:
    from wpsjobs.tracker.store import Store, Task

logger = logging.getLogger(__name__)

LogRecord = tuple[datetime, StatusTuple, str]
"""When, the status (code, text), and the message."""


def getTaskInfo(task_id: int) -> tuple[str, str, int, str]:
    """Identifiers of the type and of the task, code and text of its status.

    Raises TaskNotFound, as all functions do that are given a task.
    """
    if (mine := own(task_id)) is not None:
        return mine.type, mine.identifier, *mine.status.pair
    known = store()
    task = known.task(task_id)
    return task.type, task.identifier, *known.status(task).pair


def getTaskIdentifier(task_id: int) -> tuple[str, str]:
    """Identifiers of the type and of the task."""
    return getTaskInfo(task_id)[:2]


def getTaskStatus(task_id: int) -> StatusTuple:
    """Code and text of the status: (3, "RUNNING")."""
    return getTaskInfo(task_id)[2:]


def getTaskStatusByIdentifier(type: str, identifier: str) -> StatusTuple:
    """Code and text of the status of the task *identifier* of the type *type*."""
    known = store()
    return known.status(known.find(type, identifier)).pair


def getTaskResponse(type: str, identifier: str) -> tuple[str | bytes, str]:
    """The response, text or bytes as it was stored, and its MIME type.

    Raises ResponseNotFound where none has been stored yet.
    """
    known = store()
    task = known.find(type, identifier)
    found = read_response(known.storage.task_dir(task.job.id))
    if found is None:
        status = known.status(task).name
        raise ResponseNotFound(f"The task {identifier!r} ({status}) has stored no response.")
    return found


def getTaskLog(type: str, identifier: str) -> list[LogRecord]:
    """What has become of the task and what callers have said of it, older first.

    Each record has the time (UTC), the status (code, text) and the message. What a consumer has
    just reported, and the operator has not put into the history yet, has the time of this call.
    """
    known = store()
    task = known.find(type, identifier)
    records = [
        *_history(task),
        *(
            (entry.time, entry.status.pair, entry.message)
            for entry in known.journal(task).entries()
            if entry.message
        ),
    ]
    return [*sorted(records, key=lambda record: record[0]), *_to_come(task)]


def deleteTask(task_id: int) -> None:
    """Delete the task with its input and its response, whatever it is doing."""
    known = store()
    remove(known, known.task(task_id))


def deleteTaskByIdentifier(type: str, identifier: str) -> None:
    """Delete the task *identifier* of the type *type*, whatever it is doing."""
    known = store()
    remove(known, known.find(type, identifier))


def deleteRetiredTasks() -> None:
    """Delete the FINISHED and FAILED tasks that have been kept for long enough.

    The operator does so by itself; this is for those who will not wait the moment that it takes.
    """
    known = store()
    now = datetime.now(UTC)
    for phase in sorted(FINISHED):
        for task in known.select(f"spec.queue={known.settings.queue},status.phase={phase}"):
            status = task.job.status
            retried = task.job.spec.retries > status.retries_seen
            if status.expires_at is not None and status.expires_at <= now and not retried:
                remove(known, task)


def remove(known: Store, task: Task) -> None:
    """Delete *task*; what is left of it, the housekeeper removes."""
    from wpsjobs.eoxserver.client import ConflictError, NotFoundError
    from wpsjobs.eoxserver.files import StorageError

    # Another one of the same name (a conflict of the UID) is another task.
    with contextlib.suppress(NotFoundError, ConflictError):
        known.cluster.delete_job(task.name, uid=task.job.metadata.uid)
    known.claimed.pop(task.id, None)
    try:
        known.storage.remove(task.job.id)
    except StorageError as error:
        # Its pod may still be writing.
        logger.warning("%s: not all is removed yet: %s", task.job.id, error)


def _to_come(task: Task) -> list[LogRecord]:
    claim, now = task.job.status.claim, datetime.now(UTC)
    reports = claim.reports if claim is not None else ()
    return [(now, OF_CLAIM[report.state].pair, report.message or "") for report in reports]


def _history(task: Task) -> Iterator[LogRecord]:
    for entry in task.job.status.history:
        try:
            time, phase = parse_time(str(entry["time"])), Phase(entry["phase"])
        except (KeyError, ValueError):
            continue  # edited by hand
        yield time, OF_PHASE[phase].pair, str(entry.get("message") or "")
