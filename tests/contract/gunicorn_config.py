"""gunicorn as the chart starts it, and as its tests want it killed: by a header of the request."""

from __future__ import annotations

import os
from typing import Any

from wpsjobs.eoxserver.crashpoints import VARIABLE

HEADER = "X-CRASH-AT"

# Loaded before the fork, so that the server is there again soon after a kill.
preload_app = True
workers = 1
threads = 4
control_socket_disable = True


def pre_request(_worker: Any, request: Any) -> None:
    """In the process that is to answer, before it does."""
    os.environ.pop(VARIABLE, None)
    for name, value in request.headers:
        if name == HEADER:
            os.environ[VARIABLE] = value
