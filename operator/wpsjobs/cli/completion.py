"""Shell completion: words from the cluster, and the program that kubectl asks for a plugin's."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable

import typer

from wpsjobs.cli.access import Access
from wpsjobs.cli.errors import CliError

PROGRAM = "kubectl-wps"
VARIABLE = "_KUBECTL_WPS_COMPLETE"
REQUEST_SECONDS = 3.0
"""A shell that completes is not to hang."""
MOST_JOBS = 500
_FILES, _NO_FILES = 0, 4
"""Directives of kubectl's completion (cobra): file names may follow, or not."""

Words = Iterable[tuple[str, str]]


def jobs(ctx: typer.Context) -> Words:
    """WpsJobs, with what they are."""
    from wpsjobs.api.wpsjob import WpsJob  # noqa: PLC0415 (completion is to be quick)

    def words(cluster: object) -> Words:
        for raw in cluster.jobs(most=MOST_JOBS):  # type: ignore[attr-defined]
            job = WpsJob.from_raw(raw)
            yield job.id, f"{job.spec.process} {job.status.phase or 'New'}"

    return _from_cluster(ctx, words)


def queues(ctx: typer.Context) -> Words:
    """WpsQueues."""

    def words(cluster: object) -> Words:
        for raw in cluster.queues():  # type: ignore[attr-defined]
            yield raw["metadata"]["name"], "WpsQueue"

    return _from_cluster(ctx, words)


def processes(ctx: typer.Context) -> Words:
    """Identifiers of processes."""

    def words(cluster: object) -> Words:
        for raw in cluster.processes():  # type: ignore[attr-defined]
            yield raw["spec"]["identifier"], "WpsProcess"

    return _from_cluster(ctx, words)


def contexts(ctx: typer.Context) -> Words:
    """Contexts of the kubeconfig."""
    from kubernetes import config  # noqa: PLC0415 (half a second)
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

    try:
        found, _ = config.list_kube_config_contexts(_access(ctx).kubeconfig)
    except (ConfigException, OSError):
        return []
    return [(context["name"], "context") for context in found]


def for_kubectl() -> None:
    """``kubectl_complete-wps``: kubectl calls it with the words so far, the last one incomplete.

    It prints a line for each completion, and a directive at the end.
    """
    *before, incomplete = sys.argv[1:] or [""]
    found = complete(before, incomplete)
    if found:
        print(found)
    print(f":{_NO_FILES if found else _FILES}")


def complete(before: list[str], incomplete: str) -> str:
    """The completions of *incomplete* after the words *before*, one a line, each with a help."""
    from wpsjobs.cli.app import app  # noqa: PLC0415 (which imports this module)

    # Of the shells that Typer knows, fish is told helps as kubectl wants them: after a tab.
    os.environ |= {
        VARIABLE: "complete_fish",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_TYPER_COMPLETE_ARGS": " ".join([shlex.join([PROGRAM, *before]), shlex.quote(incomplete)])
        if incomplete
        else shlex.join([PROGRAM, *before]) + " ",
    }
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        app(prog_name=PROGRAM, complete_var=VARIABLE)
    return said.getvalue().strip("\n")


def _from_cluster(ctx: typer.Context, words: Callable[[object], Words]) -> Words:
    """What *words* finds in the cluster; nothing where it does not answer at once."""
    from wpsjobs.cli.cluster import Cluster  # noqa: PLC0415 (completion is to be quick)

    try:
        with contextlib.closing(Cluster(_access(ctx))) as cluster:
            return list(words(cluster))
    except CliError:
        return []


def _access(ctx: typer.Context) -> Access:
    """Kubectl's options as given so far, at the command or before it."""
    access, at = Access(timeout=REQUEST_SECONDS), ctx
    while at is not None:
        names = ("namespace", "context", "kubeconfig")
        access = access.over(Access(*(at.params.get(name) for name in names)))
        at = at.parent  # type: ignore[assignment]  # None above the first
    return access
