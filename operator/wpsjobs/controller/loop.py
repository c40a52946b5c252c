"""The operator's loop over all namespaces that it serves, each in a task of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from wpsjobs.api.fields import Raw
from wpsjobs.controller.announcer import Announcer
from wpsjobs.controller.cluster import Cluster
from wpsjobs.controller.served import Served
from wpsjobs.controller.settings import Settings
from wpsjobs.controller.state import Kind


def utc_now() -> datetime:
    """The clock of the loop; ``decisions`` gets it passed in."""
    return datetime.now(UTC)


class Loop:
    """Serves the namespaces; one that is slow or fails keeps no other one waiting."""

    def __init__(
        self, cluster: Cluster, settings: Settings, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._now = now
        self._writes = asyncio.Semaphore(settings.writes_at_once)
        self._announcer = Announcer(cluster)
        self._served: dict[str, Served] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._leading = self._clean = False

    def lead(self, namespaces: Iterable[str], *, clean: bool) -> None:
        """Begin to serve these, and others of which a watch brings something.

        Without *clean*, a leader before this one may still have writes under way.
        """
        self._leading, self._clean = True, clean
        for namespace in namespaces:
            self.serve(namespace)

    def notice(self, kind: Kind, event: str | None, raw: Raw) -> None:
        """Take note of what a watch says; None for *event* is an object of its first list."""
        self.serve(raw["metadata"].get("namespace", "")).notice(kind, event, raw)

    def serve(self, namespace: str) -> Served:
        """Serve *namespace* from now on, if it is not served yet."""
        if namespace not in self._served:
            self._served[namespace] = served = Served(
                namespace,
                self._cluster,
                self._settings,
                self._now,
                self._writes,
                self._announcer.tell,
                clean=self._clean,
            )
            if self._tasks is not None:
                self._tasks.create_task(served.run())
        return self._served[namespace]

    async def run(self) -> None:
        """Turn until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            self._tasks.create_task(self._announcer.run())
            for served in self._served.values():
                self._tasks.create_task(served.run())

    def still_for(self) -> float | None:
        """Seconds since a namespace last turned, of all the longest; None while another leads."""
        if not self._leading:
            return None
        now = time.monotonic()
        return max((now - served.turned_at for served in self._served.values()), default=0.0)

    def list_age(self) -> float:
        """Seconds since the oldest of the namespaces' lists; infinite before the first."""
        if not self._leading:
            return float("inf")
        now = time.monotonic()
        ages = [
            float("inf") if served.listed_at is None else now - served.listed_at
            for served in self._served.values()
        ]
        return max(ages, default=0.0)
