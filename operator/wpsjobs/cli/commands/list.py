"""``kubectl wps list``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from wpsjobs.api.phases import FINISHED, Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.cli import completion
from wpsjobs.cli.cluster import Cluster
from wpsjobs.cli.common import Output, Queue, read_queues, say
from wpsjobs.cli.records import Queues, chosen, job_record
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
    Column("JOB"),
    Column("PROCESS", 1),
    Column("PHASE"),
    Column("PROGRESS", 2, right=True),
    Column("QUEUE", 4),
    Column("PLACE", 2, right=True),
    Column("STARTS IN", 3, right=True),
    Column("OWNER", 6),
    Column("RESTARTS", 5, right=True),
    Column("AGE", 1, right=True),
)


def list_jobs(
    cluster: Cluster,
    phase: Annotated[
        list[Phase] | None,
        typer.Option("--phase", help="Of this phase; may be repeated.", case_sensitive=False),
    ] = None,
    active: Annotated[bool, typer.Option("--active", help="Unfinished ones only.")] = False,
    process: Annotated[
        str | None,
        typer.Option("--process", help="Of this process.", autocompletion=completion.processes),
    ] = None,
    queue: Queue = None,
    owner: Annotated[
        str | None, typer.Option("--owner", help="Of this owner: a user, or an address.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """List WpsJobs, the oldest first, with the places of those that wait."""
    queues = read_queues(cluster)
    phases = phase or []
    selectors = [f"spec.process={process}"] if process else []
    selectors += [f"spec.queue={queue}"] if queue else []
    selectors += [f"status.phase={phases[0]}"] if len(phases) == 1 else []
    selectors += [f"status.phase!={one}" for one in sorted(FINISHED)] if active else []
    jobs = [WpsJob.from_raw(raw) for raw in cluster.jobs(",".join(selectors) or None)]
    wanted = chosen(jobs, phases, process, queue, owner)
    if output is not Format.TABLE:
        print_data([job_record(job, queues) for job in wanted], output)
    elif wanted:
        print_table(COLUMNS, (_row(job, queues) for job in wanted))
    else:
        such = " of that kind" if selectors or phases or owner else ""
        say(f"There are no WpsJobs{such} in the namespace {cluster.namespace!r}.")


def _row(job: WpsJob, queues: Queues) -> list[str | Text]:
    status, found = job.status, queues.place(job)
    return [
        job.id,
        job.spec.process,
        phase_text(status.phase),
        f"{status.progress.percent} %" if status.progress else "",
        job.spec.queue,
        str(found.position) if found else "",
        until(found.expected_start, queues.now) if found else "",
        job.spec.owner.identity or "",
        str(status.restarts),
        since(job.metadata.created_at, queues.now),
    ]
