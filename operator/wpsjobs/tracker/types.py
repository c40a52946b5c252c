"""Task types: WpsProcesses with a handler."""

from __future__ import annotations

import logging
import math
import re
import time
from typing import TYPE_CHECKING, Any

from wpsjobs.api.names import (
    ANNOTATION_FORCE_DELETE,
    API_VERSION,
    WPSPROCESS_KIND,
    WPSPROCESS_PLURAL,
    WPSQUEUE_KIND,
    WPSQUEUE_PLURAL,
)
from wpsjobs.api.phases import DEFAULT_RESTART_ON
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.tracker.access import store
from wpsjobs.tracker.errors import QueueException, TaskTypeNotFound
from wpsjobs.tracker.names import checked, process_name

if TYPE_CHECKING:
    from wpsjobs.eoxserver.client import Raw
    from wpsjobs.tracker.store import Store, Task

logger = logging.getLogger(__name__)

MAX_QUEUE_SIZE = 64
"""How many tasks a queue may hold that ``registerTaskType`` makes.

What holds for a queue is its ``spec.maxQueued``: use ``getMaxQueueSize``.
"""
MAX_RESTARTS = 1000
COUNT_SECONDS = 10.0
"""For as long, ``unregisterTaskType`` waits until the operator has counted that no task is left."""
_HANDLER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
_PAUSE = 0.1
_POLICY = "ValidatingAdmissionPolicy"
"""In the API server's words where it is not a missing right for which it refuses."""
_NO_RIGHT = (
    "This program may not change task types: {}. The chart gives the right to an instance's web "
    "pods with tracker.enabled=true."
)


def registerTaskType(
    identifier: str,
    handler: str,
    timeout: float = 3600,
    timeret: float = -1,
    maxrestart: int = 2,
) -> None:
    """Register a task type, or change what is registered of it.

    *handler* is the dotted path of the function that processes the tasks. An attempt that takes
    more than *timeout* seconds is ended and repeated, as one that was killed is, at most
    *maxrestart* times; then the task is FAILED. A finished task is kept for *timeret* seconds and
    then deleted; for ever where it is not positive.

    The queue of the tasks is made where there is none. Raises ValueError and TypeError for what
    cannot be, QueueException where this program lacks a right.
    """
    spec = _spec(identifier, handler, timeout, timeret, maxrestart)
    known = store()
    _make_queue(known)
    found = _find(known, identifier)
    if found is None:
        found = _create(known, identifier, spec)
    if found is not None:
        _update(known, found, spec)
    known.types.pop(identifier, None)


def unregisterTaskType(identifier: str, force: bool = False) -> None:
    """Remove a task type.

    Raises ``django.db.models.ProtectedError`` while there is a task of it; with *force*, its tasks
    are deleted first. Raises TaskTypeNotFound.
    """
    known = store()
    found = _task_type(known, identifier)
    name = found["metadata"]["name"]
    path = known.path(WPSPROCESS_PLURAL, name)
    if force:
        from wpsjobs.tracker.tasks import remove  # they know each other

        # From here on the API server lets it go, whatever the operator has counted.
        _allowed(
            lambda: known.cluster.raw_patch(
                path, {"metadata": {"annotations": {ANNOTATION_FORCE_DELETE: "true"}}}
            )
        )
        for task in _tasks(known, identifier):
            remove(known, task)
    _delete(known, identifier, path)
    known.types.pop(identifier, None)


def require(known: Store, identifier: str) -> None:
    """Raises TaskTypeNotFound where no task type of that identifier is registered."""
    if identifier not in known.types:
        known.types[identifier] = _task_type(known, identifier)["metadata"]["name"]


def read(known: Store, identifier: str) -> WpsProcess:
    """The task type as it is registered. Raises TaskTypeNotFound."""
    return WpsProcess.from_raw(_task_type(known, identifier))


def is_registered(known: Store, identifier: str) -> bool:
    """Whether both the task type and its queue are there now."""
    from wpsjobs.eoxserver.client import NotFoundError

    try:
        known.cluster.raw_get(known.path(WPSQUEUE_PLURAL, known.settings.queue))
    except NotFoundError:
        return False
    return _find(known, identifier) is not None


def _spec(
    identifier: str, handler: str, timeout: float, timeret: float, maxrestart: int
) -> dict[str, Any]:
    checked(identifier, "the identifier of a task type")
    if not isinstance(handler, str):
        raise TypeError(f"a handler is given by its dotted path, not as {handler!r}")
    if not _HANDLER.fullmatch(handler):
        raise ValueError(f"the handler {handler!r} is no dotted path, such as package.module.name")
    if not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, not {timeout!r}")
    if not 0 <= maxrestart <= MAX_RESTARTS:
        raise ValueError(f"maxrestart must be a number from 0 to {MAX_RESTARTS}: {maxrestart!r}")
    return {
        "identifier": identifier,
        "handler": handler,
        "timeoutSeconds": math.ceil(timeout),
        "restartLimit": int(maxrestart),
        # Whatever the queue has: an error of the handler is its answer.
        "restartOn": sorted(DEFAULT_RESTART_ON),
        "ttlSecondsAfterFinished": math.ceil(timeret) if timeret > 0 else -1,
    }


def _find(known: Store, identifier: str) -> Raw | None:
    """The WpsProcess of that identifier, whoever has made it."""
    from wpsjobs.eoxserver.client import NotFoundError

    try:
        return known.cluster.raw_get(known.path(WPSPROCESS_PLURAL, process_name(identifier)))
    except NotFoundError:
        items = _allowed(lambda: known.cluster.raw_get(known.path(WPSPROCESS_PLURAL)))["items"]
        return next((item for item in items if item["spec"].get("identifier") == identifier), None)


def _task_type(known: Store, identifier: str) -> Raw:
    found = _find(known, checked(identifier, "the identifier of a task type"))
    if found is None or not found["spec"].get("handler"):
        raise TaskTypeNotFound(f"There is no task type {identifier!r}; register it first.")
    return found


def _create(known: Store, identifier: str, spec: dict[str, Any]) -> Raw | None:
    """Make the WpsProcess; returns the one that somebody else has just made."""
    from wpsjobs.eoxserver.client import ConflictError

    body = {
        "apiVersion": API_VERSION,
        "kind": WPSPROCESS_KIND,
        "metadata": {"name": process_name(identifier)},
        "spec": {**spec, "queue": known.settings.queue},
    }
    try:
        _allowed(lambda: known.cluster.raw_post(known.path(WPSPROCESS_PLURAL), body))
    except ConflictError:
        return _find(known, identifier)
    return None


def _update(known: Store, found: Raw, spec: dict[str, Any]) -> None:
    name, old = found["metadata"]["name"], found["spec"]
    if not old.get("handler"):
        raise ValueError(
            f"{spec['identifier']!r} is a WPS process (WpsProcess {name}); choose another "
            "identifier for the task type"
        )
    changes = {key: value for key, value in spec.items() if old.get(key) != value}
    annotations = found["metadata"].get("annotations") or {}
    patch: dict[str, Any] = {"spec": changes} if changes else {}
    if ANNOTATION_FORCE_DELETE in annotations:
        patch["metadata"] = {"annotations": {ANNOTATION_FORCE_DELETE: None}}
    if patch:
        _allowed(lambda: known.cluster.raw_patch(known.path(WPSPROCESS_PLURAL, name), patch))


def _make_queue(known: Store) -> None:
    """Make the queue of the tasks, unless it is there, with the pods of the WPS's own queue."""
    from wpsjobs.eoxserver.client import ConflictError, NotFoundError

    try:
        known.cluster.raw_get(known.path(WPSQUEUE_PLURAL, known.settings.queue))
    except NotFoundError:
        pass
    else:
        return
    spec: dict[str, Any] = {"maxQueued": MAX_QUEUE_SIZE}
    try:
        model = known.cluster.raw_get(known.path(WPSQUEUE_PLURAL, known.settings.template_queue))
    except NotFoundError:
        logger.warning(
            "the new WpsQueue %s gets no pod template, for there is no WpsQueue %s to take it from",
            known.settings.queue,
            known.settings.template_queue,
        )
    else:
        spec["template"] = model["spec"].get("template", {})
    body = {
        "apiVersion": API_VERSION,
        "kind": WPSQUEUE_KIND,
        "metadata": {"name": known.settings.queue},
        "spec": spec,
    }
    try:
        _allowed(lambda: known.cluster.raw_post(known.path(WPSQUEUE_PLURAL), body))
    except ConflictError:
        return  # somebody else has just made it


def _delete(known: Store, identifier: str, path: str) -> None:
    """Delete the WpsProcess, which the API server refuses while the operator counts tasks of it."""
    from wpsjobs.eoxserver.client import ForbiddenError, NotFoundError

    deadline = time.monotonic() + COUNT_SECONDS
    while True:
        # A task that has just been enqueued is not counted yet.
        if tasks := _tasks(known, identifier):
            raise _protected(identifier, {task.identifier for task in tasks})
        try:
            known.cluster.raw_delete(path)
        except NotFoundError:
            return
        except ForbiddenError as error:
            if _POLICY not in str(error):
                raise QueueException(_NO_RIGHT.format(error)) from error
            if time.monotonic() > deadline:
                raise _protected(identifier, set(), str(error)) from error
        else:
            return
        time.sleep(_PAUSE)


def _tasks(known: Store, identifier: str) -> list[Task]:
    # Identifiers may have what a field selector takes for its own.
    escaped = re.sub(r"([\\,=])", r"\\\1", identifier)
    return known.select(f"spec.process={escaped}")


def _protected(identifier: str, tasks: set[str], words: str = "") -> Exception:
    from django.db.models import ProtectedError  # 0.3 s

    # Its first parameter is typed as text, the second as models: these tasks are no models.
    return ProtectedError(
        f"The task type {identifier!r} cannot be removed, for there are tasks of it"
        + (f": {words}" if words else "; delete them, or use force."),
        tasks,  # type: ignore[arg-type]
    )


def _allowed(request: Any) -> Any:
    """What *request* returns; raises QueueException where the right to it is missing."""
    from wpsjobs.eoxserver.client import ForbiddenError

    try:
        return request()
    except ForbiddenError as error:
        raise QueueException(_NO_RIGHT.format(error)) from error
