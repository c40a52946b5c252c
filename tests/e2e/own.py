"""A release of the tests' own, on a small volume that they may fill."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from lxml import etree

from tests.cluster import current
from tests.cluster.settings import ClusterError, current_instance
from tests.deployment.release import Release
from tests.deployment.tools import get, kubectl
from tests.e2e.wps import NAMESPACES, Client, until

VOLUME_MEGABYTES = 256
MAX_QUEUED = 50
PARALLELISM = 4
FOLDERS = ("temp", "perm", "task")


@dataclass(frozen=True)
class Own:
    """The release and what a test does to it."""

    release: Release
    volume: Path

    @classmethod
    def make(cls) -> Own:
        """Mount the volume; skips where the cluster's volumes are not this machine's."""
        if current.is_current(os.environ) or os.geteuid() != 0:
            pytest.skip("needs a volume of its own on the node")
        release = Release(namespace="e2e-eoxserver", node_port=30086)
        volume = current_instance().volumes / release.namespace
        volume.mkdir(parents=True, exist_ok=True)
        own = cls(release, volume)
        if volume.is_mount():
            own._unmount()
        options = f"size={VOLUME_MEGABYTES}m,uid=1000,gid=1000,mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", volume], check=True)
        return own

    def values(self) -> dict[str, Any]:
        """What differs from the usual release."""
        queue = {"name": "default", "maxQueued": MAX_QUEUED, "parallelism": PARALLELISM}
        return {"queues": [queue]}

    def remove(self) -> None:
        """Uninstall it and unmount the volume."""
        try:
            self.release.uninstall()
        except (ClusterError, OSError):  # a busy mount point cannot be removed before
            kubectl("delete", "namespace", self.release.namespace, "--ignore-not-found")
        finally:
            self._unmount()
            shutil.rmtree(self.volume, ignore_errors=True)

    def _unmount(self) -> None:
        # Lazily: containers that are just ending may still hold it.
        subprocess.run(["umount", "--lazy", self.volume], check=False)

    @property
    def client(self) -> Client:
        return Client(self.release)

    def hold(self, held: bool) -> None:
        """Hold the queue, which accepts and starts nothing, or let it go on."""
        self.patch("wpsqueue", "default", suspend=held)

    def patch(self, kind: str, name: str, **spec: Any) -> None:
        body = json.dumps({"spec": spec})
        namespace = self.release.namespace
        kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", body)

    def phase(self, job: str) -> str:
        return str(self.client.wpsjob(job).get("status", {}).get("phase", ""))

    def until_phase(self, job: str, phase: str, seconds: float = 120.0) -> dict[str, Any]:
        until(lambda: self.phase(job) == phase, f"{job} to be {phase}", seconds)
        return dict(self.client.wpsjob(job)["status"])

    def in_web(self, *command: str) -> str:
        """Run a command in the web pod."""
        web, namespace = f"deployment/{self.release.name}-web", self.release.namespace
        return kubectl("exec", web, "-c", "eoxserver", "-n", namespace, "--", *command)

    def manage(self, *arguments: str) -> str:
        """``manage.py wpsjobs``, in the web pod."""
        return self.in_web("python", "manage.py", "wpsjobs", *arguments)

    def purge(self, *jobs: str) -> None:
        if jobs:
            self.manage("purge", *jobs)

    def wpsjobs(self) -> dict[str, dict[str, Any]]:
        """WpsJobs by their names."""
        items = get("wpsjobs", "-n", self.release.namespace)["items"]
        return {item["metadata"]["name"]: item for item in items}

    def folders(self, *parts: str) -> set[str]:
        """Job identifiers that have a folder on the volume."""
        return {path.name for part in parts or FOLDERS for path in (self.volume / part).iterdir()}

    def calls(self, job: str) -> list[dict[str, Any]]:
        """What was called on the Recorder for that job."""
        path = self.volume / "recorded" / f"{job}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def names(self, job: str) -> list[str]:
        return [call["callback"] for call in self.calls(job)]

    def document(self, job: str) -> etree._Element:
        """The stored response, as a client gets it."""
        answer = requests.get(f"{self.release.url}/results/{job}/executeResponse.xml", timeout=30)
        assert answer.status_code == 200, answer.text
        return etree.fromstring(answer.content)

    def until_final(self, job: str, seconds: float = 120.0) -> etree._Element:
        """The final response."""

        def final() -> etree._Element | None:
            document = self.document(job)
            return document if status_of(document) in FINAL else None

        until(lambda: final() is not None, f"the final response of {job}", seconds)
        return self.document(job)


FINAL = ("ProcessSucceeded", "ProcessFailed")


def status_of(document: etree._Element) -> str:
    """ProcessAccepted, ProcessStarted, …"""
    return str(etree.QName(document.find("wps:Status", NAMESPACES)[0]).localname)


def accepted_job(response: requests.Response) -> str:
    """The job identifier of an accepted Execute."""
    assert response.status_code == 200, response.text
    return str(etree.fromstring(response.content).get("statusLocation")).split("/")[-2]
