"""Who may do what: the rights of each service account, from the rendered chart."""

from __future__ import annotations

import shutil
from typing import Any

import yaml

from tests.cluster.settings import REPOSITORY, ClusterError
from tests.deployment.tools import environment, run

RELEASE = "wpsjobs"


def have_helm() -> bool:
    """Whether the chart can be rendered here."""
    try:
        return shutil.which("helm", path=environment()["PATH"]) is not None
    except (ClusterError, OSError):
        return False


def table() -> str:
    """A row for each resource that a part of the release may do something with."""
    objects = [one for one in yaml.safe_load_all(_rendered()) if one]
    roles = {
        (one["kind"], one["metadata"]["name"]): one["rules"]
        for one in objects
        if one["kind"] in {"Role", "ClusterRole"}
    }
    rows = []
    for binding in objects:
        if binding["kind"] != "RoleBinding":
            continue
        for subject in binding["subjects"]:
            who = subject["name"].removeprefix(f"{RELEASE}-")
            reference = binding["roleRef"]
            rules = roles[reference["kind"], reference["name"]]
            rows += [(who, *row) for row in _rules(rules)]
    lines = [f"| {who} | {what} | {verbs} |" for who, what, verbs in sorted(set(rows))]
    return "\n".join(["| service account | resource | may |", "|---|---|---|", *lines])


def _rules(rules: list[dict[str, Any]]) -> list[tuple[str, str]]:
    found = []
    for rule in rules:
        names = "".join(f" `{name}`" for name in rule.get("resourceNames", ()))
        for resource in rule["resources"]:
            found.append((f"{resource}{names and ' named'}{names}", ", ".join(rule["verbs"])))
    return found


def _rendered() -> str:
    chart = REPOSITORY / "charts" / "wpsjobs"
    return run(
        *("helm", "template", RELEASE, str(chart), "--namespace", "wps"),
        *("--kube-version", "1.34", "--values", "-"),
        stdin=yaml.safe_dump({}),
    )
