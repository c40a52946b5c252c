"""A process in parts: its division, and what one part leaves for the merge step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eoxserver.services.ows.wps.exceptions import NoApplicableCode, OWS10Exception
from eoxserver.services.ows.wps.parameters import InputReference
from eoxserver.services.ows.wps.v10.execute_util import parse_params

from wpsjobs.api.parts import MAX_PARTS
from wpsjobs.eoxserver import processes
from wpsjobs.eoxserver.files import write_atomic
from wpsjobs.eoxserver.requests import WpsRequest

MAX_PART_LENGTH = 1024
"""Characters of one part's text, by the schema."""
MAX_PARTS_BYTES = 256 * 1024
"""Of all texts together: the WpsJob is rewritten at each change of its status."""
MAX_RESULT_BYTES = 16 * 1024 * 1024
"""Of the result of one part as JSON; what is more belongs into a file of the shared directory."""


class ResultError(Exception):
    """The result of a part cannot be stored or read; the message says why."""


def is_parallel(process: Any) -> bool:
    """Whether *process* can be executed in parts."""
    return callable(getattr(process, "execute_part", None)) and callable(
        getattr(process, "partition", None)
    )


def partition(process: Any, request: WpsRequest) -> list[str]:
    """Into which parts *process* divides the request; empty where it does not.

    Inputs by reference are not fetched. Raises an OWS exception: the process's own, or
    NoApplicableCode where what it does or returns is no division.
    """
    if not is_parallel(process):
        return []
    inputs: dict[str, Any] = {}
    for identifier, (name, definition) in parse_params(process.inputs).items():
        raw = request.raw_inputs.get(identifier)
        if isinstance(raw, InputReference):
            inputs[name] = raw
        else:
            inputs |= processes.decode_one(request, identifier, name, definition)
    try:
        found = process.partition(inputs)
    except OWS10Exception:
        raise
    except Exception as error:
        raise NoApplicableCode(
            f"The process cannot be divided into parts: {type(error).__name__}: {error}"
        ) from error
    return _checked(found)


def _checked(found: Any) -> list[str]:
    if isinstance(found, str) or not isinstance(found, Sequence):
        raise NoApplicableCode(
            f"partition() returned no list of texts but a {type(found).__name__}"
        )
    if len(found) > MAX_PARTS:
        raise NoApplicableCode(f"partition() returned {len(found)} parts; {MAX_PARTS} are the most")
    for index, part in enumerate(found):
        if not isinstance(part, str) or len(part) > MAX_PART_LENGTH:
            raise NoApplicableCode(
                f"partition() returned as part {index} no text of at most {MAX_PART_LENGTH} "
                f"characters: {str(part)[:100]!r}"
            )
    size = sum(len(json.dumps(part)) for part in found)
    if size > MAX_PARTS_BYTES:
        raise NoApplicableCode(
            f"partition() returned parts of {size} bytes in all; {MAX_PARTS_BYTES} are the most"
        )
    return list(found)


def store_result(path: Path, part: str, result: Any) -> None:
    """Write what a part returned to *path*. Raises ResultError, and StorageError."""
    _check_json(result, "the result")
    body = json.dumps(result).encode()
    if len(body) > MAX_RESULT_BYTES:
        raise ResultError(
            f"execute_part() returned {len(body)} bytes as JSON; {MAX_RESULT_BYTES} are the most. "
            "Write a file into context.shared_path instead, and return its name."
        )
    head = {"part": part, "sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}
    write_atomic(path, json.dumps(head).encode() + b"\n" + body, sync=True)


def read_result(path: Path, part: str) -> Any:
    """What the part of that text returned. Raises ResultError."""
    try:
        with path.open("rb") as file:
            head = json.loads(file.readline(8 * MAX_PART_LENGTH))
            body = file.read(MAX_RESULT_BYTES + 1)
        whole = len(body) == head["size"] and hashlib.sha256(body).hexdigest() == head["sha256"]
        if not whole or head["part"] != part:
            raise ResultError(f"The result of the part {part!r} is not what the part had stored.")
        return json.loads(body)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(f"The result of the part {part!r} cannot be read: {error}") from error


def _check_json(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ResultError(f"execute_part() returned no JSON: {where} has the key {key!r}")
            _check_json(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_json(item, f"{where}[{index}]")
    elif value is not None and not isinstance(value, str | int | float):
        raise ResultError(
            f"execute_part() returned no JSON: {where} is a {type(value).__name__}. Return texts, "
            "numbers, lists and dictionaries, such as the name of a file in context.shared_path."
        )
