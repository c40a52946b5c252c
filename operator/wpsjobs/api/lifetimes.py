"""Time-out, restarts and retention, which three kinds of resources may set."""

from __future__ import annotations

from dataclasses import dataclass

from wpsjobs.api.fields import Fields


@dataclass(frozen=True)
class Lifetimes:
    """Seconds and counts that WpsJob, WpsProcess and WpsQueue may set; None inherits."""

    timeout_seconds: int | None = None
    restart_limit: int | None = None
    ttl_seconds_after_finished: int | None = None

    @classmethod
    def from_fields(cls, fields: Fields) -> Lifetimes:
        return cls(
            timeout_seconds=fields.integer("timeoutSeconds"),
            restart_limit=fields.integer("restartLimit"),
            ttl_seconds_after_finished=fields.integer("ttlSecondsAfterFinished"),
        )


DEFAULT_LIFETIMES = Lifetimes(timeout_seconds=3600, restart_limit=2, ttl_seconds_after_finished=-1)
INHERITED = Lifetimes()
