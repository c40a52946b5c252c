"""The components of the cluster: how each is started, and how it is known to be ready."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api import Client
from tests.cluster.configs import CLIENT_BURST, CLIENT_QPS
from tests.cluster.processes import PidFile
from tests.cluster.settings import HOST, NODE_NAME, ClusterError, Instance

Probe = Callable[[], str]
"""Empty when the component is ready, else the reason why not."""


@dataclass(frozen=True)
class Component:
    """One program that runs in the background."""

    name: str
    command: tuple[str, ...]
    probe: Probe
    pid_file: PidFile
    log: Path
    deadline: float = 60.0
    """Seconds to become ready, on a machine that is busy with other things too."""

    @property
    def healthy(self) -> bool:
        """Runs and answers."""
        return self.pid_file.pid() is not None and not self.probe()


def components(instance: Instance) -> list[Component]:
    """All of them, in the order of their start."""
    client = Client(instance)
    ports = instance.ports

    def make(name: str, command: list[str | Path], probe: Probe) -> Component:
        return Component(
            name=name,
            command=tuple(str(word) for word in command),
            probe=probe,
            pid_file=PidFile(instance.pids / f"{name}.json"),
            log=instance.logs / f"{name}.log",
        )

    def local(port: int, path: str, scheme: str = "http") -> Probe:
        return _answers(client, f"{scheme}://{HOST}:{port}{path}")

    return [
        make("etcd", _etcd(instance), local(ports.etcd_health, "/health")),
        make("containerd", _containerd(instance), lambda: _containerd_answers(instance)),
        make(
            "kube-apiserver", _api_server(instance), _answers(client, f"{instance.api_url}/readyz")
        ),
        make(
            "kube-controller-manager",
            _controller_manager(instance),
            local(ports.controller_manager, "/healthz", "https"),
        ),
        make("kube-scheduler", _scheduler(instance), local(ports.scheduler, "/healthz", "https")),
        make("kubelet", _kubelet(instance), local(ports.kubelet_health, "/healthz")),
        make("kube-proxy", _kube_proxy(instance), local(ports.kube_proxy_health, "/healthz")),
    ]


def _answers(client: Client, url: str) -> Probe:
    def probe() -> str:
        try:
            client.get(url)
        except ClusterError as error:
            return str(error)
        return ""

    return probe


def _containerd_answers(instance: Instance) -> str:
    if not instance.containerd_socket.exists():
        return f"no socket at {instance.containerd_socket}"
    command = ["ctr", "--address", str(instance.containerd_socket), "--timeout", "5s", "version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


def _etcd(instance: Instance) -> list[str | Path]:
    ports = instance.ports
    clients, peers = f"https://{HOST}:{ports.etcd}", f"https://{HOST}:{ports.etcd_peer}"
    ca = instance.pki / "ca.crt"
    return [
        instance.binary("etcd", "etcd", instance.versions.etcd),
        f"--name={NODE_NAME}",
        f"--data-dir={instance.state / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster={NODE_NAME}={peers}",
        f"--listen-metrics-urls=http://{HOST}:{ports.etcd_health}",
        "--client-cert-auth",
        "--peer-client-cert-auth",
        f"--trusted-ca-file={ca}",
        f"--peer-trusted-ca-file={ca}",
        f"--cert-file={instance.pki / 'etcd.crt'}",
        f"--key-file={instance.pki / 'etcd.key'}",
        f"--peer-cert-file={instance.pki / 'etcd.crt'}",
        f"--peer-key-file={instance.pki / 'etcd.key'}",
        # The data need not outlive the machine (a reboot starts afresh), only the processes.
        "--unsafe-no-fsync",
        "--quota-backend-bytes=4294967296",
        "--log-level=warn",
    ]


def _containerd(instance: Instance) -> list[str | Path]:
    return ["containerd", "--config", instance.config / "containerd.toml", "--log-level", "warn"]


def _api_server(instance: Instance) -> list[str | Path]:
    pki, network = instance.pki, instance.network
    return [
        instance.kubernetes_bin / "kube-apiserver",
        f"--bind-address={network.node_address}",
        f"--secure-port={instance.ports.api}",
        f"--advertise-address={network.node_address}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        # No front proxy exists; without these two, the other components log errors all the time.
        f"--requestheader-client-ca-file={pki / 'ca.crt'}",
        "--requestheader-allowed-names=wpsjobs:no-front-proxy",
        f"--etcd-servers=https://{HOST}:{instance.ports.etcd}",
        f"--etcd-cafile={pki / 'ca.crt'}",
        f"--etcd-certfile={pki / 'etcd.crt'}",
        f"--etcd-keyfile={pki / 'etcd.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={network.services}",
        f"--service-node-port-range={network.node_ports}",
        # By this the API server answers on 127.0.0.1 too, though it listens on the bridge alone.
        f"--kubernetes-service-node-port={network.api_node_port}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        "--shutdown-delay-duration=0s",
        f"--audit-policy-file={instance.config / 'audit.yaml'}",
        f"--audit-log-path={instance.audit_log}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=1",
    ]


def _kubeconfigs(instance: Instance, name: str) -> list[str | Path]:
    path = instance.config / f"{name}.kubeconfig"
    return [f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}"]


def _serving(instance: Instance, holder: str) -> list[str | Path]:
    return [
        f"--bind-address={HOST}",
        f"--tls-cert-file={instance.pki / holder}.crt",
        f"--tls-private-key-file={instance.pki / holder}.key",
    ]


def _controller_manager(instance: Instance) -> list[str | Path]:
    pki = instance.pki
    return [
        instance.kubernetes_bin / "kube-controller-manager",
        f"--kubeconfig={instance.config / 'controller-manager.kubeconfig'}",
        *_kubeconfigs(instance, "controller-manager"),
        *_serving(instance, "controller-manager"),
        f"--secure-port={instance.ports.controller_manager}",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        f"--kube-api-qps={CLIENT_QPS}",
        f"--kube-api-burst={CLIENT_BURST}",
        "--concurrent-job-syncs=20",
    ]


def _scheduler(instance: Instance) -> list[str | Path]:
    return [
        instance.kubernetes_bin / "kube-scheduler",
        f"--config={instance.config / 'scheduler.yaml'}",
        *_kubeconfigs(instance, "scheduler"),
        *_serving(instance, "scheduler"),
        f"--secure-port={instance.ports.scheduler}",
    ]


def _kubelet(instance: Instance) -> list[str | Path]:
    return [
        instance.kubernetes_bin / "kubelet",
        f"--config={instance.config / 'kubelet.yaml'}",
        f"--kubeconfig={instance.config / 'kubelet.kubeconfig'}",
        f"--root-dir={instance.state / 'kubelet'}",
        f"--cert-dir={instance.state / 'kubelet' / 'pki'}",
        f"--node-ip={instance.network.node_address}",
        f"--hostname-override={NODE_NAME}",
    ]


def _kube_proxy(instance: Instance) -> list[str | Path]:
    return [
        instance.kubernetes_bin / "kube-proxy",
        f"--config={instance.config / 'kube-proxy.yaml'}",
    ]
