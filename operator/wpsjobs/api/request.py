"""The Execute request in neutral WPS terms, as ``spec.execute`` of a WpsJob holds it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

MAX_EXECUTE_BYTES = 8192
"""Size of ``spec.execute`` as JSON; what is larger becomes a payload file."""

MAX_ITEMS = 256
"""Inputs or outputs in one request, as in the resource's schema."""

_KEYS = {
    "as_url": "asUrl",
    "as_reference": "asReference",
    "mime_type": "mimeType",
}
_MAX_LENGTHS = {
    "id": 256,
    "title": 1024,
    "abstract": 4096,
    "mimeType": 256,
    "encoding": 256,
    "schema": 2048,
    "uom": 256,
    "crs": 256,
}
_BBOX_LENGTHS = frozenset({2, 4, 6})


class RequestError(ValueError):
    """The JSON is no Execute request; the message says where and what would be right."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input: exactly one of *data*, *href* and *bbox*, and how to read it."""

    id: str
    data: str | None = None
    """The value as text, not parsed."""
    href: str | None = None
    """Where to fetch the value (HTTP GET)."""
    bbox: tuple[float, ...] | None = None
    """Lower corner, then upper corner, in the order of the axes of *crs*."""
    as_url: bool = False
    """The value came in a URL and may be in the URL-safe form of base64."""
    title: str | None = None
    abstract: str | None = None
    mime_type: str | None = None
    encoding: str | None = None
    schema: str | None = None
    uom: str | None = None
    crs: str | None = None

    def to_json(self) -> dict[str, Any]:
        return _to_json(self)


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output asked for, and its form."""

    id: str
    title: str | None = None
    abstract: str | None = None
    mime_type: str | None = None
    encoding: str | None = None
    schema: str | None = None
    uom: str | None = None
    crs: str | None = None
    as_reference: bool | None = None
    """By reference or within the response; None leaves it to the process."""

    def to_json(self) -> dict[str, Any]:
        return _to_json(self)


@dataclass(frozen=True, kw_only=True)
class ExecuteRequest:
    """The inputs and the form of the response of one Execute."""

    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    lineage: bool = False
    """Repeat the inputs and output definitions in the response."""
    raw: bool = False
    """The response is the output itself and no document."""

    def to_json(self) -> dict[str, Any]:
        """As ``spec.execute``; what has its default is left out."""
        execute: dict[str, Any] = {}
        if self.inputs:
            execute["inputs"] = [item.to_json() for item in self.inputs]
        if self.outputs:
            execute["outputs"] = [item.to_json() for item in self.outputs]
        if self.lineage:
            execute["lineage"] = True
        if self.raw:
            execute["raw"] = True
        return execute

    def to_bytes(self) -> bytes:
        """Canonical JSON in UTF-8: equal requests give equal bytes."""
        return json.dumps(
            self.to_json(),
            ensure_ascii=False,
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        ).encode()

    def fits(self) -> bool:
        """Whether ``spec.execute`` may hold it: its size, lengths and characters."""
        try:
            encoded = self.to_bytes()
            return len(encoded) <= MAX_EXECUTE_BYTES and self.from_json(self.to_json()) == self
        except (RequestError, ValueError):
            return False

    @classmethod
    def from_json(cls, execute: object) -> ExecuteRequest:
        """Parse ``spec.execute``.

        Raises RequestError where *execute* is not of that form.
        """
        mapping = _mapping(execute, "spec.execute")
        _check_keys(mapping, {"inputs", "outputs", "lineage", "raw"}, "spec.execute")
        return cls(
            inputs=tuple(
                _parse_input(item, f"inputs[{index}]")
                for index, item in enumerate(_unique_list(mapping, "inputs"))
            ),
            outputs=tuple(
                _parse_output(item, f"outputs[{index}]")
                for index, item in enumerate(_unique_list(mapping, "outputs"))
            ),
            lineage=_flag(mapping, "lineage", "spec.execute") or False,
            raw=_flag(mapping, "raw", "spec.execute") or False,
        )


def _to_json(item: Input | Output) -> dict[str, Any]:
    values = ((_KEYS.get(f.name, f.name), getattr(item, f.name), f.default) for f in fields(item))
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value, default in values
        if value != default or (value is False and default is None)
    }


def _parse_input(raw: object, where: str) -> Input:
    mapping = _mapping(raw, where)
    texts = (
        "id",
        "data",
        "href",
        "title",
        "abstract",
        "mimeType",
        "encoding",
        "schema",
        "uom",
        "crs",
    )
    _check_keys(mapping, {*texts, "bbox", "asUrl"}, where)
    given = [key for key in ("data", "href", "bbox") if mapping.get(key) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        raise RequestError(f"{where} must have exactly one of data, href and bbox; it has {found}")
    return Input(
        id=_identifier(mapping, where),
        data=_text(mapping, "data", where),
        href=_text(mapping, "href", where),
        bbox=_bbox(mapping, where),
        as_url=_flag(mapping, "asUrl", where) or False,
        title=_text(mapping, "title", where),
        abstract=_text(mapping, "abstract", where),
        mime_type=_text(mapping, "mimeType", where),
        encoding=_text(mapping, "encoding", where),
        schema=_text(mapping, "schema", where),
        uom=_text(mapping, "uom", where),
        crs=_text(mapping, "crs", where),
    )


def _parse_output(raw: object, where: str) -> Output:
    mapping = _mapping(raw, where)
    _check_keys(mapping, {*_MAX_LENGTHS, "asReference"}, where)
    return Output(
        id=_identifier(mapping, where),
        title=_text(mapping, "title", where),
        abstract=_text(mapping, "abstract", where),
        mime_type=_text(mapping, "mimeType", where),
        encoding=_text(mapping, "encoding", where),
        schema=_text(mapping, "schema", where),
        uom=_text(mapping, "uom", where),
        crs=_text(mapping, "crs", where),
        as_reference=_flag(mapping, "asReference", where),
    )


def _mapping(raw: object, where: str) -> Mapping[str, object]:
    if not isinstance(raw, Mapping):
        raise RequestError(f"{where} must be an object, not {_type_name(raw)}")
    return raw


def _check_keys(mapping: Mapping[str, object], allowed: set[str], where: str) -> None:
    unknown = sorted(set(mapping) - allowed)
    if unknown:
        raise RequestError(
            f"{where} has the unknown field {unknown[0]!r}; there are {', '.join(sorted(allowed))}"
        )


def _unique_list(mapping: Mapping[str, object], key: str) -> list[object]:
    """The list under *key*, whose items have different ids (WPS 1.0 has one value an id here)."""
    items = mapping.get(key)
    if items is None:
        return []
    if not isinstance(items, list):
        raise RequestError(f"{key} must be a list, not {_type_name(items)}")
    if len(items) > MAX_ITEMS:
        raise RequestError(f"{key} has {len(items)} items; there may be {MAX_ITEMS}")
    seen: set[object] = set()
    for item in items:
        identifier = item.get("id") if isinstance(item, Mapping) else None
        if isinstance(identifier, str) and identifier in seen:
            raise RequestError(f"{key} has the id {identifier!r} twice")
        seen.add(identifier if isinstance(identifier, str) else None)
    return items


def _identifier(mapping: Mapping[str, object], where: str) -> str:
    identifier = _text(mapping, "id", where)
    if not identifier:
        raise RequestError(f"{where} must have an id")
    return identifier


def _text(mapping: Mapping[str, object], key: str, where: str) -> str | None:
    value = mapping.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RequestError(
            f"{where}.{key} must be a string, not {_type_name(value)}; write it in quotes"
        )
    # Lengths count in characters (code points), as the API server counts them.
    limit = _MAX_LENGTHS.get(key, MAX_EXECUTE_BYTES)
    if len(value) > limit:
        raise RequestError(f"{where}.{key} has more than {limit} characters")
    return value


def _flag(mapping: Mapping[str, object], key: str, where: str) -> bool | None:
    value = mapping.get(key)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{where}.{key} must be true or false, not {_type_name(value)}")
    return value


def _bbox(mapping: Mapping[str, object], where: str) -> tuple[float, ...] | None:
    raw = mapping.get("bbox")
    if raw is None:
        return None
    if not isinstance(raw, list) or len(raw) not in _BBOX_LENGTHS:
        raise RequestError(
            f"{where}.bbox must be a list of 2, 4 or 6 numbers: lower, then upper corner"
        )
    if not all(
        isinstance(v, int | float) and not isinstance(v, bool) and _is_finite(v) for v in raw
    ):
        raise RequestError(f"{where}.bbox must hold finite numbers alone")
    return tuple(float(value) for value in raw)


def _is_finite(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


def _type_name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"
