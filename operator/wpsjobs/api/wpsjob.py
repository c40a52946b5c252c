"""WpsJob as frozen types, parsed once from the API server's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from wpsjobs.api.fields import Fields, Raw
from wpsjobs.api.lifetimes import INHERITED, Lifetimes
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.names import DEFAULT_QUEUE, DEFAULT_WPS_VERSION
from wpsjobs.api.parts import Parts
from wpsjobs.api.phases import FINISHED, LAUNCHED, ClaimState, Phase


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
    lifetimes: Lifetimes = INHERITED

    @classmethod
    def from_fields(cls, fields: Fields) -> WpsJobSpec:
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
    def from_fields(cls, fields: Fields) -> Claim:
        reports = [Fields(raw) for raw in fields.list("reports")]
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
    def from_fields(cls, fields: Fields) -> WpsJobStatus:
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
            attempts=fields.mappings("attempts"),
            history=fields.mappings("history"),
            conditions=fields.mappings("conditions"),
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
        fields = Fields(raw)
        return cls(
            metadata=Metadata.from_raw(raw),
            spec=WpsJobSpec.from_fields(fields.object("spec")),
            status=WpsJobStatus.from_fields(fields.object("status")),
        )
