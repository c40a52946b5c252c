"""WpsProcess as a frozen type, parsed once from the API server's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wpsjobs.api.fields import Fields, Raw
from wpsjobs.api.lifetimes import INHERITED, Lifetimes
from wpsjobs.api.metadata import Metadata
from wpsjobs.api.phases import Cause


@dataclass(frozen=True)
class WpsProcess:
    """A process that WpsJobs may execute."""

    metadata: Metadata
    identifier: str
    lifetimes: Lifetimes = INHERITED
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
        spec, status = Fields(raw).object("spec"), Fields(raw).object("status")
        return cls(
            metadata=Metadata.from_raw(raw),
            identifier=spec.text("identifier") or "",
            lifetimes=Lifetimes.from_fields(spec),
            restart_on=spec.members("restartOn", Cause),
            parallelism=spec.integer("parallelism"),
            resources=spec.raw("resources") or {},
            env=spec.mappings("env"),
            node_selector=spec.texts("nodeSelector"),
            queue=spec.text("queue"),
            handler=spec.text("handler"),
            jobs=status.integer("jobs"),
        )
