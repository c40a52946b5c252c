"""Metrics, dashboard, Ingress, disruption budget: selectors select, and names are there."""

from __future__ import annotations

import json
import re
from typing import Any

from prometheus_client import REGISTRY, Metric

import wpsjobs.controller.metrics  # noqa: F401 (registers them)
from tests.unit.charts.rendering import CASES, NAMESPACE, needs_helm, objects, pods

pytestmark = needs_helm

CASE = "production"


def one(kind: str) -> dict[str, Any]:
    (found,) = objects(CASE, kind)
    return found


def carries(labels: dict[str, str], wanted: dict[str, str]) -> bool:
    return wanted.items() <= labels.items()


@CASES
def test_every_service_selects_pods_that_have_its_port(case: str) -> None:
    for service in objects(case, "Service"):
        selected = [
            pod
            for name, pod in pods(case)
            if carries(pod["metadata"]["labels"], service["spec"]["selector"])
        ]
        assert len(selected) == 1, service["metadata"]["name"]
        (container,) = selected[0]["spec"]["containers"]
        ports = {port["name"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_the_service_monitor_finds_the_operator_s_service() -> None:
    monitor = one("ServiceMonitor")["spec"]
    found = [
        service
        for service in objects(CASE, "Service")
        if carries(service["metadata"]["labels"], monitor["selector"]["matchLabels"])
    ]
    assert [service["metadata"]["name"] for service in found] == ["wpsjobs-operator"]
    ports = {port["name"] for port in found[0]["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["endpoints"]} <= ports


def test_monitoring_is_there_only_if_asked_for() -> None:
    kinds = {found["kind"] for found in objects("default")}
    assert not kinds & {"ServiceMonitor", "NetworkPolicy", "PodDisruptionBudget", "Ingress"}
    assert not any("dashboard" in found["metadata"]["name"] for found in objects("default"))


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    (config,) = [
        found
        for found in objects(CASE, "ConfigMap")
        if found["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    dashboard = json.loads(config["data"]["wpsjobs.json"])
    asked = set(re.findall(r"\bwpsjobs_[a-z_]+", json.dumps(dashboard)))
    known = {name for metric in REGISTRY.collect() for name in names(metric)}
    assert asked
    assert asked <= known


def names(metric: Metric) -> set[str]:
    """A metric's name and those of its series."""
    return {
        metric.name,
        *(f"{metric.name}_{suffix}" for suffix in ("total", "bucket", "count", "sum")),
    }


def test_the_ingress_leads_to_the_web_pods() -> None:
    ingress = one("Ingress")["spec"]
    services = {found["metadata"]["name"]: found["spec"] for found in objects(CASE, "Service")}
    for rule in ingress["rules"]:
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            names = {port["name"] for port in services[backend["name"]]["ports"]}
            assert backend["port"]["name"] in names
    assert ingress["tls"][0]["hosts"] == [ingress["rules"][0]["host"]]


def test_the_disruption_budget_is_of_the_web_pods_alone() -> None:
    budget = one("PodDisruptionBudget")["spec"]
    wanted = budget["selector"]["matchLabels"]
    selected = [name for name, pod in pods(CASE) if carries(pod["metadata"]["labels"], wanted)]
    assert selected == ["Deployment wpsjobs-web"]
    assert NAMESPACE == "default"
