"""``python -m wpsjobs.tracker.consumer``: a ready daemon for queues with ``executor: Consumers``.

It claims tasks, one at a time for each of its processes, and has the handlers of their types run
there. Where its tasks are, ``wpsjobs.tracker.settings`` tells.

On SIGTERM it claims nothing more and lets the handlers that run come to their end, for as long as
``--grace`` says; then, and on a second SIGTERM, it ends them and gives their tasks back.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

from wpsjobs.api.attempt import Environment
from wpsjobs.tracker import access, runner
from wpsjobs.tracker.claims import consumer_name
from wpsjobs.tracker.consumer_logs import log_json
from wpsjobs.tracker.consumer_slot import Shared, Slot

logger = logging.getLogger("wpsjobs.tracker.consumer")

GRACE_SECONDS = 25.0
"""Less than Kubernetes' 30, so that what is not done is given back before SIGKILL."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Consume until SIGTERM or SIGINT; the result is the exit code."""
    options = _options(arguments)
    if options.queue:
        os.environ["WPSJOBS_TRACKER_QUEUE"] = options.queue
    log_json()
    runner.set_up()
    known = access.store()
    shared = Shared(known.cluster, known.claims, options.grace)
    slots = [
        Slot(shared, _consumer(options.server_id, number))
        for number in range(1, options.processes + 1)
    ]
    stopping = _Stopping(shared)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stopping.stop)
    names = [slot.name for slot in slots]
    logger.info("consuming", extra={"queue": known.claims.name, "consumers": names})
    for slot in slots:
        slot.start()
    for slot in slots:
        slot.join()
    access.close()
    logger.info("stopped", extra={"queue": known.claims.name})
    return 0


class _Stopping:
    """What the signals do: first no more claims, then no more patience."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def stop(self, *_: object) -> None:
        """The handler of the signals; a thread does it, for locks may be held at this moment."""
        hurry = self._shared.stopping.is_set()
        threading.Thread(target=self._shared.stop, kwargs={"at_once": hurry}).start()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m wpsjobs.tracker.consumer",
        description="Claims tasks of a WpsQueue with executor: Consumers, and runs their handlers.",
    )
    parser.add_argument("--queue", help="name of the WpsQueue; default: as the settings have it")
    parser.add_argument(
        "--processes", type=_positive, default=1, help="tasks that run at once (default: 1)"
    )
    parser.add_argument(
        "--server-id",
        default=_host(),
        help="unique among the daemons of one pod or machine (default: its name)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=GRACE_SECONDS,
        help="seconds that handlers have on SIGTERM to come to their end (default: 25)",
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _host() -> str:
    return os.environ.get(Environment.POD_NAME) or socket.gethostname()


def _consumer(server_id: str, number: int) -> str:
    """The name of the consumer that is process *number* of this daemon."""
    return consumer_name(str(number) if server_id == _host() else f"{server_id}-{number}")


if __name__ == "__main__":
    sys.exit(main())
