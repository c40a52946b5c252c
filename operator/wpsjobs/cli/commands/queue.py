"""``kubectl wps queue``: show, hold, release."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.api.wpsqueue import WpsQueue
from wpsjobs.cli import completion
from wpsjobs.cli.cluster import Cluster
from wpsjobs.cli.common import Output, for_each, read_queues, say
from wpsjobs.cli.records import Queues, Record, queue_record
from wpsjobs.cli.render import (
    Column,
    Format,
    phase_text,
    print_data,
    print_table,
    since,
    until,
)

COLUMNS = (
    Column("QUEUE"),
    Column("STATE"),
    Column("RUNNING", right=True),
    Column("QUEUED", right=True),
    Column("PAUSED", 1, right=True),
    Column("NEXT", 2),
)
WAITING = (
    Column("PLACE", right=True),
    Column("JOB"),
    Column("PROCESS", 1),
    Column("PHASE"),
    Column("STARTS IN", 2, right=True),
    Column("OWNER", 4),
    Column("AGE", 3, right=True),
)

Name = Annotated[
    str,
    typer.Argument(metavar="QUEUE", help="Name of the WpsQueue.", autocompletion=completion.queues),
]
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="QUEUE...", help="Names of WpsQueues.", autocompletion=completion.queues
    ),
]


def show_all(cluster: Cluster, output: Output = Format.TABLE) -> None:
    """Show, hold and release queues; without a command, show all."""
    queues = read_queues(cluster)
    records = [queue_record(one, queues) for _, one in sorted(queues.queues.items())]
    if output is not Format.TABLE:
        print_data(records, output)
    elif records:
        print_table(COLUMNS, (_row(record) for record in records))
    else:
        say(f"There are no WpsQueues in the namespace {cluster.namespace!r}.")


def show(cluster: Cluster, queue: Name, output: Output = Format.TABLE) -> None:
    """Show a queue with all that runs and waits in it."""
    found = WpsQueue.from_raw(cluster.queue(queue))
    queues = read_queues(cluster, queue)
    record = queue_record(found, queues)
    if output is not Format.TABLE:
        print_data(record, output)
        return
    print_table(COLUMNS, [_row(record)])
    jobs = [*queues.running(queue), *queues.waiting(queue)]
    if jobs:
        print()
        print_table(WAITING, (_job_row(job, queues) for job in jobs))


def hold(cluster: Cluster, queues: Names) -> None:
    """Hold queues: WpsJobs are accepted, and none is started. What runs goes on."""
    _set(cluster, queues, held=True)


def release(cluster: Cluster, queues: Names) -> None:
    """Let held queues start WpsJobs again."""
    _set(cluster, queues, held=False)


def _set(cluster: Cluster, queues: list[str], *, held: bool) -> None:
    def act(queue: str) -> None:
        cluster.patch_queue(queue, {"suspend": held})
        print(f"queue {queue} {'held' if held else 'released'}")

    for_each(queues, act)


def _row(record: Record) -> list[str | Text]:
    waiting = record["waiting"]
    return [
        record["name"],
        Text("held", "magenta") if record["held"] else Text("open", "green"),
        f"{record['running']}/{record['parallelism']}",
        f"{record['queued']}/{record['maxQueued']}",
        str(record["paused"]),
        waiting[0] if waiting else "",
    ]


def _job_row(job: WpsJob, queues: Queues) -> list[str | Text]:
    found = queues.place(job)
    return [
        str(found.position) if found else "",
        job.id,
        job.spec.process,
        phase_text(job.status.phase),
        until(found.expected_start, queues.now) if found else "",
        job.spec.owner.identity or "",
        since(job.metadata.created_at, queues.now),
    ]
