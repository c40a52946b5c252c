"""What the charts render: pods of the strictest standard, and a fence that forgets no field."""

from __future__ import annotations

import json
import re

import yaml

from tests.deployment.tools import run
from tests.unit.charts.rendering import (
    CASES,
    CHART,
    KUBE_VERSION,
    NAMESPACE,
    REPOSITORY,
    VALUES,
    needs_helm,
    objects,
    pod_specs,
    rendered,
)

pytestmark = needs_helm


@CASES
def test_helm_finds_no_fault(case: str) -> None:
    flags = ("--strict", "--kube-version", KUBE_VERSION, "--values", "-")
    run("helm", "lint", str(CHART), *flags, stdin=json.dumps(VALUES[case]))


def test_helm_finds_no_fault_in_the_chart_of_the_resources() -> None:
    run("helm", "lint", "--strict", str(CHART.with_name("wpsjobs-crds")))


@CASES
def test_every_pod_satisfies_the_restricted_standard(case: str) -> None:
    seen = set()
    for name, pod in pod_specs(case):
        seen.add(name.split()[0])
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security.get("runAsUser") != 0, name
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
    assert seen >= {"Deployment", "WpsQueue", "Job"}


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
        # That of job pods is set by the operator; what needs no rights has no token.
        if not name.startswith("WpsQueue") and pod.get("automountServiceAccountToken", True):
            assert pod["serviceAccountName"] in made, name


@CASES
def test_the_operator_knows_the_job_pods_account(case: str) -> None:
    made = {one["metadata"]["name"] for one in objects(case, "ServiceAccount")}
    for operator in [
        one for one in objects(case, "Deployment") if "operator" in one["metadata"]["name"]
    ]:
        (container,) = operator["spec"]["template"]["spec"]["containers"]
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert variables["WPSJOBS_WORKER_SERVICE_ACCOUNT"] in made


@CASES
def test_one_operator_at_a_time(case: str) -> None:
    operators = [
        one["spec"] for one in objects(case, "Deployment") if "operator" in one["metadata"]["name"]
    ]
    assert len(operators) == (case != "without operator")
    for operator in operators:
        assert operator["replicas"] == 1
        assert operator["strategy"] == {"type": "Recreate"}


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
        ("wpsjobs", "watch"),
        ("wpsjobs/status", "patch"),
    }


def test_the_operator_serves_the_namespaces_it_has_rights_in() -> None:
    roles = {
        one["metadata"].get("namespace", NAMESPACE)
        for one in objects("several namespaces", "Role")
        if any("wpsqueues/status" in rule["resources"] for rule in one["rules"])
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
