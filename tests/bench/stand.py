"""What every measure stands on: simulated nodes, a namespace, a queue, an operator process."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.bench.api import Api, Raw, RefusedError, custom
from tests.cluster import current, host, kwok, lifecycle
from tests.cluster.progress import say
from tests.cluster.settings import ClusterError, Instance, current_instance
from tests.deployment.release import install_resources
from tests.deployment.tools import environment
from tests.integration.kube import Kube, Space
from tests.integration.operator_process import Operator

PROCESS = "Echo"
OPERATOR, TOKEN_SECONDS = "operator", 4 * 3600
RIGHTS = "rbac.authorization.k8s.io"
NODES = 4
ON_KWOK: Raw = {
    "nodeSelector": {kwok.MARK: kwok.MARK_VALUE},
    "tolerations": [{"key": kwok.MARK, "operator": "Exists", "effect": "NoSchedule"}],
    "terminationGracePeriodSeconds": 0,
}
"""Where pods are to run, as simulated nodes have it."""
PAUSE = 0.1
"""Seconds between two looks of whoever waits."""


def prepare() -> None:
    """Start the cluster unless it runs, with simulated nodes and the custom resources."""
    instance = _own_instance()
    lifecycle.prepare(instance)
    host.make_netns(instance)
    _enter(instance)
    with lifecycle.locked(instance):
        lifecycle.up(instance)
    kwok.up(instance, NODES)
    install_resources()


def _own_instance() -> Instance:
    if current.is_current(os.environ):
        raise ClusterError("CLUSTER=current is not for benchmarks: they need simulated nodes")
    return current_instance()


def _enter(instance: Instance) -> None:
    """Start this program again inside the instance's network namespace, where it has one."""
    if not host.inside_netns(instance):
        command = ["nsenter", f"--net={instance.netns_file}", sys.executable, *sys.orig_argv[1:]]
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


class Stand:
    """A namespace with a process, for queues and an operator."""

    def __init__(self, space: Space, folder: Path) -> None:
        self.space = space
        self.folder = folder

    @property
    def namespace(self) -> str:
        """Its name."""
        return self.space.name

    def operator(self, **settings: str) -> Operator:
        """One that serves the namespace, not started yet.

        It shows the token of a service account, as in its pod: the API server remembers for a while
        whose a token is, and looks at a certificate anew at each request.
        """
        return Operator(self.namespace, self.folder, KUBECONFIG=self._kubeconfig(), **settings)

    def queue(self, name: str, seconds: float = 0.0, **spec: Any) -> None:
        """A queue whose pods run for as long on simulated nodes."""
        spec = {"maxQueued": 256, "parallelism": 100, "keepPodsSeconds": 0, **spec}
        self.space.custom("wpsqueues", name, template=template(seconds), **spec)

    def _kubeconfig(self) -> str:
        """Path of a kubeconfig of a service account that may do everything in the namespace."""
        path = self.folder / "operator.kubeconfig"
        if not path.exists():
            config = yaml.safe_load(Path(environment()["KUBECONFIG"]).read_text())
            config["users"] = [{"name": OPERATOR, "user": {"token": self._token()}}]
            for entry in config["contexts"]:
                entry["context"]["user"] = OPERATOR
            path.write_text(yaml.safe_dump(config))
        return str(path)

    def _token(self) -> str:
        request, namespace = self.space.kube.request, self.namespace
        self.space.create("serviceaccounts", {"metadata": {"name": OPERATOR}})
        account = {"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}
        role = {"apiGroup": RIGHTS, "kind": "ClusterRole", "name": "cluster-admin"}
        binding = {"metadata": {"name": OPERATOR}, "roleRef": role, "subjects": [account]}
        request("POST", f"/apis/{RIGHTS}/v1/namespaces/{namespace}/rolebindings", binding)
        path = self.space.path("serviceaccounts", OPERATOR, "token")
        answer = request("POST", path, {"spec": {"expirationSeconds": TOKEN_SECONDS}})
        return str(answer["status"]["token"])

    def api(self) -> Api:
        """A client for the namespace."""
        return Api(self.namespace)


@contextmanager
def stand() -> Iterator[Stand]:
    """A namespace of its own, removed at the end."""
    space = Space(Kube(), f"bench-{uuid.uuid4().hex[:8]}")
    space.make()
    try:
        space.custom("wpsprocesses", "echo", identifier=PROCESS)
        with tempfile.TemporaryDirectory(prefix="wpsjobs-bench-") as folder:
            yield Stand(space, Path(folder))
    finally:
        space.remove()


def template(seconds: float) -> Raw:
    """The pod template of a pod that runs for as long; the container is never started."""
    container = {"name": "worker", "image": "example.org/none"}
    return {
        "metadata": {"annotations": {"wpsjobs.test/duration": f"{round(seconds * 1000)}ms"}},
        "spec": {**ON_KWOK, "containers": [container]},
    }


def wpsjob(name: str, queue: str, **spec: Any) -> Raw:
    """A WpsJob with an Execute request of the usual size."""
    execute = {
        "inputs": [
            {"id": "text", "data": "a text of some length, as an input has it"},
            {"id": "extent", "bbox": [47.0, 11.0, 48.5, 12.5], "crs": "EPSG:4326"},
            {"id": "scene", "href": "https://example.org/scenes/20260131T101031.tif"},
        ],
        "outputs": [{"id": "result", "mimeType": "image/tiff", "asReference": True}],
    }
    owner = {"user": "someone", "remoteAddress": "192.0.2.7"}
    return custom(
        "wpsjobs", name, process=PROCESS, queue=queue, execute=execute, owner=owner, **spec
    )


async def until(question: Callable[[], Awaitable[bool]], what: str, seconds: float = 120.0) -> None:
    """Ask until the answer is yes; raises ClusterError after *seconds*."""
    deadline = time.monotonic() + seconds
    while not await question():
        if time.monotonic() > deadline:
            raise ClusterError(f"not within {seconds:.0f} s: {what}")
        # Polling with a deadline; what is waited for needs the processor, too.
        await asyncio.sleep(PAUSE)


async def settle(api: Api, *, keep_wpsjobs: bool = False) -> None:
    """Remove WpsJobs, Kubernetes Jobs and pods, and wait until none is left."""
    plurals = ["jobs", "pods"] if keep_wpsjobs else ["wpsjobs", "jobs", "pods"]

    async def empty() -> bool:
        return not any([await api.count(plural) for plural in plurals])

    for plural in plurals:
        try:
            await api.delete_all(plural)
        except RefusedError as error:
            say(f"  {plural} are deleted later: {error}")
    await until(empty, "an empty namespace", 300)


def resident_megabytes(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
