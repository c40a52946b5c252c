"""The fields of the API server's JSON, read with care.

The schema in ``crds/`` checks a spec before it is stored, so that a field of a wrong type there is
a WpsJob from before a change of schema; a status can have been edited by hand. Parsing therefore
never raises for a field that is off: it takes the field as absent, and the operator, which looks at
the Kubernetes Jobs anyway, puts it right.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from wpsjobs.api.times import parse_time

Raw = Mapping[str, Any]
"""An object as the API server's JSON has it."""

_E = TypeVar("_E", bound=StrEnum)


class Fields:
    """The fields of one JSON object; what is absent or of another type reads as None or empty."""

    def __init__(self, raw: object) -> None:
        self._raw: Raw = raw if isinstance(raw, Mapping) else {}

    def object(self, key: str) -> Fields:
        return Fields(self._raw.get(key))

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

    def mappings(self, key: str) -> tuple[Raw, ...]:
        return tuple(value for value in self.list(key) if isinstance(value, Mapping))
