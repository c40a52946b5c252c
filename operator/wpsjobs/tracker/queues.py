"""The queue of tasks: into it, out of it, and how full it is."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from wpsjobs.api.names import ANNOTATION_TASK, API_VERSION, WPSJOB_KIND, WPSQUEUE_PLURAL
from wpsjobs.api.phases import LAUNCHED, Phase, Reason
from wpsjobs.tracker.access import store
from wpsjobs.tracker.errors import (
    QueueEmpty,
    QueueException,
    QueueFull,
    TaskExists,
    TaskTypeNotFound,
)
from wpsjobs.tracker.journal import Journal
from wpsjobs.tracker.names import checked, task_name
from wpsjobs.tracker.payload import encode
from wpsjobs.tracker.status import Status
from wpsjobs.tracker.types import MAX_QUEUE_SIZE, is_registered, require

if TYPE_CHECKING:
    from wpsjobs.eoxserver.storage import Marker
    from wpsjobs.eoxserver.submission import Deadline, RefusedError
    from wpsjobs.tracker.store import Store, Task

logger = logging.getLogger(__name__)

_PAUSE = 0.05
_NOT_SEEN_YET = frozenset({Reason.UNKNOWN_PROCESS, Reason.UNKNOWN_QUEUE})
"""What the operator says of a type or a queue that was made a moment ago."""


def getQueueSize() -> int:
    """How many tasks wait in the queue."""
    known = store()
    return sum(1 for task in known.unfinished() if _waits(task))


def getMaxQueueSize() -> int:
    """How many tasks the queue can hold: ``spec.maxQueued`` of the WpsQueue."""
    from wpsjobs.api.wpsqueue import WpsQueue
    from wpsjobs.eoxserver.client import NotFoundError

    known = store()
    try:
        raw = known.cluster.raw_get(known.path(WPSQUEUE_PLURAL, known.settings.queue))
    except NotFoundError:
        return MAX_QUEUE_SIZE  # that of the queue which the first registerTaskType will make
    return WpsQueue.from_raw(raw).max_queued


def enqueueTask(type: str, identifier: str, input: Any, message: str = "") -> int:
    """Make a task of a registered type, and put it into the queue.

    *identifier* is the task's own among those of its type. *input* is whatever ``pickle`` takes.
    The result is the task's number, which the reference does not return.

    Raises QueueFull where the queue has no room, TaskTypeNotFound, TaskExists where there is a task
    of that type and identifier, and QueueException where no operator answers; no task is left then.
    """
    from wpsjobs.eoxserver.submission import Deadline

    checked(identifier, "the identifier of a task")
    payload = encode(input)
    known = store()
    require(known, checked(type, "the identifier of a task type"))
    return _Enqueueing(known, type, identifier, message).run(
        payload, Deadline.after(known.settings.accept_timeout)
    )


def reenqueueTask(task_id: int, message: str = "") -> None:
    """Put a task back into the queue, whatever it has come to, past the queue's limit.

    One that has ended is ACCEPTED again. One that is being processed is ACCEPTED as well; what
    processes it now comes to its end first, for no task is processed twice at once. One that waits
    goes on waiting. The count of its restarts begins anew. Raises TaskNotFound.
    """
    known = store()
    task = known.task(task_id)
    if message:
        known.journal(task).add(Status.ACCEPTED, message)
    job, spec = task.job, dict[str, Any]()
    if job.spec.suspend:
        spec["suspend"] = False
    is_asked = job.spec.retries > job.status.retries_seen
    if not is_asked and (job.finished or job.cancelled or _is_at_work(task)):
        spec["retries"] = job.spec.retries + 1
    if spec:
        known.cluster.patch_job(task.name, {"spec": spec})
    if "retries" in spec and (job.finished or job.cancelled):
        known.wait(task, lambda now: now.job.status.retries_seen >= spec["retries"])


def dequeueTask(serverID: str, message: str = "") -> list[int]:
    """Take the first task from the queue, for the consumer *serverID*; a list with its number.

    The task is SCHEDULED then. Its time-out begins here. *serverID* has to be unique among those
    that pull from the queue on this machine. Raises QueueEmpty where no task waits, and
    QueueException where the queue is not one for consumers.
    """
    from wpsjobs.tracker import claims
    from wpsjobs.tracker.claims_queue import NotServedError
    from wpsjobs.tracker.store import Task

    known = store()
    consumer = claims.consumer_name(checked(serverID, "the server's identifier"))
    try:
        raw = known.claims.claim(consumer, message=message)
    except NotServedError as error:
        raise QueueException(str(error)) from error
    if raw is None:
        raise QueueEmpty(f"No task waits in the queue {known.settings.queue!r}.")
    task = known.remember(Task(raw))
    known.hold(task)
    return [task.id]


def _waits(task: Task) -> bool:
    """Whether the task takes a place in the queue."""
    return not task.job.finished and not _is_at_work(task)


def _is_at_work(task: Task) -> bool:
    """Whether somebody processes the task, or is about to."""
    status = task.job.status
    if status.phase is Phase.ACCEPTED:
        return status.claim is not None and status.claim.attempt > status.attempt
    is_frozen = status.phase is Phase.PAUSED and status.scheduled_at is not None
    return status.phase in LAUNCHED or is_frozen


class _Enqueueing:
    """A task on its way into the queue, with all that has to be taken back where it gets nowhere.

    Its directories are named after the submission, so that what is left of a deleted task of the
    same type and identifier is in nobody's way.
    """

    def __init__(self, known: Store, type: str, identifier: str, message: str) -> None:
        self._store = known
        self._type, self._identifier, self._message = type, identifier, message
        self._submission = str(uuid4())

    def run(self, payload: bytes, deadline: Deadline) -> int:
        from wpsjobs.eoxserver.submission import UnknownOutcomeError

        storage = self._store.storage
        marker = self._marker(deadline)
        storage.reserve(marker)
        try:
            sha256, size = storage.write_request(self._submission, payload)
            if self._message:
                folder = storage.task_dir(self._submission)
                Journal(folder).add(Status.ACCEPTED, self._message)
            return self._submit({"sha256": sha256, "size": size}, deadline)
        except UnknownOutcomeError as error:
            # Whatever exists is not to be processed: the caller is told that it is not.
            refused = type(marker)(**{**vars(marker), "refused": True})
            with contextlib.suppress(Exception):
                storage.write_marker(refused)
            raise QueueException(
                f"Nobody can say whether the task {self._identifier!r} is enqueued; if it is, it "
                f"will not be processed: {error}"
            ) from error
        except BaseException:
            storage.remove(self._submission)
            raise

    def _marker(self, deadline: Deadline) -> Marker:
        from wpsjobs.eoxserver.client import ClusterError
        from wpsjobs.eoxserver.storage import Marker

        try:
            namespace_uid = self._store.cluster.namespace_uid(timeout=deadline.left())
        except ClusterError as error:
            raise QueueException(f"No task can be enqueued: {error}") from error
        return Marker(
            namespace_uid=namespace_uid,
            name=task_name(self._type, self._identifier),
            id=self._submission,
            process=self._type,
            submission=self._submission,
            task=self._identifier,
        )

    def _body(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": API_VERSION,
            "kind": WPSJOB_KIND,
            "metadata": {
                "name": task_name(self._type, self._identifier),
                "annotations": {ANNOTATION_TASK: self._identifier},
            },
            "spec": {
                "id": self._submission,
                "process": self._type,
                "queue": self._store.settings.queue,
                "payload": payload,
                "submission": self._submission,
            },
        }

    def _submit(self, payload: dict[str, Any], deadline: Deadline) -> int:
        from wpsjobs.eoxserver.submission import RefusedError, submit
        from wpsjobs.tracker.store import Task

        while True:
            try:
                raw = submit(
                    self._store.cluster, self._store.verdicts, self._body(payload), deadline
                )
            except RefusedError as refused:
                if not self._may_be_repeated(refused, deadline):
                    raise self._error(refused) from refused
                time.sleep(_PAUSE)
            else:
                return self._store.remember(Task(raw)).id

    def _may_be_repeated(self, refused: RefusedError, deadline: Deadline) -> bool:
        """Whether the operator has not seen yet what there is."""
        return (
            refused.reason in _NOT_SEEN_YET
            and deadline.left() > _PAUSE
            and is_registered(self._store, self._type)
        )

    def _error(self, refused: RefusedError) -> Exception:
        if refused.taken:
            return TaskExists(
                f"There is a task {self._identifier!r} of the type {self._type!r} already."
            )
        if refused.reason is Reason.QUEUE_FULL:
            return QueueFull(f"The queue {self._store.settings.queue!r} is full.")
        if refused.reason is Reason.UNKNOWN_PROCESS:
            self._store.types.pop(self._type, None)
            return TaskTypeNotFound(f"There is no task type {self._type!r} any more.")
        if refused.reason is Reason.UNKNOWN_QUEUE:
            return QueueException(
                f"There is no WpsQueue {self._store.settings.queue!r} any more; registerTaskType "
                "makes it."
            )
        return QueueException(f"The task {self._identifier!r} is not enqueued: {refused}")
