"""Processes that tell the tests what was done with them."""

# ruff: noqa: ARG002 (the signatures are those of the interface)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from eoxserver.services.ows.wps.exceptions import InvalidInputValueError
from eoxserver.services.ows.wps.parameters import (
    BoundingBoxData,
    ComplexData,
    FormatJSON,
    FormatText,
    FormatXML,
    LiteralData,
    RequestParameter,
)

from tests.contract.instance import work_directory


def calls() -> list[list[Any]]:
    """What was called on ``Recorder``, in order, in whatever process."""
    path = work_directory() / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def names() -> list[str]:
    return [call[0] for call in calls()]


def record(name: str, *details: Any) -> None:
    with (work_directory() / "calls.jsonl").open("a") as file:
        file.write(json.dumps([name, *details]) + "\n")


class Recorder:
    """Has every callback and records each call; its inputs say what goes wrong."""

    identifier = "Recorder"
    title = "Recorder"
    synchronous = False
    asynchronous = True
    inputs = {  # noqa: RUF012 (the dictionary style, which lineage has to cope with)
        "raise_in": LiteralData("raise_in", str, optional=True),
        "error": LiteralData("error", str, optional=True),
        "user": RequestParameter(lambda _request: {"name": "Ada", "tags": {1, 2}}),
    }
    outputs = {"text": LiteralData("text", str)}  # noqa: RUF012

    def initialize(self, context: Any, raw_inputs: Any, resp_form: Any, extra_parts: Any) -> None:
        record("initialize", context.identifier, sorted(raw_inputs), sorted(extra_parts))
        raw = raw_inputs.get("raise_in")
        if raw is not None and raw.data == "initialize":
            raise InvalidInputValueError("raise_in", "as it was asked to")

    def on_accepted(self, context: Any) -> None:
        record("on_accepted", context.identifier, context.status_location)
        raise RuntimeError("swallowed")

    def on_started(self, context: Any, progress: Any, message: Any) -> None:
        record("on_started", progress)

    def on_progress_update(self, context: Any, progress: Any, message: Any) -> None:
        record("on_progress_update", progress, message)

    def on_paused(self, context: Any, progress: Any) -> None:
        record("on_paused", progress)

    def on_succeeded(self, context: Any, outputs: Any) -> None:
        record("on_succeeded", sorted(outputs))

    def on_failed(self, context: Any, exception: Any) -> None:
        record("on_failed", str(exception), getattr(exception, "locator", None))

    def discard(self, context: Any) -> None:
        record("discard", context.identifier)

    def execute(self, context: Any, user: Any, raise_in: Any, error: Any, **_: Any) -> str:
        record("execute", str(Path.cwd()) == context.workspace_path, sorted(user["tags"]))
        context.logger.info("at work")
        Path("made.txt").write_text("published")
        context.update_progress(50, "half way, hälfte")
        context.publish("made.txt")
        if error == "client":
            raise InvalidInputValueError("error", "not this one")
        if error:
            raise LookupError(error)
        return f"{user['name']}"


class Inputs:
    """Takes inputs of every kind and gives them back as JSON."""

    identifier = "Inputs"
    title = "Inputs"
    synchronous = True
    asynchronous = True
    inputs = (
        ("literal", LiteralData("literal", float, optional=True, uoms=(("m", 1.0), ("km", 1e3)))),
        ("required", LiteralData("required", int)),
        ("bbox", BoundingBoxData("bbox", optional=True)),
        ("xml", ComplexData("xml", FormatXML(), optional=True)),
        ("json", ComplexData("json", FormatJSON(), optional=True)),
        ("text", ComplexData("text", FormatText(), optional=True)),
    )
    outputs = (("result", ComplexData("result", FormatJSON())),)

    def execute(self, **inputs: Any) -> dict[str, Any]:
        described = {}
        for name in ("literal", "required", "bbox"):
            described[name] = inputs[name]
        for name in ("xml", "json", "text"):
            value = inputs[name]
            described[name] = None if value is None else _describe(value.data)
        return {"result": described}


def _raising(name: str) -> Any:
    """A callback of that name."""

    def callback(_self: Any, _context: Any, *_details: Any) -> None:
        record(name)
        raise RuntimeError(f"{name} is not in the mood")

    return callback


class Quarrelsome:
    """Each of its callbacks raises; it tells what it is called with."""

    identifier = "Quarrelsome"
    title = "Quarrelsome"
    synchronous = False
    asynchronous = True
    inputs = (("fail", LiteralData("fail", bool, default=False)),)
    outputs = (("arguments", ComplexData("arguments", FormatJSON())),)

    def execute(self, context: Any, fail: bool, **others: Any) -> dict[str, Any]:
        context.update_progress(10, "quarrelling")
        if fail:
            raise LookupError("as it was asked to")
        return {"arguments": {name: value["mime_type"] for name, value in others.items()}}

    on_accepted = _raising("on_accepted")
    on_started = _raising("on_started")
    on_progress_update = _raising("on_progress_update")
    on_paused = _raising("on_paused")
    on_succeeded = _raising("on_succeeded")
    on_failed = _raising("on_failed")
    discard = _raising("discard")


class Forwarder:
    """Takes a reference as it is, and fetches nothing."""

    identifier = "Forwarder"
    title = "Forwarder"
    synchronous = False
    asynchronous = True
    inputs = (("far", ComplexData("far", FormatText(), resolve_input_references=False)),)
    outputs = (("href", LiteralData("href", str)),)

    def execute(self, far: Any, **_: Any) -> str:
        return str(far.href)


class Secretive:
    """Fails with a password among its local variables."""

    identifier = "Secretive"
    title = "Secretive"
    synchronous = False
    asynchronous = True
    inputs = (
        ("password", LiteralData("password", str)),
        ("when", LiteralData("when", str, default="execute")),
    )
    outputs = (("text", LiteralData("text", str)),)

    def __init__(self) -> None:
        self._refuses = False

    def initialize(self, context: Any, raw_inputs: Any, resp_form: Any, extra_parts: Any) -> None:
        self._refuses = "when" in raw_inputs

    def on_accepted(self, context: Any) -> None:
        if self._refuses:
            self.log_in("open-sesame-" + "4711")

    def execute(self, context: Any, password: str, **_: Any) -> str:
        return self.log_in(password)

    def log_in(self, password: str) -> str:
        credentials = {"user": "ada", "password": password}
        raise LookupError(f"{len(credentials)} credentials are not enough")


def _describe(data: Any) -> Any:
    return data if isinstance(data, str | dict | list) else data.tag
