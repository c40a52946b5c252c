"""WpsJob, WpsQueue and WpsProcess as frozen types, parsed once from the API server's JSON.

The schema in ``crds/`` checks a spec before it is stored, so that a field of a wrong type there is
a WpsJob from before a change of schema; a status can have been edited by hand. Parsing therefore
never raises for a field that is off: it takes the field as absent, and the operator, which looks at
the Kubernetes Jobs anyway, puts it right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from wpsjobs.api.names import DEFAULT_QUEUE, DEFAULT_WPS_VERSION
from wpsjobs.api.parts import Parts
from wpsjobs.api.phases import (
    DEFAULT_RESTART_ON,
    FINISHED,
    LAUNCHED,
    Cause,
    ClaimState,
    Phase,
)
from wpsjobs.api.times import parse_time

Raw = Mapping[str, Any]
"""An object as the API server's JSON has it."""

_E = TypeVar("_E", bound=StrEnum)


class _Fields:
    """The fields of one JSON object; what is absent or of another type reads as None or empty."""

    def __init__(self, raw: object) -> None:
        self._raw: Raw = raw if isinstance(raw, Mapping) else {}

    def object(self, key: str) -> _Fields:
        return _Fields(self._raw.get(key))

    def raw(self, key: str) -> Raw | None:
        value = self._raw.get(key)
        return value if isinstance(value, Mapping) else None

    def list(self, key: str) -> list[Any]:
        value = self._raw.get(key)
        return value if isinstance(value, list) else []

    def text(self, key: str) -> str | None:
        value = self._raw.get(key)
        return value if isinstance(value, str) and value else None

    def integer(self, key: str) -> int | None:
        value = self._raw.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def number(self, key: str) -> float | None:
        value = self._raw.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        try:
            return float(value)
        except OverflowError:
            return None

    def flag(self, key: str) -> bool:
        return self._raw.get(key) is True

    def time(self, key: str) -> datetime | None:
        value = self.text(key)
        try:
            return parse_time(value) if value else None
        except ValueError:
            return None

    def member(self, key: str, members: type[_E]) -> _E | None:
        value = self._raw.get(key)
        return members(value) if value in list(members) else None

    def members(self, key: str, members: type[_E]) -> frozenset[_E] | None:
        if not isinstance(self._raw.get(key), list):
            return None
        return frozenset(members(value) for value in self.list(key) if value in list(members))

    def texts(self, key: str) -> dict[str, str]:
        return {k: v for k, v in (self.raw(key) or {}).items() if isinstance(v, str)}


@dataclass(frozen=True)
class Metadata:
    """What WpsJobs needs of an object's ``metadata``."""

    name: str
    namespace: str
    uid: str
    resource_version: int
    created_at: datetime | None
    deletion_due: datetime | None
    """Where it is being deleted: when its grace period ends."""
    generation: int

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return self.deletion_due is not None

    @property
    def key(self) -> str:
        """``namespace/name``, for logs and messages."""
        return f"{self.namespace}/{self.name}"

    @classmethod
    def from_raw(cls, raw: Raw) -> Metadata:
        """Raises KeyError or ValueError where *raw* is no object of an API server."""
        metadata: Raw = raw["metadata"]
        fields = _Fields(metadata)
        return cls(
            name=metadata["name"],
            namespace=metadata.get("namespace", ""),
            uid=metadata["uid"],
            resource_version=int(metadata["resourceVersion"]),
            created_at=fields.time("creationTimestamp"),
            deletion_due=fields.time("deletionTimestamp"),
            generation=fields.integer("generation") or 0,
        )


@dataclass(frozen=True)
class Lifetimes:
    """Seconds and counts that WpsJob, WpsProcess and WpsQueue may set; None inherits."""

    timeout_seconds: int | None = None
    restart_limit: int | None = None
    ttl_seconds_after_finished: int | None = None

    @classmethod
    def from_fields(cls, fields: _Fields) -> Lifetimes:
        return cls(
            timeout_seconds=fields.integer("timeoutSeconds"),
            restart_limit=fields.integer("restartLimit"),
            ttl_seconds_after_finished=fields.integer("ttlSecondsAfterFinished"),
        )


@dataclass(frozen=True)
class Owner:
    """Who asked for a WpsJob."""

    user: str | None = None
    remote_address: str | None = None

    @property
    def identity(self) -> str | None:
        """By which limits per owner tell owners apart: the user, else the address."""
        return self.user or self.remote_address


@dataclass(frozen=True)
class WpsJobSpec:
    """``spec`` of a WpsJob; the Execute request stays raw (``wpsjobs.api.request`` reads it)."""

    process: str
    id: str | None = None
    version: str = DEFAULT_WPS_VERSION
    queue: str = DEFAULT_QUEUE
    execute: Raw | None = None
    payload_sha256: str | None = None
    payload_size: int | None = None
    submission: str | None = None
    response_url: str | None = None
    accept_before: datetime | None = None
    parts: tuple[str, ...] = ()
    part_parallelism: int | None = None
    owner: Owner = Owner()
    priority: int = 0
    suspend: bool = False
    cancel: bool = False
    retries: int = 0
    lifetimes: Lifetimes = Lifetimes()

    @classmethod
    def from_fields(cls, fields: _Fields) -> WpsJobSpec:
        payload, owner = fields.object("payload"), fields.object("owner")
        return cls(
            process=fields.text("process") or "",
            id=fields.text("id"),
            version=fields.text("version") or DEFAULT_WPS_VERSION,
            queue=fields.text("queue") or DEFAULT_QUEUE,
            execute=fields.raw("execute"),
            payload_sha256=payload.text("sha256"),
            payload_size=payload.integer("size"),
            submission=fields.text("submission"),
            response_url=fields.text("responseUrl"),
            accept_before=fields.time("acceptBefore"),
            parts=tuple(part for part in fields.list("parts") if isinstance(part, str)),
            part_parallelism=fields.integer("partParallelism"),
            owner=Owner(user=owner.text("user"), remote_address=owner.text("remoteAddress")),
            priority=fields.integer("priority") or 0,
            suspend=fields.flag("suspend"),
            cancel=fields.flag("cancel"),
            retries=fields.integer("retries") or 0,
            lifetimes=Lifetimes.from_fields(fields),
        )


@dataclass(frozen=True)
class Progress:
    """``status.progress``: how far the worker says it is."""

    percent: int = 0
    message: str | None = None
    finalising: bool = False
    updated_at: datetime | None = None


@dataclass(frozen=True)
class Report:
    """One of ``status.claim.reports``: what a consumer has said of its attempt."""

    state: ClaimState
    message: str | None = None


@dataclass(frozen=True)
class Claim:
    """``status.claim``: which consumer has taken an attempt, and how it says that it stands."""

    consumer: str
    attempt: int = 0
    state: ClaimState = ClaimState.CLAIMED
    message: str | None = None
    heartbeat: str | None = None
    """As written: what counts is that it changes, for it is the time of another machine."""
    reports: tuple[Report, ...] = ()
    """What it has said since the operator last looked, oldest first."""

    @classmethod
    def from_fields(cls, fields: _Fields) -> Claim:
        reports = [_Fields(raw) for raw in fields.list("reports")]
        states = [(report, report.member("state", ClaimState)) for report in reports]
        return cls(
            consumer=fields.text("consumer") or "",
            attempt=fields.integer("attempt") or 0,
            state=fields.member("state", ClaimState) or ClaimState.CLAIMED,
            message=fields.text("message"),
            heartbeat=fields.text("heartbeat"),
            reports=tuple(Report(state, one.text("message")) for one, state in states if state),
        )


@dataclass(frozen=True)
class WpsJobStatus:
    """``status`` of a WpsJob; lists that only grow stay raw, to be written back as they are."""

    phase: Phase | None = None
    reason: str | None = None
    message: str | None = None
    sequence: int | None = None
    attempt: int = 0
    restarts: int = 0
    retries_seen: int = 0
    job_name: str | None = None
    accepted_at: datetime | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    paused_seconds: float = 0.0
    progress: Progress | None = None
    claim: Claim | None = None
    attempts: tuple[Raw, ...] = ()
    history: tuple[Raw, ...] = ()
    conditions: tuple[Raw, ...] = ()
    parts: Parts | None = None

    @classmethod
    def from_fields(cls, fields: _Fields) -> WpsJobStatus:
        progress, parts = fields.object("progress"), fields.raw("parts")
        return cls(
            phase=fields.member("phase", Phase),
            reason=fields.text("reason"),
            message=fields.text("message"),
            sequence=fields.integer("sequence"),
            attempt=fields.integer("attempt") or 0,
            restarts=fields.integer("restarts") or 0,
            retries_seen=fields.integer("retriesSeen") or 0,
            job_name=fields.text("jobName"),
            accepted_at=fields.time("acceptedAt"),
            scheduled_at=fields.time("scheduledAt"),
            started_at=fields.time("startedAt"),
            finished_at=fields.time("finishedAt"),
            expires_at=fields.time("expiresAt"),
            paused_seconds=fields.number("pausedSeconds") or 0.0,
            progress=Progress(
                percent=progress.integer("percent") or 0,
                message=progress.text("message"),
                finalising=progress.flag("finalising"),
                updated_at=progress.time("updatedAt"),
            )
            if fields.raw("progress") is not None
            else None,
            claim=Claim.from_fields(fields.object("claim"))
            if fields.raw("claim") is not None
            else None,
            attempts=_mappings(fields.list("attempts")),
            history=_mappings(fields.list("history")),
            conditions=_mappings(fields.list("conditions")),
            parts=Parts.from_raw(parts) if parts is not None else None,
        )


@dataclass(frozen=True)
class WpsJob:
    """One asynchronous WPS Execute."""

    metadata: Metadata
    spec: WpsJobSpec
    status: WpsJobStatus

    @property
    def id(self) -> str:
        """The WPS job identifier."""
        return self.spec.id or self.metadata.name

    @property
    def finished(self) -> bool:
        """Whether its phase is final (until ``spec.retries`` is raised)."""
        return self.status.phase in FINISHED

    @property
    def in_parts(self) -> bool:
        """Whether it is a fan-out that has been admitted and whose merge step has no slot yet."""
        return (
            self.status.parts is not None
            and self.status.job_name is None
            and self.status.scheduled_at is not None
            and (self.status.phase in LAUNCHED or self.status.phase is Phase.PAUSED)
        )

    @property
    def parts_done(self) -> bool:
        """Whether nothing but the merge step is left, as in a WpsJob that is no fan-out."""
        parts = self.status.parts
        return not self.spec.parts or (parts is not None and parts.complete)

    @property
    def has_attempt(self) -> bool:
        """Whether an attempt is under way: in Kubernetes Jobs, or by a consumer's claim."""
        status = self.status
        claimed = status.claim is not None and status.scheduled_at is not None
        return not self.finished and (status.job_name is not None or self.in_parts or claimed)

    @property
    def cancelled(self) -> bool:
        """Whether ``spec.cancel`` is to be acted on.

        It is one way, so that a retry of a dismissed WpsJob has to lift it.
        """
        return self.spec.cancel and not any(
            entry.get("phase") == Phase.DISMISSED for entry in self.status.history
        )

    @property
    def sequence(self) -> int:
        """Its place in the order of creation: as stamped, else what a stamp now would say."""
        return self.status.sequence or self.metadata.resource_version

    @classmethod
    def from_raw(cls, raw: Raw) -> WpsJob:
        """Raises KeyError or ValueError where *raw* has no proper ``metadata``."""
        fields = _Fields(raw)
        return cls(
            metadata=Metadata.from_raw(raw),
            spec=WpsJobSpec.from_fields(fields.object("spec")),
            status=WpsJobStatus.from_fields(fields.object("status")),
        )


@dataclass(frozen=True)
class Limits:
    """How many may wait and run at once; None is no limit."""

    max_queued: int | None = None
    parallelism: int | None = None

    @classmethod
    def from_fields(cls, fields: _Fields) -> Limits:
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
    defaults: Lifetimes = Lifetimes()
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
        spec, status = _Fields(raw).object("spec"), _Fields(raw).object("status")
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
            conditions=_mappings(status.list("conditions")),
        )


@dataclass(frozen=True)
class WpsProcess:
    """A process that WpsJobs may execute."""

    metadata: Metadata
    identifier: str
    lifetimes: Lifetimes = Lifetimes()
    restart_on: frozenset[Cause] | None = None
    parallelism: int | None = None
    resources: Raw = field(default_factory=dict)
    env: tuple[Raw, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    queue: str | None = None
    handler: str | None = None
    jobs: int | None = None

    @classmethod
    def from_raw(cls, raw: Raw) -> WpsProcess:
        """Raises KeyError or ValueError where *raw* has no proper ``metadata``."""
        spec, status = _Fields(raw).object("spec"), _Fields(raw).object("status")
        return cls(
            metadata=Metadata.from_raw(raw),
            identifier=spec.text("identifier") or "",
            lifetimes=Lifetimes.from_fields(spec),
            restart_on=spec.members("restartOn", Cause),
            parallelism=spec.integer("parallelism"),
            resources=spec.raw("resources") or {},
            env=_mappings(spec.list("env")),
            node_selector=spec.texts("nodeSelector"),
            queue=spec.text("queue"),
            handler=spec.text("handler"),
            jobs=status.integer("jobs"),
        )


DEFAULT_LIFETIMES = Lifetimes(timeout_seconds=3600, restart_limit=2, ttl_seconds_after_finished=-1)


@dataclass(frozen=True)
class Policy:
    """What holds for one WpsJob once WpsJob, WpsProcess and WpsQueue are put together."""

    timeout_seconds: int
    restart_limit: int
    ttl_seconds_after_finished: int
    restart_on: frozenset[Cause]
    backoff: Backoff

    @classmethod
    def resolve(cls, job: WpsJob, process: WpsProcess | None, queue: WpsQueue | None) -> Policy:
        """The WpsJob's own word goes before the process's, and that before the queue's."""
        levels = [job.spec.lifetimes]
        levels += [process.lifetimes] if process else []
        levels += [queue.defaults] if queue else []
        levels.append(DEFAULT_LIFETIMES)
        restart_on = process.restart_on if process else None
        if restart_on is None and queue:
            restart_on = queue.restart_on
        return cls(
            timeout_seconds=_first(level.timeout_seconds for level in levels),
            restart_limit=_first(level.restart_limit for level in levels),
            ttl_seconds_after_finished=_first(level.ttl_seconds_after_finished for level in levels),
            restart_on=DEFAULT_RESTART_ON if restart_on is None else restart_on,
            backoff=queue.backoff if queue else Backoff(),
        )


_T = TypeVar("_T")


def _or(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def _first(values: Iterable[int | None]) -> int:
    return next(value for value in values if value is not None)


def _mappings(values: Iterable[object]) -> tuple[Raw, ...]:
    return tuple(value for value in values if isinstance(value, Mapping))
