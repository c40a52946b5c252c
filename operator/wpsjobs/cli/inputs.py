"""The request of ``kubectl wps submit``: from words on the command line to an Execute."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wpsjobs.api.request import MAX_EXECUTE_BYTES, ExecuteRequest, Input, Output, RequestError
from wpsjobs.cli.errors import UsageError

_ATTRIBUTES = {
    "mimeType": "mime_type",
    "encoding": "encoding",
    "schema": "schema",
    "uom": "uom",
    "crs": "crs",
    "asReference": "as_reference",
}
"""Of the key-value encoding of WPS 1.0 (OGC 05-007r7, clause 10.2.2), by the fields here."""


@dataclass(frozen=True)
class Given:
    """One input as typed, and whether its value came from a file."""

    item: Input
    from_file: bool = False


def parse_request(
    inputs: Iterable[str], formats: Iterable[str], outputs: Iterable[str]
) -> tuple[ExecuteRequest, frozenset[str]]:
    """The Execute, and which of its inputs are complex (from a file or by reference).

    Raises UsageError with the word that is wrong.
    """
    attributes = dict(_format(word) for word in formats)
    given = [_input(word) for word in inputs]
    unknown = set(attributes) - {one.item.id for one in given}
    if unknown:
        raise UsageError(
            f"--format is about the input {min(unknown)!r}, which is not given: write "
            f"{min(unknown)}=VALUE, too."
        )
    items = tuple(replace(one.item, **_fields(attributes.get(one.item.id, {}))) for one in given)
    request = ExecuteRequest(inputs=items, outputs=tuple(_output(word) for word in outputs))
    try:
        ExecuteRequest.from_json(request.to_json())
    except RequestError as error:
        if "characters" not in str(error):
            raise UsageError(f"The request cannot be sent: {error}.") from error
    return request, frozenset(one.item.id for one in given if one.from_file or one.item.href)


def check_fits(request: ExecuteRequest) -> None:
    """Raise UsageError where a WpsJob cannot hold the request."""
    if not request.fits():
        size = len(request.to_bytes())
        raise UsageError(
            f"The request has {size} bytes, and a WpsJob may hold {MAX_EXECUTE_BYTES}. Send it "
            "through the service, which stores it in a file: --url https://…/ows; or put the data "
            "where the job pods can fetch them, and name them by KEY=@https://…"
        )


def _input(word: str) -> Given:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(f"{word!r} is no input: write KEY=VALUE, KEY=@FILE or KEY=@URL.")
    if value.startswith("@@"):
        return Given(Input(id=key, data=value[1:]))
    if not value.startswith("@"):
        return Given(Input(id=key, data=value))
    source = value[1:]
    if urlsplit(source).scheme in {"http", "https"}:
        return Given(Input(id=key, href=source))
    content = _read(key, source)
    try:
        return Given(Input(id=key, data=content.decode()), from_file=True)
    except UnicodeDecodeError:
        data = base64.b64encode(content).decode()
        return Given(Input(id=key, data=data, encoding="base64"), from_file=True)


def _read(key: str, source: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(
            f"The input {key!r} cannot be read: {error.strerror}: {source!r}. "
            f"A value that begins with @ is written with two: {key}=@@…"
        ) from error


def _format(word: str) -> tuple[str, Mapping[str, str]]:
    """``KEY=[MIMETYPE][@encoding=…][@schema=…][@uom=…][@crs=…]``."""
    key, equals, rest = word.partition("=")
    mime_type, *pairs = rest.split("@")
    if not equals or not key or not rest:
        raise UsageError(f"--format {word!r}: write KEY=MIMETYPE[@encoding=…][@schema=…][@uom=…].")
    attributes = _attributes(f"--format {word!r}", pairs, forbidden="asReference")
    return key, attributes | ({"mimeType": mime_type} if mime_type else {})


def _output(word: str) -> Output:
    """``OUTPUT[@mimeType=…][@asReference=true]…``, as in ResponseDocument."""
    identifier, *pairs = word.split("@")
    if not identifier:
        raise UsageError(f"--return {word!r}: write OUTPUT[@mimeType=…][@asReference=true].")
    attributes = _attributes(f"--return {word!r}", pairs)
    as_reference = attributes.pop("asReference", None)
    if as_reference not in {None, "true", "false"}:
        raise UsageError(f"--return {word!r}: asReference is true or false.")
    return Output(
        id=identifier,
        as_reference=None if as_reference is None else as_reference == "true",
        **_fields(attributes),
    )


def _attributes(where: str, pairs: Iterable[str], forbidden: str = "") -> dict[str, str]:
    attributes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        known = {one.lower(): one for one in _ATTRIBUTES if one != forbidden}
        if not equals or name.lower() not in known:
            there_are = ", ".join(one for one in _ATTRIBUTES if one != forbidden)
            raise UsageError(f"{where}: there is no attribute {name!r}; there are {there_are}.")
        attributes[known[name.lower()]] = value
    return attributes


def _fields(attributes: Mapping[str, str]) -> dict[str, Any]:
    return {_ATTRIBUTES[name]: value for name, value in attributes.items()}
