"""The tasks of this program: their WpsJobs and their files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from wpsjobs.api.names import ANNOTATION_TASK, GROUP, VERSION
from wpsjobs.api.phases import FINISHED, LAUNCHED, Phase, Reason
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver.client import Cluster, NotFoundError, Raw
from wpsjobs.eoxserver.storage import Storage
from wpsjobs.eoxserver.verdicts import Verdicts
from wpsjobs.tracker import settings
from wpsjobs.tracker.claims_queue import ClaimQueue
from wpsjobs.tracker.errors import TaskNotFound
from wpsjobs.tracker.journal import Journal
from wpsjobs.tracker.names import task_name
from wpsjobs.tracker.status import Status, status_of

MAX_KNOWN = 4096
"""Names of tasks that are remembered by their numbers; the rest is asked for."""
SEE_SECONDS = 5.0
"""For as long, a caller waits until the operator has seen what it has written."""
_LOOK = 0.01
_REFUSED = frozenset({Reason.UNKNOWN_PROCESS, Reason.UNKNOWN_QUEUE, Reason.BAD_REQUEST})


@dataclass(frozen=True)
class Task:
    """A task as it was seen."""

    raw: Raw

    @cached_property
    def job(self) -> WpsJob:
        """Its WpsJob."""
        return WpsJob.from_raw(self.raw)

    @property
    def id(self) -> int:
        """Its number: unique, and never another task's."""
        return self.job.sequence

    @property
    def type(self) -> str:
        """Identifier of its type."""
        return self.job.spec.process

    @property
    def identifier(self) -> str:
        """Its identifier among those of its type."""
        return str(self.raw["metadata"]["annotations"][ANNOTATION_TASK])

    @property
    def name(self) -> str:
        """``metadata.name`` of its WpsJob."""
        return self.job.metadata.name

    @classmethod
    def of(cls, raw: Raw) -> Task | None:
        """The task that the WpsJob *raw* is; None for one of another kind, and a refused one."""
        if ANNOTATION_TASK not in (raw["metadata"].get("annotations") or {}):
            return None
        task = cls(raw)
        status = task.job.status
        refused = status.phase is Phase.REJECTED or (
            status.accepted_at is None and status.reason in _REFUSED
        )
        return None if refused else task


class Store:
    """Reads and changes tasks. Safe for threads, and for processes that fork."""

    def __init__(self, loaded: settings.Settings) -> None:
        self.settings = loaded
        self.cluster = Cluster(loaded.namespace, loaded.context)
        self.storage = Storage(loaded.path_temp, loaded.path_perm, loaded.path_task)
        self.verdicts = Verdicts(self.cluster)
        self.claims = ClaimQueue(self.cluster, loaded.queue)
        self.types: dict[str, str] = {}
        """Identifiers of task types that have been seen, and the names of their WpsProcesses."""
        self.claimed: dict[int, Raw] = {}
        """WpsJobs that this program has claimed, by their tasks' numbers, as they were then."""
        self._names: dict[int, str] = {}

    def close(self) -> None:
        """End what listens and close connections; the next use opens others."""
        self.claims.close()
        self.verdicts.close()
        self.cluster.close()

    def path(self, plural: str, name: str | None = None) -> str:
        """Path of a resource, or of all of its kind, for the client's raw requests."""
        path = f"/apis/{GROUP}/{VERSION}/namespaces/{quote(self.settings.namespace, safe='')}"
        return f"{path}/{plural}" + (f"/{quote(name, safe='')}" if name is not None else "")

    # -- tasks -----------------------------------------------------------------------------------

    def find(self, type: str, identifier: str) -> Task:
        """The task of that type and identifier. Raises TaskNotFound."""
        task = self._get(task_name(type, identifier))
        if task is None:
            raise TaskNotFound(f"There is no task {identifier!r} of the type {type!r}.")
        return task

    def mine(self, task_id: int) -> Task | None:
        """The task as this program has claimed it and last reported of it, or None."""
        raw = self.claimed.get(int(task_id))
        return Task(raw) if raw is not None else None

    def task(self, task_id: int) -> Task:
        """The task of that number. Raises TaskNotFound."""
        number = int(task_id)
        name = self._names.get(number)
        task = self._get(name) if name is not None else self._look_up(number)
        if task is None or task.id != number:
            self._names.pop(number, None)
            raise TaskNotFound(f"There is no task of the number {task_id}.")
        return task

    def _get(self, name: str) -> Task | None:
        try:
            task = Task.of(self.cluster.get_job(name))
        except NotFoundError:
            return None
        return self.remember(task) if task is not None else None

    def _look_up(self, number: int) -> Task | None:
        for raw in self.cluster.list_jobs(f"status.sequence={number}").items:
            task = Task.of(raw)
            if task is not None:
                return self.remember(task)
        return None

    def hold(self, task: Task) -> None:
        """Keep the claim of *task* that this program has; even one that is lost, to know it by."""
        self.claimed.pop(task.id, None)
        while len(self.claimed) >= MAX_KNOWN:
            self.claimed.pop(next(iter(self.claimed)), None)
        self.claimed[task.id] = task.raw

    def remember(self, task: Task) -> Task:
        """Keep the name of *task*, and return it."""
        if task.job.status.sequence is not None:
            while len(self._names) >= MAX_KNOWN:
                self._names.pop(next(iter(self._names)), None)
            self._names[task.id] = task.name
        return task

    def select(self, selector: str) -> list[Task]:
        """The tasks that a field selector selects."""
        found = (Task.of(raw) for raw in self.cluster.list_jobs(selector).items)
        return [task for task in found if task is not None]

    def unfinished(self) -> list[Task]:
        """The tasks of the queue that have not come to their end."""
        ends = ",".join(f"status.phase!={phase}" for phase in sorted(FINISHED))
        return self.select(f"spec.queue={self.settings.queue},{ends}")

    def status(self, task: Task) -> Status:
        """What *task* stands at."""
        label = None
        if task.job.status.phase in LAUNCHED and task.job.status.claim is None:
            label = self.journal(task).label(task.job.status.attempt)
        return status_of(task.job, label)

    def journal(self, task: Task) -> Journal:
        """What callers have said of *task*."""
        return Journal(self.storage.task_dir(task.job.id))

    def wait(self, task: Task, seen: Callable[[Task], bool]) -> Task | None:
        """*task* once *seen* is true of it, or after ``SEE_SECONDS``; None where it is gone."""
        deadline, pause = time.monotonic() + SEE_SECONDS, _LOOK
        while True:
            now = self._get(task.name)
            if now is None or now.job.metadata.uid != task.job.metadata.uid:
                return None
            if seen(now) or time.monotonic() > deadline:
                return now
            time.sleep(pause)
            pause = min(0.25, 1.5 * pause)
