"""Places at which a test can have a worker killed, to see that documents and phases agree.

Both halves of a worker, the supervisor and its child, pass by such places. The variable comes with
the pod: from a WpsQueue's template or a WpsProcess's ``env``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from enum import StrEnum

from wpsjobs.api.attempt import Environment

VARIABLE = "WPSJOBS_WORKER_CRASH_AT"
KILLED = 128 + signal.SIGKILL
"""Exit code of a container whose first process was ended by SIGKILL."""


class CrashPoint(StrEnum):
    """The last steps of an attempt, in their order: which half dies, and what has been done."""

    PROCESS_ENDED = "process-ended"
    """The child: the outputs are published, nothing is said of it."""
    FINALISING_ASKED = "finalising-asked"
    """The child: the document is staged and the right to publish it asked for."""
    FINALISING_GRANTED = "finalising-granted"
    """The supervisor: ``finalising`` stands in the status; the child has not heard of it."""
    FINALISING_HEARD = "finalising-heard"
    """The child: it may publish the document, and has not."""
    DOCUMENT_FINAL = "document-final"
    """The child: the document is published; nobody knows."""
    CHILD_ENDED = "child-ended"
    """The supervisor: the child ended well; neither words nor exit code of it have got out."""


def is_here(point: CrashPoint, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the worker is to die at *point*: at the first try alone, so that a second one ends.

    How it dies is the caller's: no process can send SIGKILL to the first of its own container.
    """
    is_first = environ.get(Environment.ATTEMPT) == "1" and environ.get(Environment.TRY, "0") == "0"
    return environ.get(VARIABLE) == point and is_first
