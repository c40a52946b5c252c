"""A release of the chart in a namespace of its own."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import current, images
from tests.cluster.progress import say, step
from tests.cluster.settings import REPOSITORY, current_instance
from tests.cluster.sources import find_image
from tests.deployment.tools import apply, kubectl, run

CHARTS = REPOSITORY / "charts"
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
        apply(_namespace(self.namespace))
        with step(f"custom resources ({CHARTS.name}/wpsjobs-crds)"):
            _helm("wpsjobs-crds", "wpsjobs-crds", self.namespace)
        with step(f"release {self.name!r} in namespace {self.namespace!r}"):
            _helm(self.name, "wpsjobs", self.namespace, self._values(values))
        say(f"WPS is at {self.wps_url}")

    def uninstall(self) -> None:
        """Remove the release and its namespace, with all WpsJobs and results in it."""
        run("helm", "uninstall", self.name, "--namespace", self.namespace, "--wait")
        kubectl("delete", "namespace", self.namespace, "--ignore-not-found", timeout=300)
        volume = self._volume()
        if volume is not None and volume.exists():
            shutil.rmtree(volume)

    def _values(self, extra: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load(VALUES.read_text())
        values["operator"] = {"image": _image("operator")}
        values["eoxserver"] |= {"image": _image("eoxserver"), "url": self.url}
        values["web"]["service"]["nodePort"] = self.node_port
        volume = self._volume()
        if volume is not None:
            volume.mkdir(parents=True, exist_ok=True)
            os.chown(volume, 1000, 1000)
            values["storage"] = {"hostPath": str(volume)}
        elif os.environ.get("STORAGE_CLASS"):
            values["storage"] = {"storageClassName": os.environ["STORAGE_CLASS"]}
        return _merged(values, extra)

    def _volume(self) -> Path | None:
        """The node's directory for the shared volume; None on a cluster of the user's own."""
        if current.is_current(os.environ):
            return None
        return current_instance().volumes / self.namespace


def _namespace(name: str) -> dict[str, Any]:
    # Every pod of the chart passes the strictest standard, and this keeps it so.
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _image(name: str) -> dict[str, str]:
    is_current = current.is_current(os.environ)
    full = images.image_tag(current_instance(), find_image(name), current=is_current)
    repository, _, tag = full.rpartition(":")
    return {"repository": repository, "tag": tag}


def _helm(name: str, chart: str, namespace: str, values: dict[str, Any] | None = None) -> None:
    command = ["helm", "upgrade", "--install", name, str(CHARTS / chart), "-n", namespace]
    command += ["--wait", "--timeout", "5m", "--values", "-"]
    run(*command, stdin=yaml.safe_dump(values or {}))


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merged(old, value) if both else value
    return merged
