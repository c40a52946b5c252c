"""Configuration files of the components, as data."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.binaries import pause_tag
from tests.cluster.settings import HOST, NODE_NAME, Instance

CLIENT_QPS = 1000
"""The components' defaults of 20 to 50 requests a second would be what a load test measures."""

CLIENT_BURST = 2000

SYNC_PERIOD = "100ms"
"""Tests wait for new services; kube-proxy's default is 1 s."""

BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")

CNI_PLUGINS = "/usr/lib/cni"


def sandbox_image() -> str:
    """The image of each pod's sandbox, by the hash of its source."""
    return f"localhost/wpsjobs-pause:{pause_tag()}"


def containerd_toml(instance: Instance) -> str:
    """containerd with directories, a socket and a sandbox image of its own."""
    return f"""\
version = 2
root = "{instance.state}/containerd"
state = "{instance.run}/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{instance.containerd_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox_image()}"
  stream_server_address = "{HOST}"
  stream_server_port = "0"
  # Inside a container or a micro-VM the right to lower an OOM score is often missing.
  restrict_oom_score_adj = true
  # Below a directory of our own, so that what is left over is known to be ours.
  netns_mounts_under_state_dir = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{instance.config}/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def cni_config(instance: Instance) -> dict[str, Any]:
    """Pods on a bridge. No masquerading: nothing in a pod needs the outside."""
    return {
        "cniVersion": "1.0.0",
        "name": instance.cni_name,
        "plugins": [
            {
                "type": "bridge",
                "bridge": instance.network.bridge,
                "isGateway": True,
                "isDefaultGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": str(instance.run / "cni"),
                    "ranges": [[{"subnet": str(instance.network.pods)}]],
                },
            }
        ],
    }


def kubelet_config(instance: Instance) -> dict[str, Any]:
    """The node agent."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": instance.network.node_address,
        "port": instance.ports.kubelet,
        "readOnlyPort": 0,
        "healthzBindAddress": HOST,
        "healthzPort": instance.ports.kubelet_health,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(instance.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(instance.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(instance.pki / "kubelet-server.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{instance.cgroup}",
        "containerRuntimeEndpoint": f"unix://{instance.containerd_socket}",
        "failSwapOn": False,
        "imageGCHighThresholdPercent": 100,  # images come by import and could not be pulled again
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "kubeAPIQPS": CLIENT_QPS,
        "kubeAPIBurst": CLIENT_BURST,
        "maxPods": 250,
        "oomScoreAdj": 0,
        "podLogsDir": str(instance.state / "pod-logs"),
        "resolvConf": str(instance.config / "resolv.conf"),
        "volumePluginDir": str(instance.state / "kubelet" / "volume-plugins"),
        "syncFrequency": "10s",
    }


def kube_proxy_config(instance: Instance) -> dict[str, Any]:
    """Services, with NodePorts on 127.0.0.1 alone."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NODE_NAME,
        "clientConnection": _client(instance, "kube-proxy"),
        "clusterCIDR": str(instance.network.pods),
        "nodePortAddresses": ["127.0.0.0/8"],
        # Without the bridge filter an answer between two pods would bypass the address translation.
        "iptables": {"minSyncPeriod": SYNC_PERIOD}
        | ({} if BRIDGE_FILTER.exists() else {"masqueradeAll": True}),
        "healthzBindAddress": f"{HOST}:{instance.ports.kube_proxy_health}",
        "metricsBindAddress": f"{HOST}:{instance.ports.kube_proxy_metrics}",
        # 0 leaves the machine's connection-tracking limits alone, which may not be ours to set.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s"}
        | {"tcpEstablishedTimeout": "0s"},
        "oomScoreAdj": 0,
    }


def scheduler_config(instance: Instance) -> dict[str, Any]:
    """The scheduler, without its client's usual brake."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": _client(instance, "scheduler"),
        "leaderElection": {"leaderElect": False},
    }


def audit_policy() -> dict[str, Any]:
    """Requests of service accounts, but not Kubernetes' own: which rights are used."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
            {"level": "None"},
        ],
    }


def _client(instance: Instance, name: str) -> dict[str, Any]:
    return {
        "kubeconfig": str(instance.config / f"{name}.kubeconfig"),
        "qps": CLIENT_QPS,
        "burst": CLIENT_BURST,
    }


def kubeconfig(instance: Instance, holder: str, server: str, embed: bool = False) -> dict[str, Any]:
    """A kubeconfig for the holder of a certificate; with `embed`, it may be copied elsewhere."""

    def material(name: str, file: str) -> dict[str, str]:
        path = instance.pki / file
        if embed:
            return {f"{name}-data": _base64(path)}
        return {name: str(path)}

    context = f"wpsjobs-{instance.name}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {"server": server, **material("certificate-authority", "ca.crt")},
            }
        ],
        "users": [
            {
                "name": holder,
                "user": material("client-certificate", f"{holder}.crt")
                | material("client-key", f"{holder}.key"),
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": holder}}],
        "current-context": context,
    }


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def write_configs(instance: Instance) -> None:
    """Write every configuration file that is missing or differs."""
    admin = kubeconfig(instance, "admin", instance.local_api_url, embed=True)
    for path, text in {**config_texts(instance), instance.kubeconfig: _yaml(admin)}.items():
        _write(path, text)


def config_texts(instance: Instance) -> dict[Path, str]:
    """Path and content of what the components read."""
    config = instance.config
    documents = {
        "kubelet.yaml": kubelet_config(instance),
        "kube-proxy.yaml": kube_proxy_config(instance),
        "scheduler.yaml": scheduler_config(instance),
        "audit.yaml": audit_policy(),
    }
    for holder in ("controller-manager", "scheduler", "kubelet", "kube-proxy", "kwok"):
        documents[f"{holder}.kubeconfig"] = kubeconfig(instance, holder, instance.api_url)
    texts = {config / name: _yaml(document) for name, document in documents.items()}
    texts[config / "containerd.toml"] = containerd_toml(instance)
    texts[config / "cni" / "10-pods.conflist"] = json.dumps(cni_config(instance), indent=2)
    # Nothing listens there, so that a look-up in a pod fails at once instead of after a time-out.
    texts[config / "resolv.conf"] = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
    return texts


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)


def _write(path: Path, text: str) -> None:
    """Leave a file alone that is right already: kube-proxy ends when its own is written."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
