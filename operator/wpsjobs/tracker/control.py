"""How a task is processed, as those who process it say.

Who that is depends on where a function is called:

* in the pod that the operator has launched for the task: a handler says how its own task stands;
* in a consumer that has taken the task from the queue: so does that consumer, by its claim;
* elsewhere: to pause a task suspends its WpsJob (what runs is frozen), to resume it lets it go on,
  and to stop it with a failure dismisses it. That it has succeeded can only say who processes it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from wpsjobs.api.phases import CLAIM_ENDED, LAUNCHED, Phase
from wpsjobs.api.policy import Policy
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.tracker.access import own, store
from wpsjobs.tracker.errors import TaskStateError, TaskTypeNotFound
from wpsjobs.tracker.payload import decode
from wpsjobs.tracker.responses import write_response
from wpsjobs.tracker.status import CLAIM_OF, ENDED, Status
from wpsjobs.tracker.tasks import getTaskStatus
from wpsjobs.tracker.types import read

if TYPE_CHECKING:
    from wpsjobs.eoxserver.client import Raw
    from wpsjobs.tracker.store import Store, Task

logger = logging.getLogger(__name__)


def startTask(task_id: int, message: str = "") -> tuple[str, str, str, Any]:
    """Begin to process a task that was taken from the queue; it is RUNNING then.

    The result is the identifiers of its type and of the task itself, the dotted path of the handler
    and the input. Raises TaskStateError where the task is not this consumer's (any more), and
    ValueError where the stored input is not what was enqueued.
    """
    from wpsjobs.eoxserver.storage import PayloadError

    known = store()
    task = known.mine(task_id) or known.task(task_id)
    claimed = _claimed(known, task)
    if claimed is None:
        raise TaskStateError(
            f"The task {task_id} is not yours to start: take it from the queue by dequeueTask."
        )
    handler = read(known, task.type).handler or ""
    if message or known.status(task) is not Status.RUNNING:
        _report(known, task, claimed, Status.RUNNING, message)
    spec = task.job.spec
    try:
        content = known.storage.read_request(
            task.job.id, spec.payload_sha256 or "", spec.payload_size or 0
        )
    except PayloadError as error:
        raise ValueError(str(error)) from error
    return task.type, task.identifier, handler, decode(content)


def stopTaskSuccessIfNotFinished(task_id: int, message: str = "") -> None:
    """The task is FINISHED, unless it is FINISHED or FAILED already."""
    # What this program has claimed has not ended, or is not its own any more: the report tells.
    is_mine = own(task_id) is None and store().mine(task_id) is not None
    if not is_mine and Status(getTaskStatus(task_id)[0]) in ENDED:
        return
    try:
        stopTaskSuccess(task_id, message)
    except TaskStateError:
        if Status(getTaskStatus(task_id)[0]) not in ENDED:
            raise


def stopTaskSuccess(task_id: int, message: str = "") -> None:
    """The task is FINISHED. Raises TaskStateError where others process it."""
    _set(task_id, Status.FINISHED, message)


def stopTaskFailure(task_id: int, message: str = "") -> None:
    """The task is FAILED, and is not repeated."""
    _set(task_id, Status.FAILED, message)


def pauseTask(task_id: int, message: str = "") -> None:
    """The task is PAUSED. Said by who processes it, that is a label: its time-out goes on."""
    _set(task_id, Status.PAUSED, message)


def resumeTask(task_id: int, message: str = "") -> None:
    """The task is RUNNING again, or waits again where it had been paused before its start."""
    _set(task_id, Status.RUNNING, message)


def setTaskResponse(task_id: int, response: str | bytes, mimeType: str = "text/xml") -> None:
    """Store the response of the task; it takes the place of one that was stored before."""
    if (mine := own(task_id)) is not None:
        mine.store_response(response, mimeType)
        return
    known = store()
    task = known.task(task_id)
    write_response(known.storage.task_dir(task.job.id), response, mimeType)


def reenqueueZombieTasks(message: str = "") -> None:
    """See to it that the tasks which exceed their time-out are put back into the queue, or FAILED.

    The operator does so by itself. This notes *message* down for each of them and returns once it
    has, or after some seconds.
    """
    known = store()
    zombies = [task for task in known.unfinished() if _is_zombie(known, task)]
    for task in zombies:
        if message:
            known.journal(task).add(Status.ACCEPTED, message)
    for task in zombies:
        attempt = task.job.status.attempt
        known.wait(task, lambda now, attempt=attempt: not _is_at_work(now, attempt))  # type: ignore[misc]


def _set(task_id: int, status: Status, message: str) -> None:
    if (mine := own(task_id)) is not None:
        mine.set_status(status, message)
        return
    known = store()
    task = known.mine(task_id) or known.task(task_id)
    claimed = _claimed(known, task)
    if claimed is not None:
        _report(known, task, claimed, status, message)
    else:
        _ask(known, task, status, message)


def _claimed(known: Store, task: Task) -> Raw | None:
    """The WpsJob of *task* as this consumer has claimed it, or None.

    A process that was begun by the consumer, and does not share its memory, finds the claim of its
    machine's in the WpsJob.
    """
    from wpsjobs.tracker.claims import consumer_name

    if (claimed := known.claimed.get(task.id)) is not None:
        return claimed
    claim = task.job.status.claim
    if claim is None or not claim.consumer.startswith(consumer_name("")):
        return None
    known.hold(task)
    return task.raw


def _report(known: Store, task: Task, claimed: Raw, status: Status, message: str) -> None:
    from wpsjobs.tracker.claims import ClaimLostError, report

    claim = WpsJob.from_raw(claimed).status.claim
    try:
        if claim is None or claim.state not in CLAIM_ENDED:
            known.claimed[task.id] = report(known.cluster, claimed, CLAIM_OF[status], message)
            return
        error = ClaimLostError(f"its end was reported before ({claim.state})")
    except ClaimLostError as lost:
        error = lost
    # The claim is kept: whatever this consumer says of the task goes on being of no account.
    if status is Status.FAILED:
        # Of a loop's last resort: there is nothing left to fail, and the loop is to go on.
        logger.warning("task %d: %s", task.id, error)
        return
    raise TaskStateError(f"The task {task.id} is not yours any more: {error}") from error


def _ask(known: Store, task: Task, status: Status, message: str) -> None:
    """Ask the operator for what somebody wants who does not process the task."""
    before = known.status(task)
    spec: dict[str, Any] = {}
    if before in ENDED and before is not status:
        raise TaskStateError(
            f"The task {task.id} is {before.name} already; reenqueueTask has it processed again."
        )
    if status is Status.PAUSED:
        spec = {"suspend": True}
    elif status is Status.RUNNING:
        spec = {"suspend": False}
    elif before is not status:
        if status is Status.FINISHED:
            raise TaskStateError(
                f"The task {task.id} is {before.name}; that it is FINISHED can only say who "
                "processes it: its handler, or the consumer that has taken it from the queue."
            )
        if task.job.spec.cancel:
            raise TaskStateError(
                f"The task {task.id} was dismissed before, which can be done once; delete it."
            )
        spec = {"cancel": True}
    if message:
        known.journal(task).add(status, message)
    if spec:
        known.cluster.patch_job(task.name, {"spec": spec})


def _is_zombie(known: Store, task: Task) -> bool:
    """Whether the current attempt has been at work for longer than it may be."""
    status = task.job.status
    since = status.started_at or status.scheduled_at
    if not _is_at_work(task, status.attempt) or since is None:
        return False
    try:
        policy = Policy.resolve(task.job, read(known, task.type), None)
    except TaskTypeNotFound:
        return False  # nobody knows any more how long it may take
    return time.time() > since.timestamp() + policy.timeout_seconds + status.paused_seconds


def _is_at_work(task: Task, attempt: int) -> bool:
    """Whether *attempt* is still the one that is being processed."""
    status = task.job.status
    begun = status.phase in LAUNCHED or (
        status.phase is Phase.PAUSED and status.started_at is not None
    )
    return begun and status.attempt == attempt
