"""One operator for all namespaces of a cluster, with the rights that the chart gives it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.settings import REPOSITORY
from tests.deployment.tools import run
from tests.integration.control_plane import ControlPlane
from tests.integration.kube import Kube, Space
from tests.integration.operator_process import Operator

HOME = "operators"
ACCOUNT = "wpsjobs-operator"
PROCESS = "Echo"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A cluster with the custom resources and the chart's cluster-wide rights."""
    folder: Path = tmp_path_factory.mktemp("control-plane")
    with ControlPlane(folder, {ACCOUNT: HOME}) as plane:
        config = plane.kubeconfig()
        Space(Kube(kubeconfig=config), HOME).make()
        manifest = run(
            *("helm", "template", "wpsjobs", str(REPOSITORY / "charts" / "wpsjobs")),
            *("--namespace", HOME, "--show-only", "templates/rbac.yaml"),
            *("--set", "operator.clusterWide=true"),
        )
        kubectl = ("kubectl", "--kubeconfig", config)
        run(*kubectl, "apply", "-f", str(REPOSITORY / "crds"))
        run(*kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        run(*kubectl, "apply", "-n", HOME, "-f", "-", stdin=manifest)
        yield plane


@pytest.fixture(scope="module")
def operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator that is told of no namespaces, and so serves all."""
    folder: Path = tmp_path_factory.mktemp("operator")
    settings = {"KUBECONFIG": plane.kubeconfig(ACCOUNT), "WPSJOBS_LEASE_NAMESPACE": HOME}
    with Operator("", folder, **settings) as operator:
        operator.wait_ready()
        yield operator


@pytest.fixture(scope="module")
def spaces(plane: ControlPlane, operator: Operator) -> list[Space]:
    """Two namespaces that come while the operator runs, each with an instance."""
    kube = Kube(kubeconfig=plane.kubeconfig())
    spaces = [Space(kube, name) for name in ("north", "south")]
    for space in spaces:
        space.make()
        space.queue("default", parallelism=1)
        space.custom("wpsprocesses", PROCESS.lower(), identifier=PROCESS)
    return spaces


def test_namespaces_that_come_later_are_served(spaces: list[Space]) -> None:
    for space in spaces:
        space.custom("wpsjobs", "first", process=PROCESS)
        space.custom("wpsjobs", "second", process=PROCESS)
    for space in spaces:
        space.wait_phase("first", "Scheduled")
        space.wait_phase("second", "Accepted")
        space.wait(lambda s=space: s.find("jobs", "first-1"), "the Kubernetes Job")


def test_what_is_dismissed_makes_room_in_its_own_namespace(spaces: list[Space]) -> None:
    north, south = spaces
    south.wait_phase("second", "Accepted")
    south.patch("wpsjobs", "first", {"spec": {"cancel": True}})
    # No controller is here that would end the pods of a Kubernetes Job and then delete it.
    south.wait(
        lambda: (south.find("jobs", "first-1") or {"metadata": {}})["metadata"].get(
            "deletionTimestamp"
        ),
        "the deletion of the Kubernetes Job",
    )
    south.patch("jobs", "first-1", {"metadata": {"finalizers": None}})
    south.wait_phase("first", "Dismissed")
    south.wait_phase("second", "Scheduled")
    assert north.status("second")["phase"] == "Accepted"


def test_the_chart_s_rights_are_enough(
    plane: ControlPlane, spaces: list[Space], operator: Operator
) -> None:
    spaces[0].wait_phase("first", "Scheduled")
    requests = plane.requests_of(ACCOUNT)
    assert {event["verb"] for event in requests} >= {"list", "watch", "create", "patch"}
    refused = [event for event in requests if event["responseStatus"].get("code") == 403]
    assert refused == []
    watched = [
        event["objectRef"]
        for event in requests
        if event["verb"] == "watch" and "objectRef" in event
    ]
    # A watch of all namespaces has none.
    assert {one["resource"] for one in watched if "namespace" not in one} >= {"wpsjobs", "pods"}
