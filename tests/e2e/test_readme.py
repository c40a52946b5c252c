"""The README's way to a result, typed as it stands, and from there to a process of one's own.

The volume is there as a storage class would provide it; the images have the version's tag.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from osgeo import gdal

from tests.cluster import current
from tests.cluster.settings import REPOSITORY, ClusterError
from tests.deployment.release import Release, make_namespace
from tests.deployment.tools import get, run
from tests.e2e.typed import Shell, blocks, told

RELEASE = Release("readme")
EXAMPLE = REPOSITORY / "examples" / "12-process-by-configmap"
PLACEHOLDER = "http://localhost:8000/results/JOB/executeResponse.xml"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A checkout's folder, and a namespace with a volume for the claim that is to come."""
    if current.is_current(os.environ):
        pytest.skip("needs images and a volume on the node")
    folder = tmp_path_factory.mktemp("readme")
    (folder / "charts").symlink_to(REPOSITORY / "charts")
    shutil.copytree(EXAMPLE, folder / "examples" / EXAMPLE.name)
    make_namespace(RELEASE.namespace)
    RELEASE.make_volume()
    shell = Shell(folder, RELEASE.namespace)
    try:
        yield shell
    finally:
        shell.close()
        with contextlib.suppress(ClusterError):  # it may not have come to be
            RELEASE.uninstall_release()
        RELEASE.remove_namespace()
        RELEASE.remove_volume()


@pytest.fixture(scope="module")
def printed(shell: Shell) -> str:
    """What the five commands print."""
    (block,) = blocks((REPOSITORY / "README.md").read_text())
    *before, last = block.splitlines()
    assert len(before) == 4
    words = shell.type_lines("\n".join(before))
    url = re.escape(shell.here(PLACEHOLDER)).replace("JOB", "[0-9a-f-]{36}")
    (told,) = set(re.findall(url, words))
    assert PLACEHOLDER in last
    return words + shell.type_lines(last.replace(PLACEHOLDER, told))


def test_five_commands_lead_to_a_result(printed: str) -> None:
    document = printed[printed.index("<wps:ExecuteResponse") :]
    assert "<wps:ProcessSucceeded" in document
    assert re.search(r'<wps:Reference href="[^"]+/hillshade.tif"', document)


def test_the_commands_of_the_notes_can_be_typed(printed: str, shell: Shell) -> None:
    notes = run("helm", "get", "notes", RELEASE.name, "--namespace", RELEASE.namespace)
    commands = re.findall(r"^ {5}((?:kubectl|helm|curl) .+)$", notes, re.M)
    assert len(commands) > 5
    commands.remove("helm test wpsjobs -n readme --logs")  # has been typed
    script = "\n".join(commands).replace(" --watch", "")
    script = re.sub("(kubectl .* patch .*)", r"\1 --dry-run=server", script)
    words = shell.type_lines(script)
    assert re.search("Process(Accepted|Started|Succeeded)", words)
    assert "wpsqueue.wps.eoxserver.org/default patched" in words


def test_a_process_of_ones_own_comes_by_a_configmap(printed: str, shell: Shell) -> None:
    text = (EXAMPLE / "README.md").read_text()
    steps = blocks(text)
    place = Path("examples") / EXAMPLE.name
    last = shell.type_lines("\n".join([f"cd {place}", *steps])).split()[-1]
    model = gdal.Open(str(REPOSITORY / "examples" / "data" / "olinda_dem_utm25s.tif"))
    assert float(last) == float(model.ReadAsArray().max())
    process = get("wpsprocess", "elevation", "-n", RELEASE.namespace)
    assert process["spec"]["ttlSecondsAfterFinished"] == 86400
    (restart,) = told(text)
    assert "web restarted" in shell.type_lines(restart)
