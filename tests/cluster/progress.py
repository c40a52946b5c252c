"""Says what is being done: a spinner on a terminal, plain lines elsewhere."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.cluster.settings import ClusterError

HEARTBEAT_SECONDS = 25.0
"""A continuous-integration log that is silent for long looks dead."""

POLL_SECONDS = 0.05

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """One line to the person who watches."""
    console.print(message, markup=False)


def elapsed(since: float) -> str:
    """Time since `since` (monotonic), in words."""
    seconds = time.monotonic() - since
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60)} s"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show `title` while the body runs, then how long it took."""
    began = time.monotonic()
    if console.is_terminal:
        with console.status(title):
            yield
    else:
        done = threading.Event()
        beat = threading.Thread(target=_beat, args=(title, began, done), daemon=True)
        beat.start()
        try:
            yield
        finally:
            done.set()
            beat.join()
    say(f"  {title}: {elapsed(began)}")


def _beat(title: str, began: float, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT_SECONDS):
        say(f"  … still busy with: {title} ({elapsed(began)})")


def tail(text: str, lines: int = 15) -> str:
    """The last lines, indented."""
    return "\n".join("    " + line for line in text.strip().splitlines()[-lines:])


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    hint: str = "",
    log: Path | None = None,
) -> str:
    """Run a program to its end and return its standard output; raise with what it said if it fails.

    With `log`, all output goes to that file instead, and the result is empty.
    """
    args = [str(part) for part in command]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            code = subprocess.call(
                args, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=env, cwd=cwd
            )
        if code:
            said = f"{tail(log.read_text(errors='replace'))}\n  (all of it: {log})"
            raise ClusterError(f"{args[0]} failed with exit code {code}:\n{said}\n{hint}".strip())
        return ""
    done = subprocess.run(
        args,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        errors="replace",
        env=env,
        cwd=cwd,
        check=False,
    )
    if done.returncode:
        said = tail(done.stderr or done.stdout)
        raise ClusterError(
            f"{' '.join(args[:4])} failed with exit code {done.returncode}:\n{said}\n{hint}".strip()
        )
    return done.stdout


def wait_until(check: Callable[[], bool], seconds: float) -> bool:
    """Poll until `check` holds; False if the deadline came first."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def fail(message: str) -> None:
    """Print an error and end the program."""
    console.print(f"error: {message}", markup=False, style="red")
    sys.exit(1)
