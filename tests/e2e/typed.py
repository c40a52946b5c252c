"""What documents tell to type, and a shell that types it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from pathlib import Path

import yaml

from tests.deployment.release import RESOURCES_LOCK
from tests.deployment.tools import environment, kubeconfig

TYPED, ENDED = "-- typed --", "-- ended --"
_CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(text: str) -> list[str]:
    """The shell blocks of a document."""
    return [code for language, code in _CODE.findall(text) if language == "sh"]


def told(text: str) -> list[str]:
    """Commands in the sentences and tables of a document.

    A command's mere name, such as "helm test", is none.
    """
    spans = (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", _CODE.sub("", text)))
    return [span for span in spans if re.match(r"(kubectl|helm) \S+ \S", span)]


def lines(text: str) -> list[str]:
    """Commands in the shell blocks of a document, one by one."""
    return [
        line for block in blocks(text) for line in block.replace("\\\n", " ").splitlines() if line
    ]


class Shell:
    """One bash for all that is typed, so that variables and the tunnel live on.

    Changed is what two tests would share: the namespace, and the port of the tunnel.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder, self._namespace = folder, namespace
        config = folder / "kubeconfig"
        config.write_text(yaml.safe_dump(kubeconfig(namespace)))
        own = {
            "KUBECONFIG": str(config),
            "WPS": f"http://localhost:{self.port}/ows",
            # Documents say python3; this is the one that has OWSLib, and beside it is kubectl-wps.
            "PATH": f"{Path(sys.executable).parent}:{environment()['PATH']}",
            "EDITOR": "true",
            "PASSWORD": "secret",
        }
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment() | own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        # The tunnel holds the pipe open, so that the end of bash is no end of its output.
        self._write(f"trap 'echo; echo \"{ENDED}\"' EXIT\nset -euo pipefail")

    def type(self, document: str) -> str:
        """Type the shell blocks of *document*; what they print is returned.

        A command that fails ends the shell, and so the test.
        """
        return self.type_lines("\n".join(blocks(document)))

    def type_lines(self, script: str) -> str:
        """Type a script; what it prints is returned."""
        assert self._process.stdout
        script = "\n".join(self.here(line) for line in script.splitlines())
        self._write(f"{script}\necho; echo '{TYPED}'")
        printed = []
        for line in self._process.stdout:
            if line.strip() == TYPED:
                return "".join(printed)
            if line.strip() == ENDED:
                break
            printed.append(line)
        raise AssertionError(f"a command failed:\n{script}\n\n{''.join(printed)}")

    def _write(self, text: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{text}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End it, with what it has started."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        subprocess.run(["pkill", "-s", str(self._process.pid)], check=False)
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def here(self, line: str) -> str:
        """*line* for this namespace and this port."""
        line = line.replace("localhost:8000", f"localhost:{self.port}")
        line = line.replace(" 8000:80", f" {self.port}:80")
        if "wpsjobs-crds" in line:  # the cluster's, whoever installs them, one at a time
            return f"flock {RESOURCES_LOCK} {line}"
        return re.sub(r"(-n |--namespace=)wps\b", rf"\g<1>{self._namespace}", line)
