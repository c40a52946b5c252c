"""Getting started, and all examples after it, typed as they stand there.

Changed are the namespace, so that other tests' WpsJobs stay undisturbed, the port of the tunnel,
and the name of a Service, for there is no DNS. The values are completed by what this cluster needs.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from osgeo import gdal

from tests.cluster.settings import REPOSITORY, ClusterError
from tests.deployment.release import Release
from tests.deployment.tools import environment, get, kubectl, run
from tests.e2e.wps import until


def blocks(text: str) -> list[str]:
    """The shell blocks of a document."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


DOCUMENT = REPOSITORY / "docs" / "getting-started.md"
LAST_STEP = "## 7. Remove it"
EXAMPLES = sorted(path.name for path in REPOSITORY.glob("examples/[0-9]*"))
COMMANDS = sorted(
    {
        line
        for name in ("troubleshooting", "security", "tracker")
        for block in blocks((REPOSITORY / "docs" / f"{name}.md").read_text())
        for line in block.splitlines()
    }
)
CHANGES = re.compile("kubectl (patch|annotate|label|taint)|helm upgrade")
"""What is only tried, so that commands do not depend on each other."""
NAMESPACE, RELEASE = "getting-started", "wpsjobs"
TYPED, ENDED = "-- typed --", "-- ended --"


class Shell:
    """One bash for all that is typed, so that variables and the tunnel live on."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder = folder
        # Documents say python3; this is the one that has OWSLib.
        path = f"{Path(sys.executable).parent}:{environment()['PATH']}"
        own = {"WPS": f"http://localhost:{self.port}/ows", "PATH": path}
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
        assert self._process.stdout
        script = "\n".join(blocks(document))
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
        # The custom resources are the cluster's, whoever installs them.
        return line if "wpsjobs-crds" in line else re.sub(r"-n wps\b", f"-n {NAMESPACE}", line)


def values(text: str) -> str:
    """The document's values, as far as this cluster has what they name."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)
    told = yaml.safe_load(block)
    here = Release(NAMESPACE).values()
    return yaml.safe_dump(
        {
            "operator": told["operator"] | {"image": here["operator"]["image"]},
            "eoxserver": told["eoxserver"] | {"image": here["eoxserver"]["image"]},
            "storage": here.get("storage", told["storage"]),
        }
    )


def service_address() -> str:
    """Of the web Service: the test cluster has no DNS."""
    return str(get("service", "wpsjobs-web", "-n", NAMESPACE)["spec"]["clusterIP"])


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, str]]:
    """What is left after all steps but the last: a shell, and what was printed."""
    text = DOCUMENT.read_text()
    before, heading, last = text.partition(LAST_STEP)
    assert heading
    folder = tmp_path_factory.mktemp("started")
    (folder / "charts").symlink_to(REPOSITORY / "charts")
    shell = Shell(folder)
    (folder / "my-values.yaml").write_text(shell.here(values(text)))
    try:
        yield shell, shell.type(before)
        shell.type(last)
        left = get("deployments,pods,wpsjobs,wpsqueues", "-n", NAMESPACE)["items"]
        assert [one for one in left if "deletionTimestamp" not in one["metadata"]] == []
    finally:
        shell.close()
        # A pod that is kept for its log would keep the claim.
        kubectl("delete", "wpsjobs", "--all", "-n", NAMESPACE)
        with contextlib.suppress(ClusterError):  # its last step has been typed
            run("helm", "uninstall", RELEASE, "-n", NAMESPACE, "--wait", "--timeout", "60s")
        Release(NAMESPACE).remove_namespace()


def test_getting_started_comes_to_a_result(started: tuple[Shell, str]) -> None:
    shell, printed = started
    assert "ProcessSucceeded" in printed
    for word in ("condition met", "Scheduled", "Started", "Succeeded"):
        assert word in printed
    raster = gdal.Open(str(shell.folder / "hillshade.tif"))
    assert raster.RasterXSize > 100


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_does_what_it_says(started: tuple[Shell, str], example: str) -> None:
    shell, _ = started
    source, here = REPOSITORY / "examples" / example, shell.folder / "examples" / example
    shutil.copytree(source, here)
    for request in here.glob("*.xml"):
        request.write_text(request.read_text().replace("//wpsjobs-web/", f"//{service_address()}/"))
    readme = (here / "README.md").read_text()
    printed = shell.type(f"```sh\ncd {here}\n```\n{readme}\n```sh\ncd ../..\n```")
    CHECKS[example](printed, here)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_the_documents_can_be_typed(
    started: tuple[Shell, str], command: str
) -> None:
    shell, _ = started
    node = get("nodes")["items"][0]["metadata"]["name"]
    line = command.replace("NAME", "$JOB").replace("NODE", node).partition(" | ")[0]
    if CHANGES.match(line):
        line += " --dry-run=server"
    if line.endswith("wpsjobs doctor"):
        # From its pod, the tunnel is not there.
        assert "BAD  url_base" in shell.type(f"```sh\n{line} 2>&1 || true\n```")
    else:
        shell.type(f"```sh\n{line}\n```")


def _first(printed: str, _: Path) -> None:
    assert "statusLocation" in printed or "ProcessAccepted" in printed or "Started" in printed
    assert printed.count("<wps:ProcessSucceeded") == 1


def _python(printed: str, folder: Path) -> None:
    assert "mean is 0." in printed
    assert gdal.Open(str(folder / "ndvi.tif")).RasterCount == 1


def _kubectl(printed: str, _: Path) -> None:
    assert "The process has ended and its response is stored" in printed


def _priority(_: str, folder: Path) -> None:
    names = [line.split()[0] for line in (folder / "order.txt").read_text().splitlines()[1:]]
    assert names == ["urgent", "first", "second"]


def _timeout(_: str, folder: Path) -> None:
    assert (folder / "why.txt").read_text().startswith("Timeout: ")


def _pause(printed: str, _: Path) -> None:
    assert printed.count("condition met") == 4


def _crash(_: str, folder: Path) -> None:
    assert "restart 1 of at most 1" in (folder / "history.txt").read_text()


def _retention(_: str, __: Path) -> None:
    gone = "wpsjob fleeting"
    until(
        lambda: (
            not kubectl("get", "wpsjobs", "-n", NAMESPACE, "--ignore-not-found", "-o", "name")
            .strip()
            .endswith("/fleeting")
        ),
        gone,
    )


def _reference(printed: str, _: Path) -> None:
    assert re.search(r">[0-9a-f]{64}$", printed.strip(), re.M)


def _tasks(printed: str, _: Path) -> None:
    assert printed.count("Result: ('15.0', 'text/xml')") == 2
    assert "Attempt 1 is being started as Kubernetes Job" in printed
    assert "done" in printed.rpartition("Result:")[2], "the log of the consumer"


CHECKS = {
    "01-first-execute": _first,
    "02-python-client": _python,
    "03-wpsjob-by-kubectl": _kubectl,
    "04-priority": _priority,
    "05-timeout-and-retry": _timeout,
    "06-pause-and-dismiss": _pause,
    "07-crash-and-restart": _crash,
    "08-retention": _retention,
    "09-input-by-reference": _reference,
    "10-sequence-sum": _tasks,
}
"""What is to be seen after each example; one that is missing here fails its test."""
