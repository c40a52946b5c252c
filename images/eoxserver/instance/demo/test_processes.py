"""Processes for tests of the service itself; only with ``EOXS_TEST_PROCESSES=true``."""

import os
import signal
import time
from typing import Any

from eoxserver.services.ows.wps.parameters import AllowedRange, LiteralData


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
