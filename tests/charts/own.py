"""The first release: what the tests do to it, and what they look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deployment.release import Release, make_namespace
from tests.deployment.tools import apply, get, kubectl
from tests.e2e.wps import Client, until

MARK = "RELEASE_MARK"
"""An environment variable of the pods, by which a test tells whose template they are of."""
SETTINGS = """\
from demo.settings import *
EOXS_PROCESSES = [*EOXS_PROCESSES, "processes_own.Greeting"]
"""
PROCESSES = '''\
import datetime

from eoxserver.services.ows.wps.parameters import LiteralData


class Greeting:
    """Says hello."""

    identifier = "Greeting"
    title = "Greeting"
    synchronous = False
    asynchronous = True
    retention_period = datetime.timedelta(days=1)
    inputs = (("name", LiteralData("name", str)),)
    outputs = (("greeting", LiteralData("greeting", str)),)

    def execute(self, name, **kwargs):
        return f"Hello {name}"
'''


@dataclass(frozen=True)
class One:
    """A release with one slot, so that a second WpsJob waits."""

    release: Release
    folder: Path
    """The node's directory of its volume."""

    @property
    def client(self) -> Client:
        return Client(self.release)

    @property
    def namespace(self) -> str:
        return self.release.namespace

    def install(self, mark: str = "one", **values: Any) -> None:
        """Install or upgrade it, with *mark* in the environment of the instance's pods."""
        eoxserver = {"env": [{"name": MARK, "value": mark}], **values.pop("eoxserver", {})}
        queue = {"name": "default", "maxQueued": 50, "parallelism": 1}
        self.release.install(
            eoxserver=eoxserver, queues=[queue], storage={"hostPath": ""}, **values
        )

    def make_instance(self) -> None:
        """The ConfigMap with an instance of one's own, which has a process more."""
        make_namespace(self.namespace)
        data = {"settings_own.py": SETTINGS, "processes_own.py": PROCESSES}
        metadata = {"name": "instance", "namespace": self.namespace}
        apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def revision(self) -> int:
        """How often it was installed, upgraded or rolled back."""
        return max(
            int(item["metadata"]["labels"]["version"])
            for item in get("secrets", "-n", self.namespace, "-l", "owner=helm")["items"]
        )

    def sleep(self, seconds: float) -> str:
        """Have a process run for a while; the WpsJob's name."""
        execution = self.client.execute("Sleep", {"seconds": str(seconds)})
        return str(execution.statusLocation).split("/")[-2]

    def status(self, job: str) -> dict[str, Any]:
        return dict(self.client.wpsjob(job).get("status", {}))

    def until_phase(self, job: str, phase: str) -> None:
        until(lambda: self.status(job).get("phase") == phase, f"{job} to be {phase}")

    def until_running(self, job: str) -> None:
        """Wait until its process has said something."""
        until(lambda: self.status(job).get("progress"), f"progress of {job}")

    def marks(self, job: str) -> list[str]:
        """The marks of all Kubernetes Jobs that there were for *job*."""
        found = get("jobs", "-n", self.namespace, "-l", f"wps.eoxserver.org/job={job}")["items"]
        return [mark_of(one["spec"]["template"]["spec"]["containers"][0]) for one in found]

    def queue_mark(self) -> str:
        """The mark of the pods to come."""
        queue = get("wpsqueue", "default", "-n", self.namespace)
        return mark_of(queue["spec"]["template"]["spec"]["containers"][0])

    def names(self, kind: str) -> set[str]:
        return {item["metadata"]["name"] for item in get(kind, "-n", self.namespace)["items"]}


def mark_of(container: dict[str, Any]) -> str:
    return next(str(one["value"]) for one in container["env"] if one["name"] == MARK)


def everything(namespace: str, *, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """All objects in *namespace*, of all kinds that can be listed."""
    kinds = kubectl("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
    wanted = ",".join(kind for kind in kinds if kind not in without)
    listed = json.loads(kubectl("get", wanted, "-n", namespace, "-o", "json"))
    return list(listed["items"])
