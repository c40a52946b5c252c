"""The test cluster itself: it survives being killed, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster import cleanup
from tests.cluster.configs import sandbox_image
from tests.cluster.processes import PidFile, read_stat
from tests.cluster.progress import wait_until
from tests.cluster.settings import HOST, REPOSITORY, Instance, make_instance

NAME = "second"
"""An instance in a network namespace of its own, so that a cluster in use is not disturbed."""

POD_SECONDS = 60.0
POD = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: sleeper, namespace: default}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: {sandbox_image()}
      imagePullPolicy: Never
"""

pytestmark = [
    pytest.mark.cluster_lifecycle,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a cluster"),
]


@dataclass(frozen=True)
class Traces:
    """What an instance may leave on the machine."""

    rules: tuple[str, ...]
    links: tuple[str, ...]
    sysctls: tuple[str, ...]
    mounts: tuple[str, ...]
    cgroups: tuple[str, ...]
    processes: tuple[int, ...]
    cni_results: tuple[str, ...]


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """The second instance, in a network namespace made here, so that what is left in it is seen."""
    instance = make_instance(NAME, dict(os.environ))
    cluster("down", "--purge")
    assert instance.netns is not None
    subprocess.run(["ip", "netns", "add", instance.netns], check=True)
    yield instance
    cluster("down", "--purge")
    subprocess.run(["ip", "netns", "delete", instance.netns], check=True)


def cluster(*words: str, fails: bool = False) -> str:
    """Run the cluster's command line; what it said is returned."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster", *words],
        env={**os.environ, "WPSJOBS_CLUSTER_NAME": NAME},
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def inside(instance: Instance, *command: str | Path, stdin: str | None = None) -> str:
    """Run a program in the instance's network namespace."""
    done = subprocess.run(
        ["nsenter", f"--net={instance.netns_file}", *map(str, command)],
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def kubectl(instance: Instance, *words: str, stdin: str | None = None) -> str:
    """Run kubectl against the API server's address on 127.0.0.1."""
    program = instance.kubernetes_bin / "kubectl"
    return inside(instance, program, "--kubeconfig", instance.kubeconfig, *words, stdin=stdin)


def traces(instance: Instance) -> Traces:
    """What is there of the instance right now."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    saved = [inside(instance, f"{family}-save") for family in ("iptables", "ip6tables")]
    links = json.loads(inside(instance, "ip", "-json", "address"))
    sysctls = ("net.ipv4.ip_forward", "net.ipv4.conf.all.route_localnet")
    return Traces(
        rules=tuple(rule for text in saved for rule in cleanup.rules(text)),
        links=tuple(link["ifname"] for link in links),
        sysctls=tuple(inside(instance, "sysctl", "-n", *sysctls).split()),
        mounts=tuple(cleanup.mounts_below(mountinfo, [str(instance.state), str(instance.run)])),
        cgroups=tuple(
            mount
            for mount in cleanup.cgroup_mounts(mountinfo)
            if (Path(mount) / instance.cgroup).exists()
        ),
        processes=tuple(processes(instance)),
        cni_results=tuple(
            file.name
            for file in Path("/var/lib/cni/results").glob("*")
            if file.name.startswith(instance.cni_name)
        ),
    )


def processes(instance: Instance) -> list[int]:
    """All of the instance: its components, shims, and what runs in its pods' control groups.

    A process that has ended counts no more, even if the machine's first process has yet to reap it.
    """
    found: set[int] = set()
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            words = (directory / "cmdline").read_bytes().decode()
            groups = (directory / "cgroup").read_text()
        except OSError:
            continue
        ours = f"{instance.state}/" in words or f"{instance.run}/" in words
        if not ours and f"/{instance.cgroup}/" not in groups:
            continue
        stat = read_stat(int(directory.name))
        if stat and stat.alive:
            found.add(int(directory.name))
    return sorted(found)


def shim_sockets(instance: Instance) -> list[Path]:
    """Sockets of the shims that run now."""
    tasks = instance.run / "containerd" / "io.containerd.runtime.v2.task"
    addresses = {str(file): file.read_text() for file in tasks.glob("*/*/address")}
    return cleanup.shim_sockets(addresses)


def kill_all(instance: Instance) -> None:
    """As a crash of the machine would, but for the kernel."""
    while left := processes(instance):
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_until(lambda: not processes(instance), 5)


def start_pod(instance: Instance) -> None:
    kubectl(instance, "apply", "-f", "-", stdin=POD)
    kubectl(instance, "wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")


def restarts(instance: Instance) -> int:
    """How often the pod's container was started again."""
    path = "jsonpath={.status.containerStatuses[0].restartCount}"
    return int(kubectl(instance, "get", "pod", "sleeper", "-o", path) or 0)


def pids(instance: Instance) -> dict[str, int | None]:
    """Component → pid."""
    return {file.stem: PidFile(file).pid() for file in instance.pids.glob("*.json")}


def test_a_second_up_is_quick_and_harmless(instance: Instance) -> None:
    cluster("up")
    before = pids(instance)
    began = time.monotonic()
    assert "already running" in cluster("up")
    assert time.monotonic() - began < 15
    assert pids(instance) == before
    assert "Ready" in cluster("status")


def test_up_brings_back_a_cluster_whose_every_process_was_killed(instance: Instance) -> None:
    cluster("up")
    start_pod(instance)
    sockets = shim_sockets(instance)
    assert sockets
    kill_all(instance)
    cluster("status", fails=True)
    cluster("up")
    assert wait_until(lambda: restarts(instance) >= 1, POD_SECONDS), "the pod was not restarted"
    kubectl(instance, "wait", "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
    assert not set(sockets) & {path for path in sockets if path.exists()}


def test_up_restarts_only_the_component_that_died(instance: Instance) -> None:
    cluster("up")
    start_pod(instance)
    count, before = restarts(instance), pids(instance)
    victims = ("kube-apiserver", "containerd")
    for name in victims:
        assert PidFile(instance.pids / f"{name}.json").signal(signal.SIGKILL)
    cluster("up")
    after = pids(instance)
    assert {name for name in before if before[name] != after[name]} == set(victims)
    assert restarts(instance) == count


def test_a_lost_pid_file_is_found_again(instance: Instance) -> None:
    cluster("up")
    before = pids(instance)
    (instance.pids / "etcd.json").unlink()
    assert "already running" in cluster("up")
    assert pids(instance) == before


def test_a_changed_configuration_restarts_the_cluster_but_not_its_pods(instance: Instance) -> None:
    cluster("up")
    start_pod(instance)
    count, before = restarts(instance), pids(instance)
    started = instance.state / "started.json"
    started.write_text(json.dumps(json.loads(started.read_text()) | {"configuration": "other"}))
    assert "configuration has changed" in cluster("up")
    after = pids(instance)
    assert {name for name in before if before[name] == after[name]} == {"containerd"}
    assert restarts(instance) == count


def test_a_reboot_gives_a_fresh_cluster(instance: Instance) -> None:
    cluster("up")
    start_pod(instance)
    kill_all(instance)
    for file in (instance.state / "started.json", *instance.pids.glob("*.json")):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"boot_id": "an earlier one"}))
    cluster("up")
    assert "sleeper" not in kubectl(instance, "get", "pods")
    start_pod(instance)


def test_a_start_that_fails_says_what_failed(instance: Instance) -> None:
    cluster("down")
    listen = f"import socket; s = socket.create_server(('{HOST}', {instance.ports.etcd})); input()"
    command = ["nsenter", f"--net={instance.netns_file}", sys.executable, "-c", listen]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as occupant:
        try:
            taken = str(instance.ports.etcd)
            assert wait_until(lambda: taken in inside(instance, "ss", "-lnt"), 10)
            said = cluster("up", fails=True)
        finally:
            occupant.communicate("\n")
    assert "etcd has ended" in said
    assert "address already in use" in said
    assert "Try:" in said
    cluster("up")


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_down_leaves_nothing(instance: Instance, killed: bool) -> None:
    cluster("down")
    before = traces(instance)
    assert before == Traces((), ("lo",), before.sysctls, (), (), (), ())
    cluster("up")
    start_pod(instance)
    sockets = shim_sockets(instance)
    during = traces(instance)
    assert all((during.rules, during.mounts, during.cgroups, during.processes))
    if killed:
        kill_all(instance)
    cluster("down")
    assert traces(instance) == before
    assert not [path for path in sockets if path.exists()]


def test_purge_removes_the_data_too(instance: Instance) -> None:
    cluster("up")
    cluster("down", "--purge")
    assert not instance.state.exists()
    assert not instance.run.exists()
