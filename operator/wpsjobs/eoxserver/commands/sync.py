"""``manage.py wpsjobs sync``: from the instance's configuration to WpsQueue and WpsProcesses."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from eoxserver.core.config import get_eoxserver_config, get_instance_config_path
from eoxserver.services.ows.wps.util import get_processes

from wpsjobs.api.names import (
    API_VERSION,
    GROUP,
    VERSION,
    WPSPROCESS_KIND,
    WPSPROCESS_PLURAL,
    WPSQUEUE_KIND,
    WPSQUEUE_PLURAL,
)
from wpsjobs.eoxserver.client import Cluster, ClusterError, NotFoundError
from wpsjobs.eoxserver.commands.common import Instance
from wpsjobs.eoxserver.config import SECTION
from wpsjobs.eoxserver.documents import identifier_of

HELP = "make or update the WpsQueue and a WpsProcess for each asynchronous process"

Raw = dict[str, Any]

QUEUE_KEYS = {"max_queued_jobs": "maxQueued", "num_workers": "parallelism"}
"""Keys of the former back-end's, and what they are in a WpsQueue."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="add what is missing and change nothing that is set: the Helm chart's values stay",
    )
    parser.add_argument(
        "--helm-release",
        metavar="NAME",
        help="let this release take over what is made, should its values come to name it",
    )


def run(options: dict[str, Any], out: Any) -> None:
    instance = Instance.load()
    try:
        metadata = taken_over_by(options["helm_release"], instance.cluster.namespace)
        dry_run, keep = options["dry_run"], options["keep"]
        writer = Writer(instance.cluster, out, metadata, dry_run=dry_run, keep=keep)
        writer.sync_queue(instance.config.queue, queue_limits())
        writer.sync_processes(
            {
                identifier_of(process): retention_seconds(process)
                for process in get_processes()
                if getattr(process, "asynchronous", False)
            }
        )
    except ClusterError as error:
        raise CommandError(str(error)) from error


def queue_limits() -> dict[str, int]:
    """``spec`` of the WpsQueue as far as eoxserver.conf says it. Raises CommandError."""
    parser = get_eoxserver_config()
    limits = {}
    for key, field in QUEUE_KEYS.items():
        value = parser.get(SECTION, key, fallback="").strip()
        if not value:
            continue
        if not value.isascii() or not value.isdigit():
            raise CommandError(
                f"{key} in the section [{SECTION}] of {get_instance_config_path()} must be a "
                f"number, not {value!r}."
            )
        limits[field] = int(value)
    return limits


def retention_seconds(process: Any) -> int | None:
    """``retention_period`` of a process in seconds, or None where it has none."""
    period = getattr(process, "retention_period", None)
    return int(period.total_seconds()) if isinstance(period, timedelta) else None


def object_name(identifier: str) -> str:
    """A name for the WpsProcess of that identifier (a DNS label)."""
    name = re.sub(r"[^a-z0-9]+", "-", identifier.lower()).strip("-")[:63].strip("-")
    return name or "process"


def taken_over_by(release: str | None, namespace: str) -> Raw:
    """Metadata by which Helm takes an object for one of *release*'s; empty without a release.

    Helm would else refuse an upgrade whose values name a process that is there already. What it
    took over it leaves there, as the chart's own (``helm.sh/resource-policy: keep``).
    """
    if release is None:
        return {}
    owner = {"release-name": release, "release-namespace": namespace}
    return {
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "helm.sh/resource-policy": "keep",
            **{f"meta.helm.sh/{key}": value for key, value in owner.items()},
        },
    }


class Writer:
    """Makes and updates resources and says so."""

    def __init__(
        self, cluster: Cluster, out: Any, metadata: Raw, *, dry_run: bool, keep: bool
    ) -> None:
        """*metadata* is that of new objects; with *keep*, what is set already stays as it is."""
        self._cluster, self._out, self._dry_run, self._keep = cluster, out, dry_run, keep
        self._metadata = metadata

    def sync_queue(self, name: str, spec: dict[str, int]) -> None:
        path = self._path(WPSQUEUE_PLURAL)
        try:
            existing = self._cluster.raw_get(f"{path}/{name}")
        except NotFoundError:
            self._create(path, WPSQUEUE_KIND, name, dict(spec))
            self._out.write(
                f"The WpsQueue {name} has no pod template yet: the Helm chart writes one, or see "
                "spec.template in its schema (kubectl explain wpsqueue.spec.template)."
            )
            return
        self._update(f"{path}/{name}", f"WpsQueue {name}", existing["spec"], dict(spec))

    def sync_processes(self, wanted: dict[str, int | None]) -> None:
        path = self._path(WPSPROCESS_PLURAL)
        items = self._cluster.raw_get(path)["items"]
        known = {item["spec"]["identifier"]: item for item in items}
        for identifier, seconds in sorted(wanted.items()):
            spec: Raw = {} if seconds is None else {"ttlSecondsAfterFinished": seconds}
            found = known.get(identifier)
            if found is None:
                spec = {"identifier": identifier, **spec}
                self._create(path, WPSPROCESS_KIND, object_name(identifier), spec)
            else:
                name = found["metadata"]["name"]
                self._update(f"{path}/{name}", f"WpsProcess {name}", found["spec"], spec)

    def _create(self, path: str, kind: str, name: str, spec: Raw) -> None:
        body = {
            "apiVersion": API_VERSION,
            "kind": kind,
            "metadata": {"name": name, **self._metadata},
            "spec": spec,
        }
        if not self._dry_run:
            self._cluster.raw_post(path, body)
        self._out.write(f"{kind} {name}: created {_words(spec)}")

    def _update(self, path: str, what: str, old: Raw, new: Raw) -> None:
        changes = {
            key: value
            for key, value in new.items()
            if old.get(key) != value and not (self._keep and key in old)
        }
        if not changes:
            self._out.write(f"{what}: unchanged")
            return
        if not self._dry_run:
            self._cluster.raw_patch(path, {"spec": changes})
        self._out.write(f"{what}: set {_words(changes)}")

    def _path(self, plural: str) -> str:
        return f"/apis/{GROUP}/{VERSION}/namespaces/{self._cluster.namespace}/{plural}"


def _words(spec: Raw) -> str:
    return ", ".join(f"{key}={value}" for key, value in spec.items())
