"""Rights: those that the chart grants, and those that somebody has made use of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Right(NamedTuple):
    """A verb on a resource."""

    group: str
    resource: str
    """With its subresource: wpsjobs/status."""
    verb: str


def granted(objects: Iterable[dict[str, Any]]) -> dict[str, set[Right]]:
    """The rights of each service account, by the Roles that are bound to it."""
    roles, bindings = {}, []
    for one in objects:
        if one["kind"] in ("Role", "ClusterRole"):
            roles[one["kind"], one["metadata"]["name"]] = one
        elif one["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            bindings.append(one)
    found: dict[str, set[Right]] = {}
    for binding in bindings:
        role = roles[binding["roleRef"]["kind"], binding["roleRef"]["name"]]
        for subject in binding["subjects"]:
            found.setdefault(subject["name"], set()).update(_of(role))
    return found


def used(log: Path, namespace: str) -> dict[str, set[Right]]:
    """What the service accounts of *namespace* have asked for and were allowed to."""
    return _summary(event for event in _events(log, namespace) if not _is_refused(event))


def refused(log: Path, namespace: str, since: str) -> dict[str, set[Right]]:
    """What they were not allowed to, from *since* (RFC 3339) on."""
    return _summary(
        event
        for event in _events(log, namespace)
        if _is_refused(event) and event["requestReceivedTimestamp"] >= since
    )


def _events(log: Path, namespace: str) -> Iterator[dict[str, Any]]:
    prefix = f"system:serviceaccount:{namespace}:"
    # The file before it was rotated, too.
    for path in [*log.parent.glob(f"{log.stem}-*{log.suffix}"), log]:
        with path.open() as lines:
            for line in lines:
                if prefix in line:
                    event = json.loads(line)
                    if event["user"]["username"].startswith(prefix) and "objectRef" in event:
                        yield event


def _is_refused(event: dict[str, Any]) -> bool:
    return bool((event.get("responseStatus") or {}).get("code") == 403)


def _summary(events: Iterable[dict[str, Any]]) -> dict[str, set[Right]]:
    """The rights that they took, by the name of the service account."""
    found: dict[str, set[Right]] = {}
    for event in events:
        target = event["objectRef"]
        parts = (target["resource"], target.get("subresource"))
        right = Right(target.get("apiGroup", ""), "/".join(filter(None, parts)), event["verb"])
        account = event["user"]["username"].rpartition(":")[2]
        found.setdefault(account, set()).add(right)
    return found


def _of(role: dict[str, Any]) -> set[Right]:
    return {
        Right(group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
