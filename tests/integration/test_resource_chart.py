"""The chart of the custom resources: upgrades upgrade them, an uninstall keeps them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.settings import REPOSITORY
from tests.deployment.tools import run
from tests.integration.control_plane import ControlPlane
from tests.integration.kube import Kube, RefusedError, Space

PLURALS = ("wpsjobs", "wpsprocesses", "wpsqueues")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster that may lose its custom resources."""
    folder: Path = tmp_path_factory.mktemp("control-plane")
    with ControlPlane(folder, {}) as plane:
        yield plane


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A copy of the chart, to be changed."""
    folder = tmp_path / "wpsjobs-crds"
    shutil.copytree(REPOSITORY / "charts" / "wpsjobs-crds", folder)
    return folder


def helm(plane: ControlPlane, *arguments: str) -> str:
    return run("helm", "--kubeconfig", plane.kubeconfig(), *arguments, "-n", "default")


def add_field(chart: Path) -> None:
    """What a newer version of the chart may bring."""
    path = chart / "templates" / "wpsjobs.yaml"
    document = yaml.safe_load(path.read_text())
    schema = document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["novelty"] = {"type": "string"}
    path.write_text(yaml.safe_dump(document))


def test_resources_are_upgraded_and_outlive_the_release(plane: ControlPlane, chart: Path) -> None:
    kube = Kube(kubeconfig=plane.kubeconfig())
    space = Space(kube, "instance")

    def definition(plural: str) -> str:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.wps.eoxserver.org"
        return json.dumps(kube.request("GET", path)["spec"]["versions"])

    def create() -> bool:
        try:
            return bool(space.custom("wpsjobs", "precious", process="Echo"))
        except RefusedError:  # a new definition takes a moment until it is served
            return False

    helm(plane, "install", "wpsjobs-crds", str(chart))
    space.make()
    space.wait(create, "a WpsJob")
    assert "novelty" not in definition("wpsjobs")

    add_field(chart)
    helm(plane, "upgrade", "wpsjobs-crds", str(chart))
    assert "novelty" in definition("wpsjobs")

    words = helm(plane, "uninstall", "wpsjobs-crds", "--wait")
    for plural in PLURALS:
        assert f"[CustomResourceDefinition] {plural}.wps.eoxserver.org" in words
        assert definition(plural)
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
        assert f"[{kind}] wpsjobs.wps.eoxserver.org" in words
    assert space.get("wpsjobs", "precious")["spec"]["process"] == "Echo"

    # Another install takes over what was left.
    notes = helm(plane, "install", "wpsjobs-crds", str(chart))
    assert "kubectl delete crd wpsjobs.wps.eoxserver.org" in notes
