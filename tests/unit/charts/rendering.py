"""The chart as Helm renders it, for the main sets of values."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.settings import ClusterError
from tests.deployment.tools import environment, run

REPOSITORY = Path(__file__).parents[3]
CHART = REPOSITORY / "charts" / "wpsjobs"
NAMESPACE = "default"
KUBE_VERSION = "1.34"

VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "test processes": {"eoxserver": {"testProcesses": True}, "storage": {"hostPath": "/srv"}},
    "without web": {"web": {"enabled": False}, "eoxserver": {"url": "https://maps.example.org"}},
    "without operator": {"operator": {"enabled": False}},
    "cluster-wide": {"operator": {"clusterWide": True}, "rbac": {"aggregatedRoles": False}},
    "several namespaces": {"operator": {"extraNamespaces": ["one", "two"]}},
    "two queues": {"queues": [{"name": "default"}, {"name": "night", "parallelism": 1}]},
    "tracker": {"tracker": {"enabled": True}},
    "consumers": {
        "tracker": {"enabled": True, "queue": {"executor": "Consumers"}},
        "consumers": {"enabled": True, "replicas": 3, "nodeSelector": {"disk": "ssd"}},
        "networkPolicy": {"enabled": True},
    },
    "production": {
        "imagePullSecrets": [{"name": "registry"}],
        "podSecurity": {"runAsUser": None, "runAsGroup": None, "fsGroup": 2000},
        "storage": {"existingClaim": "archive"},
        "database": {
            "type": "postgis",
            "existingSecret": "database",
            "setup": [["loaddata", "it's ours.json"]],
        },
        "eoxserver": {
            "image": {"repository": "registry.example.org:5000/maps", "tag": "7"},
            "settingsModule": "settings_own",
            "pythonPath": ["/opt/extras"],
            "instance": {"configMap": "instance"},
            "resultsUrl": "https://files.example.org/wps/",
            "env": [{"name": "REGION", "value": "south"}],
            "extraVolumes": [{"name": "scenes", "persistentVolumeClaim": {"claimName": "scenes"}}],
            "extraVolumeMounts": [{"name": "scenes", "mountPath": "/scenes", "readOnly": True}],
        },
        "web": {
            "replicas": 3,
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "hosts": ["maps.example.org"],
                "tls": [{"secretName": "maps-tls", "hosts": ["maps.example.org"]}],
            },
            "podDisruptionBudget": {"enabled": True},
        },
        "metrics": {"serviceMonitor": {"enabled": True}, "dashboard": {"enabled": True}},
        "networkPolicy": {"enabled": True, "workerEgress": [{"ports": [{"port": 443}]}]},
    },
    "pipeline": {"pipeline": {"enabled": True, "changingGets": False, "plan": "towns_own.plan"}},
    "everywhere else": {
        part: {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
        }
        for part in ("operator", "web", "worker", "housekeeper")
    },
}
CASES = pytest.mark.parametrize("case", VALUES)


@cache
def helm() -> str | None:
    """The path of Helm, or None where `make cluster` has not brought it yet."""
    try:
        return shutil.which("helm", path=environment()["PATH"])
    except (ClusterError, OSError):
        return None


needs_helm = pytest.mark.skipif(helm() is None, reason="helm is not there (make cluster)")


def template(values: dict[str, Any], *flags: str) -> str:
    """What Helm renders; raises ClusterError with its words."""
    return run(
        *("helm", "template", "wpsjobs", str(CHART), "--kube-version", KUBE_VERSION),
        *("--namespace", NAMESPACE, "--values", "-", *flags),
        stdin=json.dumps(values),
    )


@cache
def rendered(case: str) -> str:
    """The rendering of a case, with all hooks."""
    return template(VALUES[case])


def objects(case: str, kind: str = "") -> list[dict[str, Any]]:
    """All objects of a case, or those of a kind."""
    found = [one for one in yaml.safe_load_all(rendered(case)) if one]
    return [one for one in found if kind in ("", one["kind"])]


def pods(case: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All pods that come of the chart: name of what makes them, metadata and spec."""
    for one in objects(case):
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "Pod":
            yield name, one
        elif "template" in one.get("spec", {}):
            yield name, one["spec"]["template"]


def pod_specs(case: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same, specs alone."""
    for name, pod in pods(case):
        yield name, pod["spec"]


def instance_pods(case: str) -> dict[str, dict[str, Any]]:
    """Specs of the pods that run the EOxServer instance, by their part."""
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod["spec"]
        for _, pod in pods(case)
        if pod["metadata"]["labels"]["app.kubernetes.io/component"] not in ("operator", "test")
    }
