"""What all commands share: the options of kubectl, a connection, and errors as exit codes."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any

import typer

from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.cli import completion
from wpsjobs.cli.access import Access
from wpsjobs.cli.cluster import Cluster
from wpsjobs.cli.errors import CliError, ExitCode
from wpsjobs.cli.records import Queues
from wpsjobs.cli.render import Format

SAMPLE = 100
"""Of as many succeeded WpsJobs the usual length is taken, for expected starts."""
UNFINISHED = ",".join(f"status.phase!={phase}" for phase in sorted(FINISHED))
"""Field selector of the WpsJobs that are waiting or running."""
_PANEL = "Options of kubectl"

Jobs = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...",
        help="WPS job identifiers, or names of WpsJobs.",
        autocompletion=completion.jobs,
        show_default=False,
    ),
]
Job = Annotated[
    str,
    typer.Argument(
        metavar="JOB",
        help="WPS job identifier, or name of a WpsJob.",
        autocompletion=completion.jobs,
        show_default=False,
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="What to print.")]
Queue = Annotated[
    str | None,
    typer.Option("--queue", "-q", help="Name of the WpsQueue.", autocompletion=completion.queues),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace; by default that of the context.",
        rich_help_panel=_PANEL,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="Context of the kubeconfig.",
        rich_help_panel=_PANEL,
        autocompletion=completion.contexts,
    ),
]
Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", help="Path of the kubeconfig.", rich_help_panel=_PANEL),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--request-timeout", min=0.1, help="Seconds for one request.", rich_help_panel=_PANEL
    ),
]

_SHARED = {
    "namespace": Namespace,
    "context": Context,
    "kubeconfig": Kubeconfig,
    "request_timeout": Timeout,
}
"""In the order of ``Access``."""


def command(app: typer.Typer, name: str | None = None) -> Callable[[Any], Any]:
    """Make a function, whose first parameter is the Cluster, a command with kubectl's options."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name)(with_cluster(function))
        return function

    return register


def with_cluster(function: Callable[..., None]) -> Callable[..., None]:
    """*function* with kubectl's options in the place of its first parameter, the Cluster.

    Of a group, it is called where no command is given; its options hold for its commands.
    """

    @wraps(function)
    def run(ctx: typer.Context, **given: Any) -> None:
        access = Access(*(given.pop(name) for name in _SHARED)).over(ctx.obj)
        if ctx.invoked_subcommand is not None:
            ctx.obj = access
            return
        with _exit_codes(), _connected(access) as cluster:
            function(cluster, **given)

    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    context = inspect.Parameter(
        "ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [
        context,
        *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own),
        *(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=None
            )
            for name, annotation in _SHARED.items()
        ),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def keep_access(
    ctx: typer.Context,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    request_timeout: Timeout = None,
) -> None:
    """Take kubectl's options before the command, for it."""
    ctx.obj = Access(namespace, context, kubeconfig, request_timeout)


def read_queues(cluster: Cluster, queue: str | None = None) -> Queues:
    """What is waiting and running, and what is needed to say when the next ones start."""
    own = f",spec.queue={queue}" if queue else ""
    raws = [
        *cluster.jobs(UNFINISHED + own),
        *cluster.jobs(f"status.phase={Phase.SUCCEEDED}" + own, most=SAMPLE),
    ]
    queues = (WpsQueue.from_raw(raw) for raw in cluster.queues())
    return Queues(
        {one.metadata.name: one for one in queues},
        [WpsJob.from_raw(raw) for raw in raws],
        datetime.now(UTC),
    )


@dataclass
class Failures:
    """Of one command on several WpsJobs: one that fails does not keep it from the others."""

    first: CliError | None = None

    @contextlib.contextmanager
    def collect(self) -> Iterator[None]:
        """Print an error and go on."""
        try:
            yield
        except CliError as error:
            say_error(error)
            self.first = self.first or error

    def settle(self) -> None:
        """End with the exit code of the first error, if there was one."""
        if self.first is not None:
            raise typer.Exit(int(self.first.code))


def for_each(jobs: Sequence[str], act: Callable[[str], None]) -> None:
    """Do *act* for each of *jobs*."""
    failures = Failures()
    for job in jobs:
        with failures.collect():
            act(job)
    failures.settle()


def say_error(error: Exception) -> None:
    """On standard error, as kubectl does."""
    print(f"error: {error}", file=sys.stderr)


def say(words: str) -> None:
    """On standard error: what is no result."""
    print(words, file=sys.stderr)


@contextlib.contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except CliError as error:
        say_error(error)
        raise typer.Exit(int(error.code)) from None
    except BrokenPipeError:
        # Whoever read, as `head`, has enough. Nothing is to be flushed at the end, either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(int(ExitCode.OK)) from None


@contextlib.contextmanager
def _connected(access: Access) -> Iterator[Cluster]:
    cluster = Cluster(access)
    try:
        yield cluster
    finally:
        cluster.close()
