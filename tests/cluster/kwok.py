"""Simulated nodes for load tests: kwok plays their kubelet, and no container runs."""

from __future__ import annotations

from typing import Any

from tests.cluster.api import Client
from tests.cluster.processes import PidFile, start_daemon
from tests.cluster.progress import say, step, tail, wait_until
from tests.cluster.settings import HERE, HOST, ClusterError, Instance

STAGES = HERE / "kwok-stages.yaml"
MARK = "kwok.x-k8s.io/node"
"""Key of the annotation by which kwok knows its nodes, and of their label and taint."""
MARK_VALUE = "fake"
LEASE_SECONDS = 40
READY_SECONDS = 60.0


def node_manifest(index: int) -> dict[str, Any]:
    """A simulated node, tainted so that only pods which ask for it come there."""
    name = f"kwok-{index}"
    room = {"cpu": "1k", "memory": "1Ti", "pods": "10k"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {MARK: MARK_VALUE},
            "labels": {MARK: MARK_VALUE, "kubernetes.io/hostname": name},
        },
        "spec": {"taints": [{"key": MARK, "value": MARK_VALUE, "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "capacity": room, "phase": "Running"},
    }


def up(instance: Instance, count: int) -> None:
    """Start kwok unless it runs, and see to it that there are `count` simulated nodes."""
    client = Client(instance)
    if not (instance.state / "started.json").exists():
        raise ClusterError("the cluster is not there. Try: python -m tests.cluster up")
    with step(f"kwok with {count} simulated nodes"):
        _start(instance, client)
        present = set(_nodes(client))
        wanted = [node_manifest(index) for index in range(count)]
        for manifest in wanted:
            if manifest["metadata"]["name"] not in present:
                client.call("POST", "/api/v1/nodes", manifest)
        for name in sorted(present - {manifest["metadata"]["name"] for manifest in wanted}):
            client.call("DELETE", f"/api/v1/nodes/{name}")
        if not wait_until(lambda: sum(_nodes(client).values()) == count, READY_SECONDS):
            raise _failure(instance, f"of {count} nodes, ready are {sum(_nodes(client).values())}")


def down(instance: Instance) -> None:
    """Remove the simulated nodes and stop kwok."""
    client = Client(instance)
    for name in _nodes(client):
        client.call("DELETE", f"/api/v1/nodes/{name}")
    _pid_file(instance).stop(10.0)
    say("kwok is down")


def _pid_file(instance: Instance) -> PidFile:
    return PidFile(instance.pids / "kwok.json")


def _start(instance: Instance, client: Client) -> None:
    pid_file = _pid_file(instance)
    address = f"{HOST}:{instance.ports.kwok}"
    if pid_file.pid() is None:
        command = [
            str(instance.binary("kwok", "kwok", instance.versions.kwok)),
            f"--kubeconfig={instance.config / 'kwok.kubeconfig'}",
            f"--config={STAGES}",
            f"--manage-nodes-with-annotation-selector={MARK}={MARK_VALUE}",
            f"--node-lease-duration-seconds={LEASE_SECONDS}",
            f"--server-address={address}",
            f"--cidr={instance.network.pods}",
            "--v=WARN",
        ]
        start_daemon(command, instance.logs / "kwok.log", pid_file)

    def settled() -> bool:
        try:
            return client.get(f"http://{address}/healthz") == "ok"
        except ClusterError:
            return pid_file.pid() is None

    wait_until(settled, READY_SECONDS)
    if pid_file.pid() is None:
        raise _failure(instance, "has ended right after its start")


def _failure(instance: Instance, what: str) -> ClusterError:
    log = instance.logs / "kwok.log"
    return ClusterError(f"kwok: {what}\n  last lines of {log}:\n{tail(log.read_text())}")


def _nodes(client: Client) -> dict[str, bool]:
    """Name of each simulated node, and whether it is ready."""
    answer = client.call("GET", f"/api/v1/nodes?labelSelector={MARK}%3D{MARK_VALUE}")
    return {
        item["metadata"]["name"]: any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in item.get("status", {}).get("conditions", [])
        )
        for item in answer["items"]
    }
