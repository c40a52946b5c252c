"""The installed product under fault: a queue of a test's own, its pods and their processes."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import urllib3
from lxml import etree

from tests.cluster import current
from tests.cluster.processes import PidFile, read_stat
from tests.cluster.settings import REPOSITORY, current_instance
from tests.deployment.release import Release
from tests.integration.kube import Kube, RefusedError, Space

T = TypeVar("T")

WPS = "{http://www.opengis.net/wps/1.0.0}"
READY_SECONDS = 120.0
JOB_SECONDS = 90.0


class Product:
    """The release in namespace wps, and a queue in it that a test has for itself."""

    def __init__(self, kube: Kube) -> None:
        if current.is_current(os.environ):
            pytest.skip("the node, its processes and its volume are not ours")
        self.release = Release()
        self.space = Space(kube, self.release.namespace)
        self.queues: list[str] = []

    def queue(
        self, change: Callable[[dict[str, Any]], object] = lambda _: None, **spec: Any
    ) -> str:
        """A new queue with the template of the default one, as *change* alters its pod's spec."""
        name = f"faults-{uuid.uuid4().hex[:8]}"
        template = copy.deepcopy(self.space.get("wpsqueues", "default")["spec"]["template"])
        change(template["spec"])
        spec = {"backoff": {"initialSeconds": 1}, **spec}
        self.space.custom("wpsqueues", name, template=template, **spec)
        self.queues.append(name)
        return name

    def create(self, queue: str, process: str, inputs: Mapping[str, str], **spec: Any) -> str:
        """Make a WpsJob; its name."""
        name = f"job-{uuid.uuid4().hex[:10]}"
        execute = {"inputs": [{"id": key, "data": value} for key, value in inputs.items()]}
        self.space.custom("wpsjobs", name, process=process, queue=queue, execute=execute, **spec)
        return name

    def echo(self, queue: str, **spec: Any) -> str:
        """A WpsJob that ends at once."""
        return self.create(queue, "Echo", {"text": "again"}, **spec)

    def sleep(self, queue: str, seconds: float, **spec: Any) -> str:
        """A WpsJob that runs for a while."""
        return self.create(queue, "Sleep", {"seconds": str(seconds)}, **spec)

    def wait_phase(self, name: str, phase: str, seconds: float = JOB_SECONDS) -> dict[str, Any]:
        """The status of a WpsJob, once it is in *phase*."""
        return self.space.wait_phase(name, phase, seconds)

    def wait_progress(self, name: str) -> None:
        """Wait until the process of a WpsJob is known to run."""
        self.space.wait(lambda: self.space.status(name).get("progress"), "progress", JOB_SECONDS)

    def document(self, name: str) -> str:
        """The status in the stored response: ProcessSucceeded, …"""
        path = self.volume / "perm" / name / "executeResponse.xml"
        status = etree.fromstring(path.read_bytes()).find(f"{WPS}Status")
        assert status is not None
        return str(etree.QName(status[0]).localname)

    def tiles(self, queue: str, number: int, seconds: float = 0.0, **spec: Any) -> str:
        """A fan-out over as many tiles, each of which takes as long; *spec* may add inputs."""
        inputs = {"seconds": str(seconds), **spec.pop("inputs", {})}
        parts = [f"tile {index}" for index in range(number)]
        return self.create(queue, "Tiles", inputs, parts=parts, **spec)

    def begun(self, name: str) -> list[int]:
        """The attempts that have begun to execute the process."""
        return sorted(int(one) for one in self.begun_parts(name) if one.isdigit())

    def begun_parts(self, name: str) -> list[str]:
        """The launches of parts that have begun, with the attempts: ``1-p0``, …, ``1``."""
        return sorted(path.stem for path in (self.volume / "task" / name).glob("*.begun"))

    @property
    def volume(self) -> Path:
        """The shared volume, as the node sees it."""
        return current_instance().volumes / self.release.namespace

    def pod_of(self, name: str, attempt: int = 1) -> str:
        """Name of the pod of an attempt."""
        return self.space.pod_of(f"{name}-{attempt}")

    # -- health ------------------------------------------------------------------------------

    def restore(self) -> None:
        """Bring back what was killed, and remove what the test has made."""
        bring_up()
        patiently(lambda: self.space.wait(self._is_ready, "all parts ready", READY_SECONDS))
        for item in self._own_jobs():
            with contextlib.suppress(RefusedError):
                self.space.delete("wpsjobs", item["metadata"]["name"])
        self.space.wait(lambda: not self._own_jobs() and not self._own_pods(), "their end", 90)
        for name in self.queues:
            self.space.delete("wpsqueues", name)
        self.queues.clear()

    def _is_ready(self) -> bool:
        path = f"/apis/apps/v1/namespaces/{self.space.name}/deployments"
        items = self.space.kube.request("GET", path)["items"]
        return all(
            item["status"].get("readyReplicas", 0) == item["spec"]["replicas"] for item in items
        )

    def _own_jobs(self) -> list[Any]:
        return [i for i in self.space.items("wpsjobs") if i["spec"]["queue"] in self.queues]

    def _own_pods(self) -> list[Any]:
        if not self.queues:
            return []
        return self.space.items(
            "pods", f"?labelSelector=wps.eoxserver.org/queue+in+({','.join(self.queues)})"
        )


def bring_up() -> None:
    """Start again what of the cluster has died."""
    subprocess.run(
        [sys.executable, "-m", "tests.cluster", "up"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def kill_component(name: str) -> None:
    """SIGKILL one of the cluster's own programs."""
    assert PidFile(current_instance().pids / f"{name}.json").signal(signal.SIGKILL)


def patiently(ask: Callable[[], T], seconds: float = READY_SECONDS) -> T:
    """What *ask* answers once the API server does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except (OSError, urllib3.exceptions.HTTPError, RefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def supervisor_of(kubernetes_job: str) -> int:
    """Pid, on the node, of the first process in the container of an attempt."""
    wanted = f"WPSJOBS_KUBERNETES_JOB={kubernetes_job}".encode()
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (directory / "cmdline").read_bytes().split(b"\0")
            if b"wpsjobs.worker" not in words:
                continue
            if wanted in (directory / "environ").read_bytes().split(b"\0"):
                return int(directory.name)
    raise AssertionError(f"no process of {kubernetes_job} on this node")


def parent_of(pid: int) -> int:
    """Pid of the parent: of a container's first process, that is containerd's shim."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def has_ended(pid: int) -> bool:
    """Whether a process has ended; its parent need not have asked."""
    stat = read_stat(pid)
    return stat is None or not stat.alive
