"""``kubectl wps status``."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wpsjobs.api.parts import format_indexes
from wpsjobs.api.phases import Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.cli.cluster import WATCH_SECONDS, Cluster
from wpsjobs.cli.common import Job, Output, read_queues
from wpsjobs.cli.errors import JobFailedError, TimedOutError, UsageError
from wpsjobs.cli.records import Queues, status_record
from wpsjobs.cli.render import (
    Format,
    bar,
    clock,
    console,
    duration,
    one_line,
    phase_text,
    print_data,
    since,
)

REFRESH_SECONDS = 10.0
"""How often the place of a watched WpsJob in its queue is read anew."""


def status(
    cluster: Cluster,
    job: Job,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow it to its end, with a progress bar.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Seconds to watch at most.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Show what becomes of a WpsJob: place, progress, message and history.

    With --watch the exit code says how it ended: 0 for Succeeded, 5 for Failed or Dismissed.
    """
    if watch and output is not Format.TABLE:
        raise UsageError("--watch is for people: leave --output out.")
    if timeout is not None and not watch:
        raise UsageError("--timeout goes with --watch.")
    if watch:
        check_success(watch_to_end(cluster, job, timeout))
        return
    found = WpsJob.from_raw(cluster.job(job))
    queues = read_queues(cluster, found.spec.queue)
    if output is Format.TABLE:
        console().print(_story(found, queues))
    else:
        print_data(status_record(found, queues), output)


def watch_to_end(cluster: Cluster, job: str, timeout: float | None) -> WpsJob:
    """Show a WpsJob until it is finished. Raises TimedOutError."""
    out = console()
    if not sys.stdout.isatty():
        return _log_changes(cluster, job, timeout)
    found: WpsJob | None = None
    with Live(console=out, auto_refresh=False, transient=False) as live:
        queues, read_at = None, 0.0
        for found in follow(cluster, job, timeout):
            if queues is None or time.monotonic() - read_at > REFRESH_SECONDS:
                queues, read_at = read_queues(cluster, found.spec.queue), time.monotonic()
            live.update(_story(found, replace(queues, now=datetime.now(UTC))), refresh=True)
    assert found is not None  # noqa: S101 (``follow`` yields at least once)
    return found


def _log_changes(cluster: Cluster, job: str, timeout: float | None) -> WpsJob:
    """A line for each change, for files and pipes."""
    last, found = "", None
    for found in follow(cluster, job, timeout):
        line = one_line(found)
        if line != last:
            print(f"{datetime.now(UTC).astimezone():%H:%M:%S}  {line}", flush=True)
            last = line
    assert found is not None  # noqa: S101 (``follow`` yields at least once)
    return found


def follow(cluster: Cluster, job: str, timeout: float | None) -> Iterator[WpsJob]:
    """The WpsJob at each change, until it is finished. Raises TimedOutError."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = WATCH_SECONDS if end is None else min(WATCH_SECONDS, end - time.monotonic())
        for raw in cluster.follow_job(job, max(1.0, left)):
            found = WpsJob.from_raw(raw)
            yield found
            if is_over(found):
                return
        if end is not None and time.monotonic() >= end:
            raise TimedOutError(
                f"The WpsJob {job!r} is not finished after {duration(timeout or 0)}; it goes on. "
                f"See: kubectl wps status {job} -n {cluster.namespace}"
            )


def is_over(job: WpsJob) -> bool:
    """Whether it is finished, and no retry is asked for that the operator has not seen yet."""
    return job.finished and job.spec.retries <= job.status.retries_seen


def check_success(job: WpsJob) -> None:
    """Raise JobFailedError unless it has succeeded."""
    status = job.status
    if status.phase is not Phase.SUCCEEDED:
        reason = f" ({status.reason})" if status.reason != status.phase else ""
        raise JobFailedError(f"The WpsJob {job.id!r} is {status.phase}{reason}: {status.message}")


def _story(job: WpsJob, queues: Queues) -> RenderableType:
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(job, queues):
        if value is not None and value != "":
            facts.add_row(f"{label}:", value)
    parts: list[RenderableType] = [facts]
    if job.status.history:
        history = Table.grid(padding=(0, 2, 0, 2))
        history.add_column(no_wrap=True)
        history.add_column(no_wrap=True)
        history.add_column(overflow="fold")
        for entry in job.status.history:
            phase = str(entry.get("phase", ""))
            styled = phase_text(Phase(phase)) if phase in list(Phase) else Text(phase)
            message = Text(str(entry.get("message", "")))
            history.add_row(clock(entry.get("time")), styled, message)
        parts += [Text("History:", "bold"), history]
    return Group(*parts)


def _facts(job: WpsJob, queues: Queues) -> list[tuple[str, RenderableType | None]]:
    spec, status, now = job.spec, job.status, queues.now
    name = job.metadata.name
    return [
        ("Job", job.id + (f" (WpsJob {name})" if name != job.id else "")),
        ("Process", spec.process),
        ("Queue", spec.queue),
        ("Owner", spec.owner.identity),
        ("Phase", Text.assemble(phase_text(status.phase), f"  {status.reason or ''}")),
        ("Message", Text(status.message or _without_message(job))),
        ("Place", _place(job, queues)),
        ("Progress", _progress(job)),
        ("Attempt", _attempt(job)),
        ("Parts", _parts(job)),
        ("Created", f"{since(job.metadata.created_at, now)} ago"),
        ("Ran", _ran(job, now)),
        ("Expires", clock(status.expires_at.isoformat()) if status.expires_at else None),
        ("Response", spec.response_url),
    ]


def _without_message(job: WpsJob) -> str:
    if job.status.phase is None:
        return "The operator has not seen it yet. Does it run? kubectl get pods"
    return ""


def _place(job: WpsJob, queues: Queues) -> str | None:
    found = queues.place(job)
    if found is None:
        return None
    queue = queues.queues.get(job.spec.queue)
    if queue is not None and queue.suspend:
        return f"{found.position}; the queue is held: kubectl wps queue release {job.spec.queue}"
    if found.expected_start is None:
        return str(found.position)
    seconds = (found.expected_start - queues.now).total_seconds()
    return f"{found.position}, starts in about {duration(seconds)}"


def _progress(job: WpsJob) -> RenderableType | None:
    progress = job.status.progress
    if progress is None:
        return None
    words = Text(f"{progress.percent} % {progress.message or ''}".rstrip())
    if not console().is_terminal:
        return words
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(bar(progress.percent, 100), words)
    return row


def _attempt(job: WpsJob) -> str | None:
    status = job.status
    if not status.attempt:
        return None
    restarts = f", restarts: {status.restarts}" if status.restarts else ""
    where = f" (Kubernetes Job {status.job_name})" if status.job_name else ""
    return f"{status.attempt}{where}{restarts}"


def _parts(job: WpsJob) -> str | None:
    """How the parts of a fan-out stand, by their indexes."""
    parts = job.status.parts
    if parts is None:
        return None
    words = [f"{len(parts.succeeded)} of {parts.total} done"]
    words += [f"running: {format_indexes(parts.running)}"] if parts.running else []
    words += [f"failed: {format_indexes(parts.failed)}"] if parts.failed else []
    restarts = sum(one.tries for one in parts.restarts.values())
    words += [f"restarts: {restarts}"] if restarts else []
    return "; ".join(words)


def _ran(job: WpsJob, now: datetime) -> str | None:
    status = job.status
    if status.started_at is None:
        return None
    seconds = ((status.finished_at or now) - status.started_at).total_seconds()
    paused = f", of them {duration(status.paused_seconds)} paused" if status.paused_seconds else ""
    return f"{duration(seconds)}{paused}"
