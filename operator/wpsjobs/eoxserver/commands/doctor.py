"""``manage.py wpsjobs doctor``: is all as it should be, and what to do where it is not."""

from __future__ import annotations

import argparse
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils.module_loading import import_string
from eoxserver.services.ows.wps.util import get_processes
from eoxserver.services.ows.wps.v10.exceptionhandler import (
    WPS10ExceptionHandler as PlainHandler,
)

from wpsjobs.api.names import (
    GROUP,
    VERSION,
    WORKER_CONTAINER,
    WPSJOB_PLURAL,
    WPSPROCESS_PLURAL,
    WPSQUEUE_PLURAL,
)
from wpsjobs.eoxserver.apps import BACKEND
from wpsjobs.eoxserver.client import ClusterError, NotFoundError, Raw
from wpsjobs.eoxserver.commands.common import Instance
from wpsjobs.eoxserver.documents import identifier_of
from wpsjobs.eoxserver.exceptionhandler import WPS10ExceptionHandler
from wpsjobs.eoxserver.storage import MARKER

HELP = "check configuration, volumes, URLs, API access and rights"

VERBS = {
    "web": ("create", "get", "list", "watch", "patch", "delete"),
    "worker": ("get", "watch"),
    "housekeeper": ("get", "list", "watch", "delete"),
}
"""What each part does with WpsJobs."""
URL_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    advice: str | None = None
    """What to do; None where all is well."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--role", choices=sorted(VERBS), default="web", help="the part whose rights are checked"
    )
    parser.add_argument(
        "--job-manifest",
        action="store_true",
        help="print a Kubernetes Job that looks from the inside of a job pod: kubectl create -f -",
    )
    parser.add_argument(
        "--service-account",
        default="wpsjobs-worker",
        metavar="NAME",
        help="of the job pods, for --job-manifest (default: %(default)s)",
    )


def run(options: dict[str, Any], out: Any) -> None:
    if options["job_manifest"]:
        out.write(json.dumps(job_manifest(Instance.load(), options["service_account"]), indent=2))
        return
    bad = 0
    for finding in examine(options["role"]):
        out.write(f"{'ok  ' if finding.advice is None else 'BAD '} {finding.what}")
        if finding.advice is not None:
            bad += 1
            out.write(f"     {finding.advice}")
    if bad:
        raise CommandError(f"{bad} findings")


def job_manifest(instance: Instance, service_account: str) -> Raw:
    """A Kubernetes Job like those of the queue, whose command is this one.

    Raises ClusterError. This account may not create it, and needs not: an administrator may.
    """
    base = f"/apis/{GROUP}/{VERSION}/namespaces/{instance.cluster.namespace}"
    queue = instance.cluster.raw_get(f"{base}/{WPSQUEUE_PLURAL}/{instance.config.queue}")
    pod: Raw = queue["spec"].get("template", {}).get("spec", {})
    if not pod:
        raise CommandError(f"The WpsQueue {instance.config.queue} has no pod template.")
    command = ["python", "manage.py", "wpsjobs", "doctor", "--role", "worker"]
    containers = [
        {**container, "command": command, "args": []}
        for container in pod["containers"]
        if container["name"] == WORKER_CONTAINER
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "doctor-", "namespace": instance.cluster.namespace},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 3600,
            "template": {
                "spec": {
                    **pod,
                    "containers": containers,
                    "restartPolicy": "Never",
                    "serviceAccountName": service_account,
                }
            },
        },
    }


def examine(role: str) -> Iterator[Finding]:
    """All findings, in the order in which they are to be put right."""
    yield from _settings()
    try:
        instance = Instance.load()
        instance.config.check_directories()
    except ImproperlyConfigured as error:
        yield Finding("configuration and directories", str(error))
        return
    yield Finding(f"configuration and directories ({instance.config.source})")
    yield from _volumes(instance)
    if role != "worker":
        # A job pod neither serves results nor needs to reach them.
        yield from _leftovers(instance)
        yield from _url_base(instance)
    yield from _cluster(instance, role)


def _settings() -> Iterator[Finding]:
    backends = getattr(settings, "EOXS_ASYNC_BACKENDS", ())
    yield Finding(
        f"EOXS_ASYNC_BACKENDS = {list(backends)}",
        None if BACKEND in backends else f"Add {BACKEND!r} to it in the settings.",
    )
    handlers = [import_string(path) for path in getattr(settings, "EOXS_EXCEPTION_HANDLERS", ())]
    ours = f"{WPS10ExceptionHandler.__module__}.{WPS10ExceptionHandler.__qualname__}"
    if not any(issubclass(handler, PlainHandler) for handler in handlers):
        advice = f"Without it ServerBusy is answered as 400 and not as 503. Add {ours!r}."
    elif not any(issubclass(handler, WPS10ExceptionHandler) for handler in handlers):
        advice = f"ServerBusy lacks Retry-After. Replace EOxServer's handler by {ours!r}."
    else:
        advice = None
    yield Finding("EOXS_EXCEPTION_HANDLERS has the handler of WPS 1.0", advice)
    for process in get_processes():
        if getattr(process, "asynchronous", False) and not getattr(process, "identifier", None):
            yield Finding(
                f"process {identifier_of(process)}",
                "An asynchronous process needs an explicit identifier attribute.",
            )


def _volumes(instance: Instance) -> Iterator[Finding]:
    config = instance.config
    for key in ("path_temp", "path_perm", "path_task"):
        path = getattr(config, key)
        probe = path / f".doctor-{uuid4()}"
        try:
            probe.write_text("probe")
            os.replace(probe, probe.with_suffix(".renamed"))  # noqa: PTH105
            probe.with_suffix(".renamed").unlink()
        except OSError as error:
            yield Finding(f"{key}: {path}", f"A file cannot be written and renamed: {error}")
        else:
            yield Finding(f"{key}: {path} can be written to by the user {os.geteuid()}")


def _leftovers(instance: Instance) -> Iterator[Finding]:
    """Tasks of a former daemon: what lies in path_task without a marker of ours."""
    strangers = [
        path.name
        for path in sorted(instance.config.path_task.iterdir())
        if not (path / MARKER).is_file()
    ]
    yield Finding(
        f"path_task has {len(strangers)} entries without a marker",
        f"A former back-end left them and nothing will run them; remove what is not needed: "
        f"{', '.join(strangers[:10])}"
        if strangers
        else None,
    )


def _url_base(instance: Instance) -> Iterator[Finding]:
    directory = instance.config.path_perm / f"doctor-{uuid4()}"
    url = f"{instance.config.url_base}/{directory.name}/probe.txt"
    word = str(uuid4())
    try:
        directory.mkdir()
        (directory / "probe.txt").write_text(word)
        with urllib.request.urlopen(url, timeout=URL_SECONDS) as answer:  # noqa: S310 (checked)
            served = answer.read(1000).decode(errors="replace")
        problem = None if served == word else "it answers with something else"
    except (OSError, urllib.error.URLError) as error:
        problem = str(error)
    finally:
        (directory / "probe.txt").unlink(missing_ok=True)
        if directory.exists():
            directory.rmdir()
    yield Finding(
        f"url_base {instance.config.url_base} serves path_perm",
        f"{url}: {problem}. Let the web server map url_base to path_perm; where this machine may "
        "not reach its own address, try the URL from a client."
        if problem
        else None,
    )


def _cluster(instance: Instance, role: str) -> Iterator[Finding]:
    namespace = instance.cluster.namespace
    try:
        uid = instance.cluster.namespace_uid()
    except ClusterError as error:
        yield Finding(
            f"API server, namespace {namespace}",
            f"{error}. Check the service account of the pod and its right to get the namespace.",
        )
        return
    yield Finding(f"API server, namespace {namespace} ({uid})")
    for verb in VERBS[role]:
        if not _may(instance, verb, WPSJOB_PLURAL):
            yield Finding(
                f"right to {verb} wpsjobs",
                f"Give the service account of the {role} the verb {verb} on wpsjobs.{GROUP}.",
            )
    if role == "worker" and not _may(instance, "patch", WPSJOB_PLURAL, "status"):
        yield Finding(
            "right to report progress",
            f"Give the service account of the job pods the verb patch on wpsjobs.{GROUP}/status.",
        )
    if role == "web":  # the others do not read them
        yield from _resources(instance)


def _may(instance: Instance, verb: str, resource: str, subresource: str = "") -> bool:
    attributes = {
        "namespace": instance.cluster.namespace,
        "verb": verb,
        "group": GROUP,
        "resource": resource,
        "subresource": subresource,
    }
    review = instance.cluster.raw_post(
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
    )
    return bool(review.get("status", {}).get("allowed"))


def _resources(instance: Instance) -> Iterator[Finding]:
    base = f"/apis/{GROUP}/{VERSION}/namespaces/{instance.cluster.namespace}"
    queue = instance.config.queue
    try:
        found = instance.cluster.raw_get(f"{base}/{WPSQUEUE_PLURAL}/{queue}")
        has_pods = bool(found["spec"].get("template"))
        yield Finding(
            f"WpsQueue {queue}",
            None if has_pods else "It has no pod template; install it by the Helm chart.",
        )
        items = instance.cluster.raw_get(f"{base}/{WPSPROCESS_PLURAL}")["items"]
    except NotFoundError:
        yield Finding(f"WpsQueue {queue}", "It is missing; run: manage.py wpsjobs sync")
        return
    except ClusterError as error:
        yield Finding("WpsQueue and WpsProcesses", str(error))
        return
    known = {item["spec"]["identifier"] for item in items}
    for process in get_processes():
        identifier = identifier_of(process)
        if getattr(process, "asynchronous", False) and identifier not in known:
            yield Finding(
                f"process {identifier}", "It has no WpsProcess; run: manage.py wpsjobs sync"
            )
