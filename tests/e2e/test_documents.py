"""Getting started, and all examples after it, typed as they stand there.

Changed are the namespace and the port (`typed.py`), and the name of a Service, for there is no DNS.
The values are completed by what this cluster needs.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from osgeo import gdal

from tests.cluster import kwok
from tests.cluster.settings import REPOSITORY, ClusterError
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl, run
from tests.e2e.typed import Shell, blocks, lines, told
from tests.e2e.wps import until

DOCUMENT = REPOSITORY / "docs" / "getting-started.md"
LAST_STEP = "## 7. Remove it"
ELSEWHERE = {"13-process-by-configmap"}
"""Examples that change the release; test_readme.py types them."""
EXAMPLES = sorted({path.name for path in REPOSITORY.glob("examples/[0-9]*")} - ELSEWHERE)
PAGES = ("configuration", "operations", "troubleshooting", "security")
"""Whose shell blocks are commands of their own; the others' are typed as a whole."""


def page(name: str) -> str:
    """The text of a page."""
    return (REPOSITORY / f"{name}.md").read_text()


RESTART = "kubectl rollout restart deployment -n wps -l app.kubernetes.io/name=wpsjobs"
COMMANDS = sorted(
    {
        command
        for name in ("README", *(f"docs/{name}" for name in ("kubectl", *PAGES)))
        for command in [*told(page(name)), *(lines(page(name)) if name[5:] in PAGES else [])]
    }
    # One is of a Job that is there only where it has failed; test_readme.py types the other.
    - {"kubectl logs job/wpsjobs-migrate -n wps", RESTART}
)
CHANGES = re.compile(r"kubectl (patch|annotate|label|taint|delete|create)|helm upgrade")
"""What is only tried, so that commands do not depend on each other."""
FAILED = "-- failed --"
NAMESPACE, RELEASE = "getting-started", "wpsjobs"
TYPED, ENDED = "-- typed --", "-- ended --"


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
    shell = Shell(folder, NAMESPACE)
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
    source, here = REPOSITORY / "examples" / example, shell.folder / example
    shutil.copytree(source, here)
    for request in here.glob("*.xml"):
        request.write_text(request.read_text().replace("//wpsjobs-web/", f"//{service_address()}/"))
    readme = (here / "README.md").read_text()
    printed = shell.type(f"```sh\ncd {here}\n```\n{readme}\n```sh\ncd ..\n```")
    CHECKS[example](printed, here)


@pytest.fixture(scope="module")
def placeholders(started: tuple[Shell, str]) -> dict[str, str]:
    """What stands here for the words in capitals."""
    shell, _ = started
    shell.type_lines("FAILED=$(kubectl wps submit Fail message=no)")
    for module in sorted((REPOSITORY / "examples").glob("13-*/*.py")):
        shutil.copy(module, shell.folder)
    pod = get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=web")["items"][0]
    return {
        "wpsjob/NAME --for=condition=Failed": "wpsjob/$FAILED --for=condition=Failed",
        "pod NAME": f"pod {pod['metadata']['name']}",
        "NAMESPACE": NAMESPACE,
        "NAME-ATTEMPT": "$JOB-1",
        "NAME": "$JOB",
        # Not a simulated one of another test's, which may be gone in a moment.
        "NODE": get("nodes", "-l", f"!{kwok.MARK}")["items"][0]["metadata"]["name"],
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_the_documents_can_be_typed(
    started: tuple[Shell, str], placeholders: dict[str, str], command: str
) -> None:
    shell, _ = started
    line = command.partition(" | ")[0]
    for word, here in placeholders.items():
        line = re.sub(rf"\b{word}\b", here, line)
    if CHANGES.match(line) and "--dry-run" not in line:
        line += " --dry-run=server"
    if line.endswith("wpsjobs doctor"):
        # From its pod, the tunnel is not there.
        assert "BAD  url_base" in shell.type_lines(f"{line} 2>&1 || true")
    else:
        # The shell goes on, for the next command.
        printed = shell.type_lines(f"{line} || echo '{FAILED}'")
        assert FAILED not in printed, f"{line}\n{printed}"


def test_the_session_with_kubectl_wps_can_be_typed(started: tuple[Shell, str]) -> None:
    shell, _ = started
    session = "\n".join(["(", *blocks(page("docs/kubectl")), ")"])  # its JOB is not ours
    printed = shell.type_lines(session)
    assert "Succeeded" in printed
    assert gdal.Open(str(shell.folder / "ndvi.tif")).RasterCount == 1


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
}
"""What is to be seen after each example; one that is missing here fails its test."""
