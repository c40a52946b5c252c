"""The tasks' store of this process, and the task at which this process is at work in a pod.

Nothing of Kubernetes' client is imported before it is used: a handler's pod has no need of it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol

from wpsjobs.tracker.status import Status

if TYPE_CHECKING:
    from wpsjobs.tracker.store import Store


class Own(Protocol):
    """The task whose handler this very process runs, in a pod that the operator has launched."""

    task_id: int
    type: str
    identifier: str
    status: Status

    def set_status(self, status: Status, message: str) -> None:
        """Say how it stands."""

    def store_response(self, response: str | bytes, mime_type: str) -> None:
        """Store its response."""


_lock = threading.Lock()
_store: Store | None = None
_own: Own | None = None


def store() -> Store:
    """That of this process; made at the first use. Raises SettingsError."""
    global _store  # noqa: PLW0603 (one for all functions of the tracker)
    with _lock:
        if _store is None:
            from wpsjobs.tracker.settings import load
            from wpsjobs.tracker.store import Store

            _store = Store(load())
        return _store


def close() -> None:
    """Close the connections to the API server, and read the settings anew at the next use."""
    global _store
    with _lock:
        known, _store = _store, None
    if known is not None:
        known.close()


def own(task_id: int) -> Own | None:
    """The task at which this process is at work, if it is that of the number *task_id*."""
    return _own if _own is not None and _own.task_id == task_id else None


def enter(task: Own) -> None:
    """Be at work at *task* from now on."""
    global _own  # noqa: PLW0603
    _own = task


def _after_fork() -> None:
    """A lock that another thread held at the fork would never be released."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
