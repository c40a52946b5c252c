"""The ServiceMonitor, shown to an API server that has the Prometheus operator's definition."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.binaries import module_sources
from tests.cluster.settings import ClusterError, current_instance
from tests.deployment.tools import kubectl
from tests.e2e.wps import until
from tests.unit.charts.rendering import NAMESPACE, objects

MODULE = "github.com/prometheus-operator/prometheus-operator@v0.83.0"
DEFINITION = "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"
GROUP = "monitoring.coreos.com"
NAME = f"crd/servicemonitors.{GROUP}"


@pytest.fixture(scope="module")
def defined() -> Iterator[None]:
    """The definition; one that the cluster has is left as it is."""
    if kubectl("get", NAME, "--ignore-not-found", "-o", "name"):
        yield
        return
    path = module_sources(current_instance(), MODULE) / DEFINITION
    kubectl("create", "-f", str(path))
    try:
        until(is_served, "ServiceMonitors to be served")
        yield
    finally:
        kubectl("delete", NAME)


def is_served() -> bool:
    return "servicemonitors" in kubectl("api-resources", "--cached=false", f"--api-group={GROUP}")


def show(monitor: dict[str, Any]) -> None:
    kubectl(
        *("apply", "--server-side", "--dry-run=server", "--namespace", NAMESPACE),
        *("--validate=strict", "--force-conflicts", "-f", "-"),
        stdin=json.dumps(monitor),
    )


def test_the_api_server_takes_the_service_monitor(defined: None) -> None:
    (monitor,) = objects("production", "ServiceMonitor")
    show(monitor)


def test_it_would_refuse_one_that_is_wrong(defined: None) -> None:
    (monitor,) = objects("production", "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    changed = {**monitor, "spec": {**monitor["spec"], "endpoints": [{**endpoint, "every": "30s"}]}}
    with pytest.raises(ClusterError, match="every"):
        show(changed)
    endpoint = {**endpoint, "interval": "30 seconds"}
    with pytest.raises(ClusterError, match="interval"):
        show({**monitor, "spec": {**monitor["spec"], "endpoints": [endpoint]}})
