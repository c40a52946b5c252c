"""WpsQueue as a frozen type, parsed once from the API server's JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from wpsjobs.api.fields import Fields, Raw
from wpsjobs.api.lifetimes import INHERITED, Lifetimes
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.phases import Cause


@dataclass(frozen=True)
class Limits:
    """How many may wait and run at once; None is no limit."""

    max_queued: int | None = None
    parallelism: int | None = None

    @classmethod
    def from_fields(cls, fields: Fields) -> Limits:
        return cls(fields.integer("maxQueued"), fields.integer("parallelism"))


@dataclass(frozen=True)
class Backoff:
    """The pause in seconds before a relaunch."""

    initial_seconds: float = 2.0
    factor: float = 2.0
    max_seconds: float = 60.0

    def seconds(self, restarts: int) -> float:
        """The pause before relaunch number *restarts* (from 1)."""
        try:
            grown = self.initial_seconds * self.factor ** max(0, restarts - 1)
        except OverflowError:
            return self.max_seconds
        return min(self.max_seconds, grown)


class Executor(StrEnum):
    """Who runs the WpsJobs of a queue."""

    JOBS = "Jobs"
    CONSUMERS = "Consumers"


@dataclass(frozen=True)
class WpsQueue:
    """A queue with its limits and the template of its job pods."""

    metadata: Metadata
    max_queued: int = 256
    parallelism: int = 4
    per_process: Limits = Limits()
    per_owner: Limits = Limits()
    suspend: bool = False
    defaults: Lifetimes = INHERITED
    restart_on: frozenset[Cause] | None = None
    backoff: Backoff = Backoff()
    start_deadline_seconds: int = 300
    keep_pods_seconds: int = 600
    keep_logs: bool = False
    executor: Executor = Executor.JOBS
    template: Raw = field(default_factory=dict)
    queued: int | None = None
    running: int | None = None
    paused: int | None = None
    conditions: tuple[Raw, ...] = ()

    @classmethod
    def from_raw(cls, raw: Raw) -> WpsQueue:
        """Raises KeyError or ValueError where *raw* has no proper ``metadata``."""
        spec, status = Fields(raw).object("spec"), Fields(raw).object("status")
        backoff = spec.object("backoff")
        return cls(
            metadata=Metadata.from_raw(raw),
            max_queued=_or(spec.integer("maxQueued"), 256),
            parallelism=_or(spec.integer("parallelism"), 4),
            per_process=Limits.from_fields(spec.object("perProcess")),
            per_owner=Limits.from_fields(spec.object("perOwner")),
            suspend=spec.flag("suspend"),
            defaults=Lifetimes.from_fields(spec.object("defaults")),
            restart_on=spec.members("restartOn", Cause),
            backoff=Backoff(
                initial_seconds=_or(backoff.number("initialSeconds"), 2.0),
                factor=_or(backoff.number("factor"), 2.0),
                max_seconds=_or(backoff.number("maxSeconds"), 60.0),
            ),
            start_deadline_seconds=_or(spec.integer("startDeadlineSeconds"), 300),
            keep_pods_seconds=_or(spec.integer("keepPodsSeconds"), 600),
            keep_logs=spec.flag("keepLogs"),
            executor=spec.member("executor", Executor) or Executor.JOBS,
            template=spec.raw("template") or {},
            queued=status.integer("queued"),
            running=status.integer("running"),
            paused=status.integer("paused"),
            conditions=status.mappings("conditions"),
        )


_T = TypeVar("_T")


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value
