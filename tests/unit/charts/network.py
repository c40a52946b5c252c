"""What NetworkPolicies allow, as the API reference of networking.k8s.io/v1 says it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class End:
    """One end of a connection: a pod, or an address outside of the cluster."""

    name: str
    labels: dict[str, str] = field(default_factory=dict, hash=False)
    namespace: str | None = None
    """None is an address outside."""
    address: str = "203.0.113.7"


def allowed(
    policies: Sequence[dict[str, Any]], source: End, target: End, port: int, protocol: str = "TCP"
) -> bool:
    """Whether a connection is let through, at both of its ends.

    A pod that no policy selects for a direction is open in it. What comes from the pod's own node
    always passes and is not asked here.
    """
    return _passes(policies, "Egress", source, target, port, protocol) and _passes(
        policies, "Ingress", target, source, port, protocol
    )


def _passes(
    policies: Sequence[dict[str, Any]], way: str, pod: End, other: End, port: int, protocol: str
) -> bool:
    if pod.namespace is None:
        return True
    mine = [
        policy["spec"]
        for policy in policies
        if policy["metadata"].get("namespace", pod.namespace) == pod.namespace
        and _selects(policy["spec"]["podSelector"], pod.labels)
        and way in policy["spec"]["policyTypes"]
    ]
    rules = [rule for spec in mine for rule in spec.get(way.lower()) or []]
    peers = "to" if way == "Egress" else "from"
    return not mine or any(
        _matches_port(rule.get("ports"), port, protocol)
        and _matches_peer(rule.get(peers), other, pod.namespace)
        for rule in rules
    )


def _matches_port(ports: list[dict[str, Any]] | None, port: int, protocol: str) -> bool:
    if not ports:
        return True
    return any(
        one.get("protocol", "TCP") == protocol
        and ("port" not in one or one["port"] <= port <= one.get("endPort", one["port"]))
        for one in ports
    )


def _matches_peer(peers: list[dict[str, Any]] | None, other: End, namespace: str) -> bool:
    return not peers or any(_is_peer(peer, other, namespace) for peer in peers)


def _is_peer(peer: dict[str, Any], other: End, namespace: str) -> bool:
    if "ipBlock" in peer:
        address, block = ipaddress.ip_address(other.address), peer["ipBlock"]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(hole) for hole in block.get("except", [])
        )
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": other.namespace}
        if not _selects(peer["namespaceSelector"], labels):
            return False
    elif other.namespace != namespace:
        return False
    return _selects(peer.get("podSelector", {}), other.labels)


def _selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    if set(selector) - {"matchLabels"}:
        raise NotImplementedError(f"selector {selector}")
    wanted: dict[str, str] = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items()
