"""People with rights of their own at a terminal of theirs, who type ``kubectl wps …``."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sysconfig
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.deployment.tools import apply, environment, kubeconfig, kubectl

SECONDS = 120.0


@dataclass(frozen=True)
class Done:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Person:
    """Somebody with a kubeconfig, whose context names the namespace."""

    kubeconfig: Path

    @classmethod
    def make(cls, name: str, namespace: str, folder: Path, cluster_role: str | None) -> Person:
        """A service account bound to *cluster_role* in *namespace*, with a kubeconfig."""
        metadata = {"name": name, "namespace": namespace}
        apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        if cluster_role is not None:
            rbac = "rbac.authorization.k8s.io"
            apply(
                {
                    "apiVersion": f"{rbac}/v1",
                    "kind": "RoleBinding",
                    "metadata": metadata,
                    "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": cluster_role},
                    "subjects": [{"kind": "ServiceAccount", **metadata}],
                }
            )
        token = kubectl("create", "token", name, "-n", namespace, "--duration=2h").strip()
        view = kubeconfig(namespace)
        view["users"] = [{"name": name, "user": {"token": token}}]
        view["contexts"][0]["context"]["user"] = name
        path = folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(view))
        return cls(path)

    @property
    def environment(self) -> dict[str, str]:
        """With the console scripts of this project on PATH, and no width of a terminal."""
        inherited = environment()
        path = os.pathsep.join([sysconfig.get_path("scripts"), inherited["PATH"]])
        own = {"PATH": path, "KUBECONFIG": str(self.kubeconfig), "TERM": "xterm"}
        return {key: value for key, value in inherited.items() if key != "COLUMNS"} | own

    def wps(self, *words: str, stdin: str | None = None) -> Done:
        """``kubectl wps …``, whatever comes of it; its output goes into a pipe."""
        return self.run("kubectl", "wps", *words, stdin=stdin)

    def must(self, *words: str) -> str:
        """Standard output of ``kubectl wps …``, which has to succeed."""
        done = self.wps(*words)
        assert done.code == 0, done.err
        return done.out

    def run(self, *command: str, stdin: str | None = None) -> Done:
        """Any command."""
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """``kubectl wps …`` that goes on beside the test."""
        return subprocess.Popen(
            ["kubectl", "wps", *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def at_terminal(self, *words: str, columns: int) -> Done:
        """``kubectl wps …`` at a terminal of that width; both streams are its output."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        with os.fdopen(ours, "rb", buffering=0) as screen:
            with os.fdopen(theirs, "wb", buffering=0) as terminal:
                process = subprocess.Popen(
                    ["kubectl", "wps", *words],
                    env=self.environment,
                    stdin=terminal,
                    stdout=terminal,
                    stderr=terminal,
                )
            seen = b""
            while piece := _read(screen.fileno()):
                seen += piece
            code = process.wait(SECONDS)
        return Done(code, seen.decode(), "")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # EIO: nobody has the other end any more
        return b""
