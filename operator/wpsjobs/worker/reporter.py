"""Progress on its way to the API server: at most twice a second, the latest always."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from wpsjobs.api.times import format_time
from wpsjobs.worker.apiserver import (
    ApiError,
    ApiServer,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)

logger = logging.getLogger(__name__)

MIN_INTERVAL = 0.5
"""Seconds between two patches."""
MAX_BACKOFF = 15.0
"""Seconds between two tries while the API server does not take a patch."""
REFUSED_SECONDS = 30.0
"""For as long, a refusal may be that of an API server that has just begun.

It knows no rights yet (403), and cannot apply the admission policy (422, by its failurePolicy).
"""
MAX_MESSAGE_BYTES = 1024


@dataclass(frozen=True)
class Progress:
    """What the process last said of itself."""

    percent: int = 0
    message: str = ""
    finalising: bool = False

    def bounded(self) -> Progress:
        """Within what the resource holds: 0…100 percent and 1 KiB of message."""
        message = self.message.encode(errors="replace")[:MAX_MESSAGE_BYTES].decode(errors="ignore")
        return replace(self, percent=min(100, max(0, self.percent)), message=message)


@dataclass(frozen=True)
class Target:
    """The WpsJob to report to."""

    namespace: str
    name: str
    kubernetes_job: str


class Reporter(threading.Thread):
    """Patches ``status.progress``.

    Calls *on_granted* once a finalising progress stands in the API server, and *on_refused* with
    the words (and whether this attempt is superseded) once the API server has refused for good.
    """

    def __init__(
        self,
        api: ApiServer,
        target: Target,
        on_granted: Callable[[], None],
        on_refused: Callable[[str, bool], None],
    ) -> None:
        super().__init__(name="reporter", daemon=True)
        self._api, self._target = api, target
        self._on_granted, self._on_refused = on_granted, on_refused
        self._condition = threading.Condition()
        self._pending: Progress | None = None
        self._closing = False
        self._disabled = False

    def submit(self, progress: Progress) -> None:
        """Report *progress* instead of what still waits; nothing replaces a finalising one."""
        with self._condition:
            if self._pending is None or not self._pending.finalising:
                self._pending = progress.bounded()
                self._condition.notify()

    def close(self, timeout: float) -> None:
        """Send what still waits, for at most *timeout* seconds, and end."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self.join(timeout)

    def run(self) -> None:
        while (progress := self._next()) is not None:
            self._send(progress)
            self._pause(MIN_INTERVAL)

    def _next(self) -> Progress | None:
        """The progress to send, or None at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._pending is not None or self._closing)
            progress, self._pending = self._pending, None
            return progress

    def _pause(self, seconds: float) -> None:
        """Wait, but not for the end and not for a finalising progress."""
        with self._condition:
            self._condition.wait_for(
                lambda: self._closing or (self._pending is not None and self._pending.finalising),
                seconds,
            )

    def _send(self, progress: Progress) -> None:
        backoff, refused_since = MIN_INTERVAL, None
        while not (self._disabled and not progress.finalising):
            try:
                self._patch(progress)
            except NotFoundError:
                self._on_refused("the WpsJob does not exist any more", True)
                return
            except (ApiError, OSError) as error:
                if isinstance(error, ForbiddenError | InvalidError):
                    refused_since = refused_since or time.monotonic()
                    if self._gives_up(progress, error, refused_since):
                        return
                logger.warning("progress is not reported yet: %s", error)
                if self._closing:
                    return
                time.sleep(backoff)
                backoff = min(MAX_BACKOFF, 2 * backoff)
                progress = self._newest(progress)
            else:
                if progress.finalising:
                    self._on_granted()
                return

    def _newest(self, progress: Progress) -> Progress:
        with self._condition:
            if self._pending is None or progress.finalising:
                return progress
            progress, self._pending = self._pending, None
            return progress

    def _patch(self, progress: Progress) -> None:
        self._api.patch_progress(
            self._target.namespace,
            self._target.name,
            {
                "percent": progress.percent,
                "message": progress.message,
                "finalising": progress.finalising,
                "updatedAt": format_time(datetime.now(UTC)),
            },
        )

    def _gives_up(self, progress: Progress, error: ApiError, since: float) -> bool:
        """Whether there is no use in another try at what was refused *since* then.

        There is none for an attempt that is over (fenced by the admission policy), nor in the end
        for one that lacks the right.
        """
        superseded = self._is_superseded()
        if not superseded and time.monotonic() - since < REFUSED_SECONDS:
            return False
        if superseded or progress.finalising:
            self._on_refused(str(error), superseded)
        elif isinstance(error, ForbiddenError):
            logger.warning("progress is not reported any more: %s", error)
            self._disabled = True
        else:
            logger.warning("progress is not reported: %s", error)
        return True

    def _is_superseded(self) -> bool:
        """Whether the WpsJob has another attempt by now, as far as the API server tells."""
        try:
            job = self._api.get_job(self._target.namespace, self._target.name)
        except NotFoundError:
            return True
        except (ApiError, OSError):
            return False
        return bool(job.get("status", {}).get("jobName") != self._target.kubernetes_job)
