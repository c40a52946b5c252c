"""What the charts render: pods of the strictest standard, and a fence that forgets no field."""

from __future__ import annotations

import json
import re
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

VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "test processes": {"eoxserver": {"testProcesses": True}, "storage": {"hostPath": "/srv"}},
    "without web": {"web": {"enabled": False}},
    "cluster-wide": {"operator": {"clusterWide": True}},
    "several namespaces": {"operator": {"extraNamespaces": ["one", "two"]}},
    "two queues": {"queues": [{"name": "default"}, {"name": "night", "parallelism": 1}]},
    "everywhere else": {
        "imagePullSecrets": [{"name": "registry"}],
        **{
            part: {
                "nodeSelector": {"disk": "ssd"},
                "tolerations": [{"key": "a", "operator": "Exists"}],
                "affinity": {"nodeAffinity": {}},
            }
            for part in ("operator", "web", "worker", "housekeeper")
        },
    },
}
CASES = pytest.mark.parametrize("case", VALUES)


@cache
def _helm() -> str | None:
    try:
        return shutil.which("helm", path=environment()["PATH"])
    except (ClusterError, OSError):
        return None


pytestmark = pytest.mark.skipif(_helm() is None, reason="helm is not there (make cluster)")


@cache
def rendered(case: str) -> str:
    return run(
        *("helm", "template", "wpsjobs", str(CHART), "--kube-version", "1.34"),
        *("--namespace", NAMESPACE, "--values", "-"),
        stdin=json.dumps(VALUES[case]),
    )


def objects(case: str, kind: str = "") -> list[dict[str, Any]]:
    found = [one for one in yaml.safe_load_all(rendered(case)) if one]
    return [one for one in found if kind in ("", one["kind"])]


def pod_specs(case: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All pods that come of the chart: of its Deployments, and of its queues' templates."""
    for one in objects(case):
        if "template" in one.get("spec", {}):
            yield f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"]["spec"]


@CASES
def test_every_pod_satisfies_the_restricted_standard(case: str) -> None:
    seen = set()
    for name, pod in pod_specs(case):
        seen.add(name.split()[0])
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
        for volume in pod.get("volumes", []):
            assert set(volume) - {"name"} <= allowed, name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            assert own["readOnlyRootFilesystem"] is True, name
            assert not own.get("privileged"), name
            assert not any("hostPort" in port for port in container.get("ports", [])), name
    assert seen == {"Deployment", "WpsQueue"}


@CASES
def test_every_container_says_what_it_needs(case: str) -> None:
    for name, pod in pod_specs(case):
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["resources"]["requests"], name


@CASES
def test_what_is_mounted_is_there(case: str) -> None:
    for name, pod in pod_specs(case):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes, name


@CASES
def test_every_service_account_is_made(case: str) -> None:
    made = {one["metadata"]["name"] for one in objects(case, "ServiceAccount")}
    for name, pod in pod_specs(case):
        # That of job pods is set by the operator.
        assert name.startswith("WpsQueue") or pod["serviceAccountName"] in made
    (operator,) = [
        one for one in objects(case, "Deployment") if "operator" in one["metadata"]["name"]
    ]
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables["WPSJOBS_WORKER_SERVICE_ACCOUNT"] in made


@CASES
def test_one_operator_at_a_time(case: str) -> None:
    (operator,) = [
        one for one in objects(case, "Deployment") if "operator" in one["metadata"]["name"]
    ]
    assert operator["spec"]["replicas"] == 1
    assert operator["spec"]["strategy"] == {"type": "Recreate"}


@CASES
def test_no_right_is_a_wildcard_or_reads_secrets(case: str) -> None:
    for role in objects(case, "Role") + objects(case, "ClusterRole"):
        for rule in role["rules"]:
            for part in ("apiGroups", "resources", "verbs"):
                assert "*" not in rule.get(part, []), role["metadata"]["name"]
            assert not {"secrets", "pods/exec", "roles"} & set(rule["resources"])


def test_the_worker_may_only_read_and_patch_the_status() -> None:
    (role,) = [r for r in objects("default", "Role") if r["metadata"]["name"].endswith("-worker")]
    rights = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights - {("namespaces", "get")} == {
        ("wpsjobs", "get"),
        ("wpsjobs", "list"),
        ("wpsjobs", "watch"),
        ("wpsjobs/status", "patch"),
    }


def test_the_operator_serves_the_namespaces_it_has_rights_in() -> None:
    roles = {
        one["metadata"].get("namespace", NAMESPACE)
        for one in objects("several namespaces", "Role")
        if any("wpsjobs/finalizers" in rule["resources"] for rule in one["rules"])
    }
    assert roles == {NAMESPACE, "one", "two"}
    assert f"{NAMESPACE},one,two" in rendered("several namespaces")
    assert "WPSJOBS_NAMESPACES" not in rendered("cluster-wide")


def status_fields() -> set[str]:
    crd = yaml.safe_load((REPOSITORY / "crds" / "wpsjobs.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return set(schema["properties"]["status"]["properties"])


def test_the_worker_fence_names_every_status_field_but_progress() -> None:
    (policy,) = [
        one
        for one in objects("default", "ValidatingAdmissionPolicy")
        if one["metadata"]["name"].endswith("-worker")
    ]
    compared = set()
    for validation in policy["spec"]["validations"]:
        expression = " ".join(validation["expression"].split())
        found = re.fullmatch(
            r"has\(oldObject\.status\.(\w+)\) == has\(object\.status\.\1\) "
            r"&& \(!has\(object\.status\.\1\) \|\| object\.status\.\1 == oldObject\.status\.\1\)",
            expression,
        )
        if found:
            compared.add(found[1])
    assert compared == status_fields() - {"progress"}
    assert policy["spec"]["failurePolicy"] == "Fail"
    assert policy["spec"]["matchConstraints"]["resourceRules"][0]["resources"] == ["wpsjobs/status"]


def test_the_fence_is_bound_and_denies() -> None:
    policies = {one["metadata"]["name"] for one in objects("default", "ValidatingAdmissionPolicy")}
    bindings = objects("default", "ValidatingAdmissionPolicyBinding")
    assert {binding["spec"]["policyName"] for binding in bindings} == policies
    assert all(binding["spec"]["validationActions"] == ["Deny"] for binding in bindings)


def test_the_charts_resources_are_links_to_the_source_of_truth() -> None:
    for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
        link = REPOSITORY / "charts" / "wpsjobs-crds" / "templates" / path.name
        assert link.is_symlink()
        assert link.resolve() == path
    # Helm reads templates: what it would take for its own language must not be there.
    assert not any("{{" in path.read_text() for path in (REPOSITORY / "crds").glob("*.yaml"))


@pytest.mark.cluster
@CASES
def test_the_api_server_takes_the_rendering(case: str) -> None:
    wanted = [
        one
        for one in objects(case)
        # These would need namespaces that are not there.
        if one["metadata"].get("namespace", NAMESPACE) == NAMESPACE
    ]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    run(
        *("kubectl", "apply", "--server-side", "--dry-run=server", "--namespace", NAMESPACE),
        *("--validate=strict", "--force-conflicts", "-f", "-"),
        stdin=body,
    )
