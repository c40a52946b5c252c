"""``python -m wpsjobs.tracker.consumer_process FD``: where the ready daemon's handlers run.

The daemon gives it claimed WpsJobs by the connection at the descriptor FD, one after the other, and
hears when each is done. It ends with the daemon.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection

from wpsjobs.eoxserver.client import ClusterError, Raw
from wpsjobs.tracker import access, runner
from wpsjobs.tracker.consumer_logs import log_json
from wpsjobs.tracker.control import startTask, stopTaskSuccessIfNotFinished
from wpsjobs.tracker.errors import TaskStateError
from wpsjobs.tracker.handlers import TaskStatus
from wpsjobs.tracker.store import Task

logger = logging.getLogger("wpsjobs.tracker.consumer")

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Work until the daemon closes the connection; the result is the exit code."""
    _end_with_parent()
    connection = Connection(int(sys.argv[1]))
    os.set_inheritable(connection.fileno(), False)
    log_json()
    runner.set_up()
    access.store()
    connection.send("ready")
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return 0
        try:
            _work(job)
        finally:
            sys.stdout.flush()
        connection.send("done")


def _end_with_parent() -> None:
    """Else a handler would run on unwatched, while its task goes to another consumer."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _work(job: Raw) -> None:
    """Run the handler of a claimed task, and report its end."""
    known = access.store()
    task = known.remember(Task(job))
    known.claimed[task.id] = job
    words = {"job": task.name, "type": task.type}
    try:
        _, _, path, given = startTask(task.id)
        module, _, function = path.rpartition(".")
        handler = getattr(importlib.import_module(module), function)
        handler(TaskStatus(task.id), given)
        stopTaskSuccessIfNotFinished(task.id)
    except (TaskStateError, ClusterError) as error:
        # Nobody else's business: it was taken away, or will be for want of heartbeats.
        logger.warning(str(error), extra=words)
    except (Exception, SystemExit) as error:
        logger.warning("the handler failed", extra=words, exc_info=True)
        TaskStatus(task.id).setFailure(_words(error))
    finally:
        known.claimed.pop(task.id, None)


def _words(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"The handler called sys.exit({error.code!r})."
    return str(error) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
