"""What the cluster does to the machine itself (network, control groups, mounts), and undoes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.cluster import cleanup
from tests.cluster.configs import BRIDGE_FILTER
from tests.cluster.processes import boot_id, command_lines, send
from tests.cluster.progress import run, wait_until
from tests.cluster.settings import ClusterError, Instance

SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/route_localnet": "1",  # a NodePort on 127.0.0.1 needs it
    "net/bridge/bridge-nf-call-iptables": "1",  # a pod reaches its own node's pods by a service
}
CNI_RESULTS = Path("/var/lib/cni/results")
CONTAINER_LOG_LINKS = Path("/var/log/containers")
FOREIGN_NAMES = frozenset({"kubelet", "kube-proxy", "k3s-server", "k3s"})
SECONDS_TO_DIE = 15.0


def inside_netns(instance: Instance) -> bool:
    """Whether this process is in the instance's network namespace."""
    if instance.netns is None:
        return True
    try:
        return instance.netns_file.stat().st_ino == Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        return False


def make_netns(instance: Instance) -> None:
    """Make the instance's network namespace unless it is there, and remember who made it."""
    if instance.netns is None or instance.netns_file.exists():
        return
    run(["ip", "netns", "add", instance.netns])
    instance.state.mkdir(parents=True, exist_ok=True)
    _netns_mark(instance).touch()


def remove_netns(instance: Instance) -> None:
    """Remove the network namespace if this program made it."""
    if instance.netns and _netns_mark(instance).exists():
        if instance.netns_file.exists():
            run(["ip", "netns", "delete", instance.netns])
        _netns_mark(instance).unlink()


def _netns_mark(instance: Instance) -> Path:
    return instance.state / "netns-made"


def prepare_network(instance: Instance) -> None:
    """The bridge with the node's address, and the kernel settings that services need."""
    network = instance.network
    _set_sysctls(instance)
    run(["ip", "link", "set", "lo", "up"])
    if not _link_exists(network.bridge):
        run(["ip", "link", "add", network.bridge, "type", "bridge"])
    address = f"{network.node_address}/{network.pods.prefixlen}"
    run(["ip", "address", "replace", address, "dev", network.bridge])
    run(["ip", "link", "set", network.bridge, "up"])


def _link_exists(name: str) -> bool:
    return (
        subprocess.run(["ip", "link", "show", name], capture_output=True, check=False).returncode
        == 0
    )


def _set_sysctls(instance: Instance) -> None:
    saved = _saved_sysctls(instance)
    if not BRIDGE_FILTER.exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "br_netfilter"], capture_output=True, check=False)
    for name, value in SYSCTLS.items():
        path = Path("/proc/sys") / name
        if not path.exists():
            continue
        saved.setdefault(name, path.read_text().strip())
        if path.read_text().strip() != value:
            path.write_text(value)
    _sysctl_file(instance).write_text(json.dumps({"boot_id": boot_id(), "values": saved}))


def _sysctl_file(instance: Instance) -> Path:
    return instance.state / "sysctls.json"


def _saved_sysctls(instance: Instance) -> dict[str, str]:
    try:
        data = json.loads(_sysctl_file(instance).read_text())
        return dict(data["values"]) if data["boot_id"] == boot_id() else {}
    except (OSError, ValueError, KeyError):
        return {}


def prepare_cgroups(instance: Instance) -> None:
    """A parent for the pods' control groups in each hierarchy."""
    for mount in cleanup.cgroup_mounts(_mountinfo()):
        _enable_controllers(Path(mount))
        directory = Path(mount) / instance.cgroup
        directory.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # version 1 starts them empty, and unusable
            inherited, own = Path(mount) / name, directory / name
            if inherited.exists() and own.exists() and not own.read_text().strip():
                own.write_text(inherited.read_text().strip())


def _enable_controllers(mount: Path) -> None:
    """Version 2 gives children only the controllers that are named; version 1 has no such file."""
    available = mount / "cgroup.controllers"
    for name in available.read_text().split() if available.exists() else ():
        with contextlib.suppress(OSError):
            (mount / "cgroup.subtree_control").write_text(f"+{name}")


def refuse_foreign_kubernetes(instance: Instance) -> None:
    """kube-proxy's chains have fixed names: two of them in one network would undo each other."""
    here = Path("/proc/self/ns/net").stat().st_ino
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            name = (directory / "comm").read_text().strip()
            if name not in FOREIGN_NAMES or (directory / "ns/net").stat().st_ino != here:
                continue
            words = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if str(instance.state).encode() + b"/" not in words:
            raise ClusterError(
                f"another Kubernetes runs on this machine ({name}, process {directory.name}).\n"
                "  Try: stop it, or use it with CLUSTER=current"
            )


def clean_up(instance: Instance) -> None:
    """Remove what containers and networking left behind. For when no component runs any more."""
    _kill_containers(instance)
    roots = [str(instance.run), str(instance.state / "kubelet"), str(instance.state / "containerd")]
    for target in cleanup.mounts_below(_mountinfo(), roots):
        run(["umount", "--lazy", target])
    sockets = _shim_sockets(instance)
    for socket in sockets:
        socket.unlink(missing_ok=True)
    _remove_cgroups(instance)
    _remove_cni_results(instance)
    _remove_log_links(instance)
    if inside_netns(instance):
        _remove_rules()
        if _link_exists(instance.network.bridge):
            run(["ip", "link", "delete", instance.network.bridge])
        for name, value in _saved_sysctls(instance).items():
            (Path("/proc/sys") / name).write_text(value)
    _sysctl_file(instance).unlink(missing_ok=True)
    shutil.rmtree(instance.run, ignore_errors=True)


def mounts_below_path(path: Path) -> list[str]:
    """Mounts at or below a directory."""
    return cleanup.mounts_below(_mountinfo(), [str(path)])


def _mountinfo() -> str:
    return Path("/proc/self/mountinfo").read_text()


def _shims(instance: Instance) -> list[int]:
    return [
        pid
        for pid, words in command_lines()
        if str(instance.containerd_socket) in words
        and Path(words[0]).name.startswith("containerd-shim")
    ]


def _kill_containers(instance: Instance) -> None:
    """Shims by their command line, which names our socket; containers by their control group."""

    def gone() -> bool:
        for pid in _shims(instance):
            send(pid, signal.SIGKILL)
        members = _cgroup_members(instance)
        for pid in members:
            send(pid, signal.SIGKILL)
        return not members and not _shims(instance)

    for directory in _cgroups(instance):
        frozen = directory / "freezer.state"
        if frozen.exists() and frozen.read_text().strip() != "THAWED":
            frozen.write_text("THAWED")
    if not wait_until(gone, SECONDS_TO_DIE):
        left = sorted(_cgroup_members(instance) | set(_shims(instance)))
        raise ClusterError(f"processes of pods do not end: {left}. Try: look at them with ps")


def _cgroups(instance: Instance) -> list[Path]:
    """All control groups of pods, children before parents."""
    found: list[Path] = []
    for mount in cleanup.cgroup_mounts(_mountinfo()):
        top = Path(mount) / instance.cgroup
        for directory, _, _ in os.walk(top, topdown=False):
            found.append(Path(directory))
    return found


def _cgroup_members(instance: Instance) -> set[int]:
    members: set[int] = set()
    for directory in _cgroups(instance):
        try:
            members.update(int(pid) for pid in (directory / "cgroup.procs").read_text().split())
        except OSError:
            continue
    return members


def _remove_cgroups(instance: Instance) -> None:
    def removed() -> bool:
        for directory in _cgroups(instance):
            try:
                directory.rmdir()
            except OSError:
                continue
        return not _cgroups(instance)

    if not wait_until(removed, SECONDS_TO_DIE):
        raise ClusterError(f"control groups stay busy: {_cgroups(instance)[:3]}")


def _shim_sockets(instance: Instance) -> list[Path]:
    tasks = instance.run / "containerd" / "io.containerd.runtime.v2.task"
    addresses: dict[str, str] = {}
    for file in tasks.glob("*/*/address"):
        addresses[str(file)] = file.read_text()
    return cleanup.shim_sockets(addresses)


def _remove_cni_results(instance: Instance) -> None:
    files: dict[str, str] = {}
    for file in CNI_RESULTS.glob("*"):
        files[file.name] = file.read_text(errors="replace")
    for name in cleanup.own_cni_results(files, instance.cni_name):
        (CNI_RESULTS / name).unlink(missing_ok=True)


def _remove_log_links(instance: Instance) -> None:
    for link in CONTAINER_LOG_LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{instance.state}/"):
            link.unlink()


def _remove_rules() -> None:
    for family in ("iptables", "ip6tables"):
        if not shutil.which(family):
            continue
        removals = cleanup.iptables_removals(run([f"{family}-save"]))
        if removals:
            run([f"{family}-restore", "--noflush", "--wait", "10"], stdin=removals)
