"""The operator as a process that a test can kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.cluster.settings import REPOSITORY
from tests.deployment.tools import environment

START_SECONDS = 30.0


class Operator:
    """``python -m wpsjobs.controller`` for one namespace. Use it as a context manager."""

    def __init__(self, namespace: str, folder: Path, **settings: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = folder / "operator.log"
        self._environment = {
            **environment(),
            "PYTHONPATH": str(REPOSITORY / "operator"),
            "WPSJOBS_NAMESPACES": namespace,
            "WPSJOBS_PROBE_ADDRESS": "127.0.0.1",
            "WPSJOBS_PROBE_PORT": str(self.port),
            # As a container that is started again in its pod: it need not wait for the Lease.
            "WPSJOBS_IDENTITY": f"operator-of-{namespace}",
            **settings,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Operator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wpsjobs.controller"],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
            raise AssertionError(f"the operator did not end\n{self.words()}") from None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while self.ask("/readyz")[0] != 200:
            assert self._process is not None
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError(f"the operator does not get ready\n{self.words()}")
            time.sleep(0.05)

    def ask(self, path: str) -> tuple[int, str]:
        """HTTP status (0 where nobody answers) and body of a probe."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """Sum of a metric over its labels."""
        lines = self.ask("/metrics")[1].splitlines()
        values = [line.rsplit(" ", 1) for line in lines if line.startswith(name)]
        return sum(float(value) for key, value in values if key.split("{")[0] == name)

    def processor_seconds(self) -> float:
        """Time that its process has had of the processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def records(self) -> list[dict[str, Any]]:
        """Its log, a JSON object a line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def words(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-4000:] if self.log.exists() else ""
