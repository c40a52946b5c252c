"""The jobs of the pipeline, read from the API server; one reading serves all who ask meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from wpsjobs.api.phases import FINISHED
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver.client import Cluster, ClusterError, NotFoundError
from wpsjobs.pipeline.states import Data, State, summary

UNFINISHED_SECONDS = 1.0
"""How old the list of unfinished jobs may be when it is asked for."""
ALL_SECONDS = 2.0
"""How old that of all jobs may be at least."""
SHARE = 0.05
"""Of the time that the list of all jobs may take: where many are kept, it is read less often."""

Raw = dict[str, Any]


@dataclass
class Board:
    """Summaries of all jobs of some processes. Methods raise ClusterError; safe for threads."""

    cluster: Cluster
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _processes: tuple[str, ...] = ()
    _jobs: dict[str, Data] = field(default_factory=dict)
    """By the names of the WpsJobs."""
    _read_at: float = -1e9
    _all_read_at: float = -1e9
    _all_took: float = 0.0
    _failed: tuple[float, ClusterError] | None = None

    def jobs(self, processes: tuple[str, ...]) -> list[Data]:
        """All jobs, the newest first."""
        with self._lock:
            if processes != self._processes:
                self._processes, self._all_read_at = processes, -1e9
            # Those who waited for a reading that failed must not each wait for another.
            if self._failed and self.clock() - self._failed[0] < UNFINISHED_SECONDS:
                raise ClusterError(str(self._failed[1])) from self._failed[1]
            try:
                self._read()
            except ClusterError as error:
                self._failed = (self.clock(), error)
                raise
            self._failed = None
            return sorted(self._jobs.values(), key=lambda job: -int(job["job_id"]))

    def stale(self) -> None:
        """Something has changed: read anew when asked next."""
        with self._lock:
            self._read_at = -1e9

    def find(self, sequence: int, processes: tuple[str, ...]) -> Raw | None:
        """The WpsJob of that number, as it is now."""
        for raw in self.cluster.list_jobs(f"status.sequence={sequence}").items:
            if raw["spec"].get("process") in processes:
                return raw
        return None

    def _read(self) -> None:
        """Read what is too old."""
        now = self.clock()
        if now - self._all_read_at >= max(ALL_SECONDS, self._all_took / SHARE):
            self._read_all()
        elif now - self._read_at >= UNFINISHED_SECONDS:
            self._read_unfinished()

    def _read_all(self) -> None:
        began = self.clock()
        self._jobs = _summaries(self._list(""))
        self._read_at = self._all_read_at = self.clock()
        self._all_took = self._read_at - began

    def _read_unfinished(self) -> None:
        """What was unfinished and is none any more has finished or gone: that is asked for."""
        found = _summaries(self._list("".join(f",status.phase!={phase}" for phase in FINISHED)))
        for name, job in list(self._jobs.items()):
            if name not in found and job["state"] in (State.READY, State.IN_PROGRESS):
                try:
                    found |= _summaries([self.cluster.get_job(name)])
                except NotFoundError:
                    del self._jobs[name]
        self._jobs |= found
        self._read_at = self.clock()

    def _list(self, selector: str) -> Iterable[Raw]:
        for process in self._processes:
            yield from self.cluster.list_jobs(f"spec.process={process}{selector}").items


def _summaries(items: Iterable[Raw]) -> dict[str, Data]:
    """Those that the operator has seen, for the others have no number yet."""
    return {
        raw["metadata"]["name"]: summary(WpsJob.from_raw(raw))
        for raw in items
        if (raw.get("status") or {}).get("sequence")
    }
