"""Places at which a test can have a web server killed, to see that nothing is left half-made."""

from __future__ import annotations

import os
import signal
from enum import StrEnum

VARIABLE = "WPSJOBS_WEB_CRASH_AT"


class CrashPoint(StrEnum):
    """The steps of an Execute in their order, and those of taking it back."""

    MARKER_STAGED = "marker-staged"
    """The marker is written, in a directory that does not have its name yet."""
    MARKER_WRITTEN = "marker-written"
    """``path_task/<id>`` is there, ``path_perm/<id>`` is not."""
    DIRECTORIES_MADE = "directories-made"
    REQUEST_STORED = "request-stored"
    INITIALIZED = "initialized"
    ACCEPTED_TOLD = "accepted-told"
    """``on_accepted`` has been called."""
    DOCUMENT_WRITTEN = "document-written"
    CREATED = "created"
    """The WpsJob exists; its verdict is not known here."""
    VERDICT_HEARD = "verdict-heard"
    DELETED = "deleted"
    """What was not accepted is deleted; its directories are there."""
    DISCARD_CLAIMED = "discard-claimed"
    """``discard`` is about to be called, and they are about to be removed."""
    MARKER_REMOVED = "marker-removed"
    """``discard`` has been called, and all but a hidden directory is removed."""


def pass_by(point: CrashPoint) -> None:
    """End the process by SIGKILL where the environment names *point*."""
    if os.environ.get(VARIABLE) == point:
        os.kill(os.getpid(), signal.SIGKILL)
