"""The supervisor's view of its own WpsJob."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from wpsjobs.worker.apiserver import ApiError, ApiServer, ExpiredError, NotFoundError

logger = logging.getLogger(__name__)

MIN_BACKOFF, MAX_BACKOFF = 0.25, 10.0
"""Seconds between two tries to read or watch."""


class Watcher(threading.Thread):
    """Calls *on_job* with the WpsJob as it is and at each change, *on_gone* at its deletion."""

    def __init__(
        self,
        api: ApiServer,
        namespace: str,
        name: str,
        on_job: Callable[[dict[str, Any]], None],
        on_gone: Callable[[], None],
    ) -> None:
        super().__init__(name="watcher", daemon=True)
        self._api, self._namespace, self._name = api, namespace, name
        self._on_job, self._on_gone = on_job, on_gone
        self._uid: str | None = None

    def run(self) -> None:
        backoff = MIN_BACKOFF
        while True:
            began = time.monotonic()
            try:
                if not self._follow():
                    return
                backoff = MIN_BACKOFF
            except ExpiredError:
                continue
            except (ApiError, OSError) as error:
                if time.monotonic() - began > MAX_BACKOFF:
                    backoff = MIN_BACKOFF
                logger.warning(
                    "the WpsJob cannot be watched, next try in %.1f s: %s", backoff, error
                )
                time.sleep(backoff)
                backoff = min(MAX_BACKOFF, 2 * backoff)

    def _follow(self) -> bool:
        """Read, then watch until the watch ends; False once the WpsJob is gone."""
        try:
            job = self._api.get_job(self._namespace, self._name)
        except NotFoundError:
            self._on_gone()
            return False
        version = self._see(job)
        if version is None:
            return False
        for kind, changed in self._api.watch_job(self._namespace, self._name, version):
            if kind == "DELETED":
                self._on_gone()
                return False
            if kind in {"ADDED", "MODIFIED"} and self._see(changed) is None:
                return False
        return True

    def _see(self, job: dict[str, Any]) -> str | None:
        """The resourceVersion of *job*, or None where it is another one of the same name."""
        metadata = job["metadata"]
        self._uid = self._uid or metadata["uid"]
        if metadata["uid"] != self._uid:
            self._on_gone()
            return None
        self._on_job(job)
        return str(metadata["resourceVersion"])
