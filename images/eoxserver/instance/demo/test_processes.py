"""Processes for tests of the service itself; only with ``EOXS_TEST_PROCESSES=true``."""

import hashlib
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eoxserver.services.ows.wps.exceptions import InvalidInputValueError
from eoxserver.services.ows.wps.parameters import (
    AllowedRange,
    ComplexData,
    FormatText,
    LiteralData,
    RequestParameter,
)

from wpsjobs.eoxserver import config
from wpsjobs.pipeline import towns
from wpsjobs.pipeline.plans import Plan


class Echo:
    """Returns what it is given."""

    identifier = "Echo"
    title = "Echo"
    synchronous = True
    asynchronous = True
    inputs = (("text", LiteralData("text", str)),)
    outputs = (("text", LiteralData("text", str)),)

    def execute(self, text: str, **kwargs: Any) -> str:
        return text


class Sleep:
    """Sleeps and reports progress each second."""

    identifier = "Sleep"
    title = "Sleep"
    synchronous = False
    asynchronous = True
    inputs = (
        (
            "seconds",
            LiteralData(
                "seconds",
                float,
                default=5.0,
                allowed_values=AllowedRange(0.0, 86400.0, dtype=float),
            ),
        ),
    )
    outputs = (("seconds", LiteralData("seconds", float)),)

    def execute(self, context: Any, seconds: float, **kwargs: Any) -> float:
        slept = 0.0
        while slept < seconds:
            context.update_progress(100 * slept / seconds, f"slept for {slept:.0f} s")
            step = min(1.0, seconds - slept)
            time.sleep(step)
            slept += step
        return slept


class Fail:
    """Raises."""

    identifier = "Fail"
    title = "Fail"
    synchronous = True
    asynchronous = True
    inputs = (("message", LiteralData("message", str, default="This process always fails.")),)
    outputs = (("nothing", LiteralData("nothing", str)),)

    def execute(self, message: str, **kwargs: Any) -> str:
        raise RuntimeError(message)


class Crash:
    """Kills itself with SIGKILL."""

    identifier = "Crash"
    title = "Crash"
    synchronous = False
    asynchronous = True
    inputs = ()
    outputs = (("nothing", LiteralData("nothing", str)),)

    def execute(self, context: Any, **kwargs: Any) -> str:
        context.update_progress(50, "about to crash")
        os.kill(os.getpid(), signal.SIGKILL)
        return "still alive"


class Tiles:
    """Sleeps in parts, and fails in them as it is told to."""

    identifier = "Tiles"
    title = "Tiles"
    synchronous = False
    asynchronous = True
    inputs = (
        ("tiles", LiteralData("tiles", int, default=4)),
        ("seconds", LiteralData("seconds", float, default=1.0)),
        # index of a part, a colon, and how often it crashes; or "merge", a colon, and so on
        ("crash", LiteralData("crash", str, optional=True)),
        # index of a part that raises; with "!" before it, for the client's own fault
        ("fail", LiteralData("fail", str, optional=True)),
        # seconds that the merge step takes
        ("pause", LiteralData("pause", float, default=0.0)),
    )
    outputs = (("names", LiteralData("names", str)),)

    def partition(self, inputs: dict[str, Any]) -> list[str]:
        if inputs["tiles"] < 0:
            raise InvalidInputValueError("tiles", "there cannot be less than none")
        return [f"tile {number}" for number in range(inputs["tiles"])]

    def execute_part(
        self,
        part: str,
        context: Any,
        seconds: float,
        crash: str | None,
        fail: str | None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        self.crash(context, crash, str(context.part_index))
        if fail == f"!{context.part_index}":
            raise InvalidInputValueError("fail", "the client asked for it")
        if fail == str(context.part_index):
            raise LookupError(f"no height known for {part}")
        time.sleep(seconds)
        name = f"{context.part_index}.txt"
        Path(context.shared_path, name).write_text(part)
        return {"file": name, "empty": not list(Path().iterdir())}

    def execute(
        self,
        context: Any,
        parts: list[dict[str, Any]],
        crash: str | None,
        pause: float,
        **kwargs: Any,
    ) -> str:
        self.crash(context, crash, "merge")
        context.update_progress(50, "half of the tiles are together")
        time.sleep(pause)
        if not all(part["empty"] for part in parts):
            raise RuntimeError("a working directory was not a part's own")
        return ", ".join(Path(context.shared_path, part["file"]).read_text() for part in parts)

    def crash(self, context: Any, crash: str | None, what: str) -> None:
        which, _, times = (crash or "").partition(":")
        tried = Path(context.shared_path, f"crashes-{what}")
        if which == what and (not tried.exists() or tried.stat().st_size < int(times)):
            with tried.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)


SLOW_TOWN = 90001


def plan(town_id: int | None, tile_ids: Sequence[int]) -> Plan:
    """For ``WPSJOBS_PIPELINE_PLAN``: a town whose mosaic takes long, and those of the models."""
    if town_id == SLOW_TOWN:
        return Plan("Tiles", {"tiles": "6", "seconds": "1", "pause": "60"})
    return towns.plan(town_id, tile_ids)


class Hog:
    """Fills memory, a megabyte at a time."""

    identifier = "Hog"
    title = "Hog"
    synchronous = False
    asynchronous = True
    inputs = (
        (
            "megabytes",
            LiteralData(
                "megabytes",
                int,
                default=64,
                allowed_values=AllowedRange(0, 1 << 20, dtype=int),
            ),
        ),
    )
    outputs = (("megabytes", LiteralData("megabytes", int)),)

    def execute(self, context: Any, megabytes: int, **kwargs: Any) -> int:
        held = []
        for number in range(megabytes):
            held.append(os.urandom(4096) * 256)
            context.update_progress(100 * number / megabytes, f"{number} MB")
        return len(held)


class Digest:
    """Returns the length and the SHA-256 of a text, however it comes: in the request, as a part
    of it, or by reference."""

    identifier = "Digest"
    title = "Digest"
    synchronous = True
    asynchronous = True
    inputs = (("text", ComplexData("text", FormatText())),)
    outputs = (
        ("length", LiteralData("length", int)),
        ("sha256", LiteralData("sha256", str)),
    )

    def execute(self, text: Any, **kwargs: Any) -> dict[str, Any]:
        content = text.data.encode()
        return {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}


class Recorder:
    """Writes down each callback with its arguments, in whatever pod it is called."""

    identifier = "Recorder"
    title = "Recorder"
    synchronous = False
    asynchronous = True
    inputs = (
        (
            "act",
            LiteralData(
                "act",
                str,
                default="succeed",
                allowed_values=("succeed", "raise", "client", "crash", "sleep"),
                title="What is to become of it",
            ),
        ),
        ("publish", LiteralData("publish", str, default="result.txt", title="File to publish")),
        ("refuse", LiteralData("refuse", str, optional=True, title="Raise this in initialize")),
        ("address", RequestParameter(lambda request: {"address": request.META["REMOTE_ADDR"]})),
    )
    outputs = (("url", LiteralData("url", str)),)

    def initialize(self, context: Any, raw_inputs: Any, resp_form: Any, extra_parts: Any) -> None:
        record(context, "initialize", inputs=sorted(raw_inputs), parts=sorted(extra_parts))
        if "refuse" in raw_inputs:
            raise InvalidInputValueError("refuse", raw_inputs["refuse"].data)

    def on_accepted(self, context: Any) -> None:
        record(context, "on_accepted", location=context.status_location)

    def on_started(self, context: Any, progress: Any, message: Any) -> None:
        record(context, "on_started", progress=progress)

    def on_progress_update(self, context: Any, progress: Any, message: Any) -> None:
        record(context, "on_progress_update", progress=progress, message=message)

    def on_paused(self, context: Any, progress: Any) -> None:
        record(context, "on_paused", progress=progress)

    def on_succeeded(self, context: Any, outputs: Any) -> None:
        record(context, "on_succeeded", outputs=sorted(outputs))

    def on_failed(self, context: Any, exception: Any) -> None:
        locator = getattr(exception, "locator", None)
        record(context, "on_failed", message=str(exception), locator=locator)

    def discard(self, context: Any) -> None:
        record(context, "discard")

    def execute(self, context: Any, act: str, publish: str, address: Any, **kwargs: Any) -> str:
        record(context, "execute", start=cost_of_start(), address=address)
        Path("result.txt").write_text("déjà vu")
        context.update_progress(50, "hälfte")
        if act == "raise":
            raise LookupError("nothing of the kind, 見つからない")
        if act == "client":
            raise InvalidInputValueError("act", "not that one")
        if act == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        while act == "sleep":
            time.sleep(1.0)
        _, url = context.publish(publish)
        return str(url)


def record(context: Any, name: str, **details: Any) -> None:
    """Append a line to the job's file on the shared volume, beside the three folders."""
    folder = config.load().path_task.parent / "recorded"
    folder.mkdir(exist_ok=True)
    with (folder / f"{context.identifier}.jsonl").open("a") as file:
        file.write(json.dumps({"callback": name, **details}) + "\n")


def cost_of_start() -> dict[str, float]:
    """How long the first process of this pod has been there, and what it and this one computed."""
    fields = Path("/proc/1/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    user, system, started = (int(fields[index]) / ticks for index in (11, 12, 19))
    return {
        "seconds": time.clock_gettime(time.CLOCK_BOOTTIME) - started,
        "cpu_seconds": user + system + time.process_time(),
    }
