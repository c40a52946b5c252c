"""The child that does the work: its start, its signals, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from wpsjobs.api.channel import CHANNEL_FD

_OOM_SCORE_ADJ = "1000"
"""Raises the child above the supervisor in the kernel's choice of whom to end for memory."""


@dataclass(frozen=True)
class ChildEnd:
    """How the child ended."""

    exit_code: int | None = None
    signal_number: int | None = None

    @property
    def signal_name(self) -> str | None:
        if self.signal_number is None:
            return None
        try:
            return signal.Signals(self.signal_number).name
        except ValueError:
            return f"signal {self.signal_number}"


class Child:
    """A Python module run in a process group of its own, with a channel to this process."""

    def __init__(self, module: str, output: int | None = None) -> None:
        """Start ``python -m`` *module*, its output going to the descriptor *output* if given."""
        self.channel, theirs = socket.socketpair()
        self._frozen = False
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            environ = {**os.environ, CHANNEL_FD: str(theirs.fileno()), "PYTHONUNBUFFERED": "1"}
            redirect = (
                [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
                if output is not None
                else []
            )
            # Not subprocess: its waiting collides with the reaping of orphans that PID 1 owes.
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", module],
                environ,
                file_actions=redirect,
                setpgroup=0,
                setsigmask=(),
                setsigdef=(signal.SIGTERM, signal.SIGINT, signal.SIGCHLD),
            )
        with contextlib.suppress(OSError):
            Path(f"/proc/{self.pid}/oom_score_adj").write_text(_OOM_SCORE_ADJ)

    def freeze(self) -> None:
        """Stop the whole process group; nothing of it is lost."""
        self._frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process group go on."""
        self._frozen = False
        self._signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask the process group to end."""
        self._signal(signal.SIGTERM)
        # A stopped process gets the signal once it goes on.
        self.thaw()

    def kill(self) -> None:
        """End the process group, whatever it is doing."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def reap(pid: int) -> ChildEnd | None:
    """Collect all processes that have ended; the end of *pid* if it is among them.

    As PID 1 of the pod, the supervisor inherits the orphans of the process.
    """
    end = None
    while True:
        try:
            found, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return end
        if found == 0:
            return end
        if found == pid:
            if os.WIFSIGNALED(status):
                end = ChildEnd(signal_number=os.WTERMSIG(status))
            else:
                end = ChildEnd(exit_code=os.waitstatus_to_exitcode(status))
