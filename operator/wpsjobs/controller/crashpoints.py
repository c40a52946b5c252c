"""Places at which a test can have the operator killed, to see that nothing comes of it."""

from __future__ import annotations

import os
import signal
from enum import StrEnum

VARIABLE = "WPSJOBS_CRASH_AT"


class CrashPoint(StrEnum):
    """Just before or after a write of the launch sequence, or of the end."""

    BEFORE_ADMISSION = "before-admission"
    AFTER_ADMISSION = "after-admission"
    AFTER_CREATION = "after-creation"
    BEFORE_CONCLUSION = "before-conclusion"
    AFTER_CONCLUSION = "after-conclusion"
    AFTER_PARTS = "after-parts"
    """It stands in the status which parts of a fan-out have ended or are to begin."""
    BEFORE_MERGE = "before-merge"
    AFTER_MERGE = "after-merge"
    """The slot of the merge step is taken."""


def pass_by(point: CrashPoint, here: bool = True) -> None:
    """End the process by SIGKILL where the environment names *point* and this is it (*here*)."""
    if here and os.environ.get(VARIABLE) == point:
        os.kill(os.getpid(), signal.SIGKILL)
