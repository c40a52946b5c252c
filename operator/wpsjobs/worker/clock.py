"""The time that an attempt has run for, without the time it was frozen."""

from __future__ import annotations


class RunClock:
    """Counts seconds of a monotonic clock, which is passed in, while not frozen."""

    def __init__(self, now: float) -> None:
        self._started = now
        self._frozen_since: float | None = None
        self._frozen_total = 0.0

    @property
    def frozen(self) -> bool:
        return self._frozen_since is not None

    def freeze(self, now: float) -> None:
        if self._frozen_since is None:
            self._frozen_since = now

    def thaw(self, now: float) -> None:
        if self._frozen_since is not None:
            self._frozen_total += now - self._frozen_since
            self._frozen_since = None

    def ran(self, now: float) -> float:
        """Seconds that the attempt has run for."""
        current = self._frozen_since if self._frozen_since is not None else now
        return current - self._started - self._frozen_total
