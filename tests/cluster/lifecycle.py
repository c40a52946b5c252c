"""Starts and stops the cluster."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import host
from tests.cluster.api import Client, node_ready
from tests.cluster.binaries import (
    Target,
    ensure_pause,
    ensure_targets,
    exclusive,
    node_targets,
)
from tests.cluster.certs import ensure_certificates
from tests.cluster.components import Component, components
from tests.cluster.configs import config_texts, write_configs
from tests.cluster.containers import ensure_sandbox_image, remove_stale_containers
from tests.cluster.packages import NODE_PACKAGES, ensure_packages
from tests.cluster.processes import PidFile, boot_id, processes_with_command, start_daemon
from tests.cluster.progress import elapsed, run, say, step, tail, wait_until
from tests.cluster.settings import ClusterError, Instance

STOP_SECONDS = 10.0
NODE_SECONDS = 120.0
EXTRAS = ("kwok",)
"""Programs that other commands start, and that end with the cluster."""

HINTS = {
    "etcd": "the port may be taken, or the disk full",
    "containerd": "`containerd --config … config dump` checks its configuration",
    "kube-apiserver": "etcd must answer; the port may be taken",
    "kubelet": "control groups must be writable: /sys/fs/cgroup",
    "kube-proxy": "`iptables-save` must work: the kernel needs nf_tables or ip_tables",
}


def prepare(instance: Instance) -> list[Target]:
    """All that needs the machine's own network: packages and programs."""
    if os.geteuid() != 0:
        raise ClusterError(
            "a cluster of our own needs root.\n"
            "  Try: run as root, or use a cluster that you have, with CLUSTER=current"
        )
    ensure_packages(NODE_PACKAGES, instance.cache / "logs" / "apt.log")
    targets = node_targets(instance)
    ensure_targets(instance, targets)
    ensure_pause(instance)
    return targets


@contextmanager
def locked(instance: Instance) -> Iterator[None]:
    """Only one process starts or stops the cluster at a time."""
    with exclusive(instance.lock):
        yield


def up(instance: Instance) -> None:
    """Bring the cluster up from whatever state it is in."""
    began = time.monotonic()
    parts = components(instance)
    _adopt(parts)
    running = [part for part in parts if part.pid_file.pid() is not None]
    if len(running) == len(parts) and _same_configuration(instance) and _all_healthy(instance):
        say(f"the cluster is already running ({elapsed(began)})")
        return
    host.refuse_foreign_kubernetes(instance)
    fresh = _is_fresh(instance)
    renewed = ensure_certificates(instance, dt.datetime.now(dt.UTC))
    if running and (renewed or fresh or not _same_configuration(instance)):
        say("the configuration has changed since the cluster was started; restarting it")
        _stop_all(instance, keep=() if renewed or fresh else _unchanged(instance))
    _clean_after_crash(instance)
    if fresh or renewed:
        _wipe(instance)
    _start(instance, fresh=fresh or renewed)
    say(f"the cluster is ready ({elapsed(began)}); its kubeconfig: {instance.kubeconfig}")


def down(instance: Instance, *, purge: bool = False) -> None:
    """Stop everything; only files are left, and with `purge` not even these."""
    began = time.monotonic()
    if not instance.state.exists() and not instance.run.exists():
        say("no cluster is there")
        return
    with step("stopping"):
        _adopt(components(instance))
        _stop_all(instance)
    if (instance.state / "started.json").exists() or instance.run.exists():
        with step("cleaning up"):
            host.clean_up(instance)
    _wipe(instance)
    host.remove_netns(instance)
    if purge:
        with step(f"removing {instance.state}"):
            _remove_tree(instance.state)
    say(f"the cluster is down ({elapsed(began)})")


def _adopt(parts: Sequence[Component]) -> None:
    """Find components whose pid was never written: an interrupt may come right after a start."""
    for part in parts:
        if part.pid_file.pid() is None:
            for pid in processes_with_command(part.command):
                part.pid_file.write(pid)


def _all_healthy(instance: Instance) -> bool:
    healthy = all(part.healthy for part in components(instance))
    return healthy and not node_ready(Client(instance))


def _is_fresh(instance: Instance) -> bool:
    """Whether to begin with an empty etcd: there is none, or it is from before a reboot."""
    started = _started(instance)
    return started.get("boot_id") != boot_id() or not (instance.state / "etcd").exists()


def _started(instance: Instance) -> dict[str, str]:
    try:
        data = json.loads((instance.state / "started.json").read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _same_configuration(instance: Instance) -> bool:
    return _started(instance).get("configuration") == _fingerprint(instance)


def _fingerprint(instance: Instance) -> str:
    """Changes with the components' command lines and with what they read."""
    digest = hashlib.sha256()
    for part in components(instance):
        digest.update("\0".join(part.command).encode())
    for path, text in config_texts(instance).items():
        digest.update(f"{path}\0{text}".encode())
    return digest.hexdigest()[:16]


def _unchanged(instance: Instance) -> Sequence[str]:
    """containerd, if its own configuration is as it was: then the pods go on meanwhile."""
    path = instance.config / "containerd.toml"
    same = path.exists() and path.read_text() == config_texts(instance)[path]
    return ("containerd",) if same else ()


def _clean_after_crash(instance: Instance) -> None:
    """Treat a node whose containerd and kubelet are both gone as one that was switched off."""
    alive = {part.name for part in components(instance) if part.pid_file.pid() is not None}
    if {"containerd", "kubelet"} & alive:
        return
    leftovers = instance.run.exists() or (instance.state / "started.json").exists()
    if leftovers:
        with step("cleaning up after an earlier run"):
            for part in components(instance):
                part.pid_file.stop(STOP_SECONDS)
            host.clean_up(instance)


def _wipe(instance: Instance) -> None:
    """Forget the cluster's contents, not the images on the node."""
    (instance.state / "started.json").unlink(missing_ok=True)
    for name in ("etcd", "kubelet", "pod-logs", "pids"):
        _remove_tree(instance.state / name)
    for name in ("containers", "sandboxes"):
        _remove_tree(instance.state / "containerd" / "io.containerd.grpc.v1.cri" / name)


def _remove_tree(path: Path) -> None:
    mounts = host.mounts_below_path(path)
    if mounts:
        raise ClusterError(f"{path} still holds mounts: {mounts[:3]}. Try: umount them")
    if path.exists():
        shutil.rmtree(path)


def _stop_all(instance: Instance, keep: Sequence[str] = ()) -> None:
    """The kubelet first, so that it does not restart what is being stopped; etcd last."""
    for name in EXTRAS:
        PidFile(instance.pids / f"{name}.json").stop(STOP_SECONDS)
    parts = {part.name: part for part in components(instance) if part.name not in keep}
    parts.pop("kubelet").pid_file.stop(STOP_SECONDS)
    etcd = parts.pop("etcd")
    for part in parts.values():
        part.pid_file.terminate()
    for part in parts.values():
        part.pid_file.stop(STOP_SECONDS)
    etcd.pid_file.stop(STOP_SECONDS)


def _start(instance: Instance, *, fresh: bool) -> None:
    for directory in (instance.run, instance.logs, instance.pids, instance.volumes):
        directory.mkdir(parents=True, exist_ok=True)
    instance.volumes.chmod(0o777)  # pods of any user share it
    host.prepare_network(instance)
    host.prepare_cgroups(instance)
    write_configs(instance)
    started = {"boot_id": boot_id(), "configuration": _fingerprint(instance)}
    (instance.state / "started.json").write_text(json.dumps(started))
    parts = {part.name: part for part in components(instance)}
    # What a kubelet reported before it was killed says nothing about the one that starts now.
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    since = now if parts["kubelet"].pid_file.pid() is None else None
    with step("etcd, containerd and the API server"):
        _launch([parts["etcd"], parts["containerd"], parts["kube-apiserver"]])
        _await([parts["containerd"]])
        if fresh:
            remove_stale_containers(instance)
        ensure_sandbox_image(instance)
        _await([parts["etcd"], parts["kube-apiserver"]])
    with step("controllers, scheduler, kubelet and kube-proxy"):
        rest = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
        _launch([parts[name] for name in rest])
        _await([parts[name] for name in rest])
    with step("node"):
        _await_node(instance, parts["kubelet"], since)


def _launch(parts: Sequence[Component]) -> None:
    for part in parts:
        if part.pid_file.pid() is None:
            start_daemon(part.command, part.log, part.pid_file)


def _await(parts: Sequence[Component]) -> None:
    for part in parts:
        reason = ""

        def settled(part: Component = part) -> bool:
            nonlocal reason
            reason = part.probe()
            return not reason or part.pid_file.pid() is None

        if not wait_until(settled, part.deadline):
            raise _failure(part, f"is not ready after {part.deadline:.0f} s: {reason}")
        if reason:
            raise _failure(part, "has ended right after its start")


def _failure(part: Component, what: str) -> ClusterError:
    log = part.log.read_text(errors="replace") if part.log.exists() else ""
    hint = HINTS.get(part.name, "read the log")
    return ClusterError(
        f"{part.name} {what}\n  last lines of {part.log}:\n{tail(log)}\n  Try: {hint}"
    )


def _await_node(instance: Instance, kubelet: Component, since: dt.datetime | None) -> None:
    client = Client(instance)
    reason = ""

    def ready() -> bool:
        nonlocal reason
        reason = (
            node_ready(client, since)
            or _default_account(client)
            or _local_address(client, instance)
        )
        return not reason

    if not wait_until(ready, NODE_SECONDS):
        raise _failure(
            kubelet, f"runs, but its node is not ready after {NODE_SECONDS:.0f} s: {reason}"
        )


def _default_account(client: Client) -> str:
    """No pod can be made before the controller manager has made its service account."""
    try:
        client.call("GET", "/api/v1/namespaces/default/serviceaccounts/default")
    except ClusterError as error:
        return str(error)
    return ""


def _local_address(client: Client, instance: Instance) -> str:
    """Users reach the API server on 127.0.0.1, by a rule of kube-proxy's."""
    try:
        client.get(f"{instance.local_api_url}/readyz")
    except ClusterError as error:
        return str(error)
    return ""


def kubectl(instance: Instance, *words: str, stdin: str | None = None) -> str:
    """Run kubectl as the administrator."""
    program = instance.kubernetes_bin / "kubectl"
    return run([program, "--kubeconfig", instance.kubeconfig, *words], stdin=stdin)


def running_version(program: Path) -> str:
    """What a program says of its version."""
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
