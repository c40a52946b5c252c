"""The program: ``kubectl wps``."""

from __future__ import annotations

import sys

import typer

from wpsjobs.cli import completion
from wpsjobs.cli.commands import actions, list, logs, queue, result, status, submit, top  # noqa: A004 (named as the commands)
from wpsjobs.cli.common import command, keep_access, with_cluster

NAME = "kubectl wps"

app = typer.Typer(
    name=NAME,
    help="Look after WPS jobs on Kubernetes.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.callback()(keep_access)

command(app)(submit.submit)
command(app, "list")(list.list_jobs)
command(app)(status.status)
command(app)(logs.logs)
command(app)(result.result)
for _act in (actions.suspend, actions.resume, actions.cancel, actions.retry):
    command(app)(_act)

_queue = typer.Typer(help="Show, hold and release queues.", invoke_without_command=True)
_queue.callback()(with_cluster(queue.show_all))
command(_queue)(queue.show)
command(_queue)(queue.hold)
command(_queue)(queue.release)
app.add_typer(_queue, name="queue")

command(app)(top.top)


def main() -> None:
    """Run it."""
    # Scripts that complete are for the program itself; else people read what they have typed.
    is_script = any(word.endswith("-completion") for word in sys.argv[1:])
    app(prog_name=completion.PROGRAM if is_script else NAME, complete_var=completion.VARIABLE)
