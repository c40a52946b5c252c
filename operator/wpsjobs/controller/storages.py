"""kopf's storages that store nothing, and compute nothing.

kopf copies each object of each event deeply, three times over, to find out what has changed since
it last stored that, though no handler here asks. That was more than half of the operator's time.
"""

from __future__ import annotations

from typing import Any

import kopf


class NoDiffs(kopf.DiffBaseStorage):
    """For handlers that never ask what has changed."""

    def build(self, **_: Any) -> Any:
        """An essence that is always the same."""
        return {}

    def fetch(self, **_: Any) -> Any:
        """Nothing was ever stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""


class NoProgress(kopf.ProgressStorage):
    """For handlers that kopf is not to repeat."""

    def fetch(self, **_: Any) -> Any:
        """Nothing was ever stored."""
        return None

    def store(self, **_: Any) -> None:
        """Store nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing to remove."""

    def touch(self, **_: Any) -> None:
        """Leave the object as it is."""

    def clear(self, *, essence: Any) -> Any:
        """There is nothing of ours in *essence*."""
        return essence
