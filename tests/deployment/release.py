"""A release of the chart in a namespace of its own."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import current, images
from tests.cluster.binaries import exclusive
from tests.cluster.progress import say, step
from tests.cluster.settings import REPOSITORY, ClusterError, current_instance
from tests.cluster.sources import find_image
from tests.deployment.tools import apply, get, kubectl, run

CHARTS = REPOSITORY / "charts"
RESOURCES_NAMESPACE = "wps"
"""Where Helm keeps its record of the custom resources, which are the cluster's."""
RESOURCES_LOCK = current_instance().cache / "locks" / "resources"
"""Held by whoever installs them, for Helm fails where two upgrade the same release at once."""
READY_SECONDS = 180.0
MOST_RESTARTS = 3
"""A part may start before the API server lets it, but not as often as this."""
_PARTS = "app.kubernetes.io/name=wpsjobs"
VALUES = Path(__file__).with_name("values.yaml")


@dataclass(frozen=True)
class Release:
    """Where a release is and how this machine reaches it."""

    namespace: str = "wps"
    node_port: int = 30080
    name: str = "wpsjobs"

    @property
    def url(self) -> str:
        """The service's URL, as this machine reaches it."""
        return f"http://127.0.0.1:{self.node_port}"

    @property
    def wps_url(self) -> str:
        """Where WPS requests go."""
        return f"{self.url}/ows"

    def install(self, **values: Any) -> None:
        """Install or upgrade it, and wait until every part is ready."""
        install_resources()
        make_namespace(self.namespace)
        with step(f"release {self.name!r} in namespace {self.namespace!r}"):
            self._adopt_lease()
            _helm(self.name, "wpsjobs", self.namespace, self.values(values))
            self._wait()
        say(f"WPS is at {self.wps_url}")

    def _adopt_lease(self) -> None:
        """Give Helm a Lease that an operator made for itself, before the chart had one."""
        lease = ("lease", f"{self.name}-operator", "-n", self.namespace)
        if kubectl("get", *lease, "--ignore-not-found", "-o", "name").strip():
            kubectl("label", *lease, "--overwrite", "app.kubernetes.io/managed-by=Helm")
            owner = (f"release-name={self.name}", f"release-namespace={self.namespace}")
            names = (f"meta.helm.sh/{each}" for each in owner)
            kubectl("annotate", *lease, "--overwrite", *names)

    def roll_back(self, revision: int) -> None:
        """Bring back what an earlier revision installed, and wait until every part is ready."""
        place = (self.name, str(revision), "--namespace", self.namespace)
        run("helm", "rollback", *place, "--timeout", "5m")
        self._wait()

    def test(self) -> str:
        """What `helm test` and its pod say; raises ClusterError where it fails."""
        return run("helm", "test", self.name, "--namespace", self.namespace, "--logs")

    def uninstall(self) -> None:
        """Remove the release and its namespace, with all WpsJobs and results in it."""
        # The claim lasts as long as a pod names it, and be it one that has ended.
        kubectl("delete", "wpsjobs", "--all", "-n", self.namespace, "--wait=false")
        self.uninstall_release()
        self.remove_namespace()

    def uninstall_release(self) -> None:
        """Remove the release alone; the chart's notes say what stays."""
        run("helm", "uninstall", self.name, "--namespace", self.namespace, "--wait")

    def remove_namespace(self) -> None:
        """Remove the namespace with all that is left in it, and the volume's directory."""
        kubectl("delete", "namespace", self.namespace, "--ignore-not-found", timeout=300)
        volume = self._volume()
        if volume is not None and volume.exists():
            shutil.rmtree(volume)

    def make_volume(self) -> None:
        """A volume for the claim that the chart makes, as a storage class would provide it.

        It has the namespace's name, and is to be deleted after the namespace.
        """
        folder = self._make_volume_folder()
        assert folder, "the cluster's own storage class is there"
        apply(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": self.namespace},
                "spec": {
                    "capacity": {"storage": "10Gi"},
                    "accessModes": ["ReadWriteMany"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "claimRef": {"namespace": self.namespace, "name": f"{self.name}-data"},
                    "hostPath": {"path": str(folder), "type": "Directory"},
                },
            }
        )

    def remove_volume(self) -> None:
        """Remove it, of a namespace that is gone."""
        kubectl("delete", "persistentvolume", self.namespace, "--ignore-not-found")

    def _wait(self) -> None:
        """Wait until all parts are ready; a part that keeps falling over ends the wait at once."""
        deadline, before = time.monotonic() + READY_SECONDS, self._restarts()
        while not self._ready():
            for (pod, container), restarts in self._restarts().items():
                if restarts - before.get((pod, container), 0) >= MOST_RESTARTS:
                    raise ClusterError(self._why(pod, container))
            if time.monotonic() > deadline:
                pods = kubectl("get", "pods", "-n", self.namespace, "-l", _PARTS)
                raise ClusterError(f"not ready after {READY_SECONDS:.0f} s:\n{pods}")
            time.sleep(0.5)

    def _restarts(self) -> dict[tuple[str, str], int]:
        """How often each container, by pod, has fallen over."""
        return {
            (pod["metadata"]["name"], status["name"]): status["restartCount"]
            for pod in get("pods", "-n", self.namespace, "-l", _PARTS)["items"]
            for status in pod["status"].get("containerStatuses", [])
        }

    def _ready(self) -> bool:
        """Whether every Deployment runs its newest version, and that alone."""
        items = get("deployments", "-n", self.namespace, "-l", _PARTS)["items"]
        return bool(items) and all(_rolled_out(item) for item in items)

    def _why(self, pod: str, container: str) -> str:
        """The last words of a container that fell over."""
        logs = kubectl("logs", pod, "-c", container, "-n", self.namespace, "--tail=15")
        return f"pod {pod} keeps falling over; its last words:\n{logs}"

    def values(self, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The chart's values on this cluster, completed by *extra*."""
        values: dict[str, Any] = yaml.safe_load(VALUES.read_text())
        values["operator"] = {"image": _image("operator")}
        values["eoxserver"] |= {"image": _image("eoxserver"), "url": self.url}
        values["web"]["service"]["nodePort"] = self.node_port
        volume = self._make_volume_folder()
        if volume is not None:
            values["storage"] = {"hostPath": str(volume)}
        elif os.environ.get("STORAGE_CLASS"):
            values["storage"] = {"storageClassName": os.environ["STORAGE_CLASS"]}
        return _merged(values, dict(extra or {}))

    def _make_volume_folder(self) -> Path | None:
        volume = self._volume()
        if volume is not None:
            volume.mkdir(parents=True, exist_ok=True)
            os.chown(volume, 1000, 1000)
        return volume

    def _volume(self) -> Path | None:
        """The node's directory for the shared volume; None on a cluster of the user's own."""
        if current.is_current(os.environ):
            return None
        return current_instance().volumes / self.namespace


def _rolled_out(deployment: dict[str, Any]) -> bool:
    wanted = deployment["spec"]["replicas"]
    status = deployment["status"]
    return bool(
        status.get("observedGeneration") == deployment["metadata"]["generation"]
        and status.get("replicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
        and status.get("readyReplicas", 0) == wanted
    )


def install_resources() -> None:
    """Install or upgrade the custom resources, once for all releases."""
    make_namespace(RESOURCES_NAMESPACE)
    with exclusive(RESOURCES_LOCK), step("custom resources"):
        # Somebody may have applied them by hand before, for a test without a release.
        _helm("wpsjobs-crds", "wpsjobs-crds", RESOURCES_NAMESPACE, None, "--take-ownership")


def make_namespace(name: str) -> None:
    """Make a namespace in which every pod has to pass the strictest standard, as the chart's do."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def _image(name: str) -> dict[str, str]:
    is_current = current.is_current(os.environ)
    full = images.recorded_name(current_instance(), find_image(name), current=is_current)
    repository, _, tag = full.rpartition(":")
    return {"repository": repository, "tag": tag}


def _helm(
    name: str, chart: str, namespace: str, values: dict[str, Any] | None, *flags: str
) -> None:
    command = ["helm", "upgrade", "--install", name, str(CHARTS / chart), "-n", namespace]
    command += ["--timeout", "5m", "--values", "-", *flags]
    run(*command, stdin=yaml.safe_dump(values or {}))


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old, value) if both else value
    return merged
