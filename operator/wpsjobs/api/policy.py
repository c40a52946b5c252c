"""What holds for one WpsJob, by its own word, its process's and its queue's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wpsjobs.api.lifetimes import DEFAULT_LIFETIMES
from wpsjobs.api.phases import DEFAULT_RESTART_ON, Cause
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsprocess import WpsProcess
from wpsjobs.api.wpsqueue import Backoff, WpsQueue


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


def _first(values: Iterable[int | None]) -> int:
    return next(value for value in values if value is not None)
