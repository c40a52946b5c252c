"""NetworkPolicies: what they select and allow, asked of the pods of the rendering."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import yaml

from tests.unit.charts.network import End, allowed
from tests.unit.charts.rendering import NAMESPACE, needs_helm, objects, pods, template
from tests.unit.controller.objects import process, queue, wpsjob
from wpsjobs.controller.manifests import Assignment, kubernetes_job

pytestmark = needs_helm

CASE = "production"
OUTSIDE = End("outside")
API_SERVER = End("API server", address="192.0.2.1")
DATABASE = End("database", address="192.0.2.5")
NEIGHBOUR = End("another pod of the namespace", {"app": "prometheus"}, NAMESPACE)
STRANGER = End("a pod of another namespace", {"app": "prometheus"}, "elsewhere")
PARTS = ("operator", "web", "worker", "housekeeper", "sync", "migrate", "test")


@cache
def ends() -> dict[str, End]:
    """The pods of the rendering by their part; that of job pods as the operator makes them."""
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: End(
            name, pod["metadata"]["labels"], NAMESPACE
        )
        for name, pod in pods(CASE)
    }


def policies(**changes: Any) -> list[dict[str, Any]]:
    if not changes:
        return objects(CASE, "NetworkPolicy")
    values = {
        "networkPolicy": {"enabled": True, **changes},
        "database": {"type": "postgis", "existingSecret": "database"},
    }
    text = template(values, "--show-only", "templates/networkpolicies.yaml")
    return [one for one in yaml.safe_load_all(text) if one]


def test_every_pod_is_selected_by_one_policy() -> None:
    assert set(ends()) == set(PARTS)
    for part, end in ends().items():
        selected = [
            policy["metadata"]["name"]
            for policy in policies()
            if policy["spec"]["podSelector"]["matchLabels"].items() <= end.labels.items()
        ]
        assert selected == [f"wpsjobs-{part}"]


def test_the_operator_leaves_job_pods_the_labels_by_which_they_are_selected() -> None:
    (rendered,) = objects(CASE, "WpsQueue")
    of_chart = queue(template=rendered["spec"]["template"])
    made = kubernetes_job(Assignment(wpsjob("a"), 1), of_chart, process(), "wpsjobs-worker")
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert ends()["worker"].labels.items() <= labels.items()


@pytest.mark.parametrize(
    ("part", "reached"),
    [
        ("operator", {"api", "dns"}),
        ("web", {"api", "dns", "database"}),
        ("worker", {"api", "dns", "database"}),
        ("housekeeper", {"api", "dns", "database"}),
        ("sync", {"api", "dns", "database"}),
        ("migrate", {"dns", "database"}),
        ("test", {"dns"}),
    ],
)
def test_a_part_reaches_what_it_needs_and_nothing_else(part: str, reached: set[str]) -> None:
    only = policies(
        apiServer={"ports": [6443], "to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}]},
        database={"ports": [5432], "to": [{"ipBlock": {"cidr": "192.0.2.5/32"}}]},
    )
    pod = ends()[part]
    found = {
        name
        for name, end, port, protocol in [
            ("api", API_SERVER, 6443, "TCP"),
            ("dns", OUTSIDE, 53, "UDP"),
            ("database", DATABASE, 5432, "TCP"),
            ("the internet", OUTSIDE, 443, "TCP"),
            ("API server as a database", API_SERVER, 5432, "TCP"),
            ("a neighbour", NEIGHBOUR, 8080, "TCP"),
        ]
        if allowed(only, pod, end, port, protocol)
    }
    assert found == reached
    assert allowed(only, pod, OUTSIDE, 53, "TCP")


def test_only_web_pods_answer_everybody() -> None:
    for part, port in {"operator": 8080, "web": 8000, "worker": 80, "housekeeper": 8000}.items():
        assert allowed(policies(), OUTSIDE, ends()[part], port) == (part == "web"), part
        assert allowed(policies(), STRANGER, ends()[part], port) == (part == "web"), part
    assert not allowed(policies(), OUTSIDE, ends()["web"], 22)


def test_metrics_are_for_the_namespace_or_for_whom_one_says() -> None:
    operator = ends()["operator"]
    assert allowed(policies(), NEIGHBOUR, operator, 8080)
    assert not allowed(policies(), NEIGHBOUR, operator, 8081)
    elsewhere = {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}
    changed = policies(metricsFrom=[{"namespaceSelector": elsewhere}])
    assert allowed(changed, STRANGER, operator, 8080)
    assert not allowed(changed, NEIGHBOUR, operator, 8080)


def test_web_pods_answer_whom_one_says_and_always_helm_test() -> None:
    changed = policies(webFrom=[{"podSelector": {"matchLabels": {"app": "gateway"}}}])
    gateway = End("gateway", {"app": "gateway"}, NAMESPACE)
    assert allowed(changed, gateway, ends()["web"], 8000)
    assert allowed(changed, ends()["test"], ends()["web"], 8000)
    assert not allowed(changed, NEIGHBOUR, ends()["web"], 8000)


def test_egress_of_processes_is_as_one_says() -> None:
    # The case allows 443 anywhere to job pods.
    assert allowed(policies(), ends()["worker"], OUTSIDE, 443)
    everything = policies(workerEgress=[{}])
    assert allowed(everything, ends()["worker"], OUTSIDE, 12345)
    assert not allowed(everything, ends()["web"], OUTSIDE, 12345)


def test_without_a_database_nobody_reaches_one() -> None:
    values = {"networkPolicy": {"enabled": True}}
    text = template(values, "--show-only", "templates/networkpolicies.yaml")
    found = [one for one in yaml.safe_load_all(text) if one]
    assert not allowed(found, ends()["worker"], DATABASE, 5432)


def test_probes_go_to_ports_that_the_pods_have() -> None:
    """The kubelet is on the pod's own node, from which everything passes."""
    for name, pod in pods(CASE):
        for container in pod["spec"]["containers"]:
            named = {port["name"] for port in container.get("ports", [])}
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                if probe in container:
                    assert container[probe]["httpGet"]["port"] in named, name
