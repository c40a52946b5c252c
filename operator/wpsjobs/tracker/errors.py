"""What the functions of the tracker raise.

The reference has tasks in Django's database, so that its callers catch Django's exceptions; these
are of their kinds.
"""

from __future__ import annotations

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError


class QueueException(Exception):
    """Task queue base exception.

    By itself, it says that the queue cannot be used now, or not in this way; the message says why.
    """


class QueueEmpty(QueueException):
    """The task queue is empty and no task can be pulled from it."""


class QueueFull(QueueException):
    """The task queue is full and no task can be pushed to it."""


class TaskNotFound(ObjectDoesNotExist):
    """There is no such task."""


class TaskTypeNotFound(ObjectDoesNotExist):
    """There is no task type of that identifier."""


class ResponseNotFound(ObjectDoesNotExist):
    """The task has stored no response."""


class TaskExists(IntegrityError):
    """There is a task of that type and identifier already."""


class TaskStateError(Exception):
    """The status of the task cannot be set to that from here; the message says whose it is."""
