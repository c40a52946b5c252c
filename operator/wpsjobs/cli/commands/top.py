"""``kubectl wps top``."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from wpsjobs.api.names import LABEL_WPSJOB, WORKER_CONTAINER
from wpsjobs.api.origin import Origin
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.cli.cluster import Cluster, Raw
from wpsjobs.cli.common import Output, Queue, read_queues, say
from wpsjobs.cli.records import Queues, Record, queue_record
from wpsjobs.cli.render import (
    Column,
    Format,
    bar,
    console,
    phase_text,
    print_data,
    print_table,
    since,
)

SELECTOR = LABEL_WPSJOB
COLUMNS = (
    Column("JOB"),
    Column("PROCESS", 1),
    Column("PHASE", 3),
    Column("PROGRESS", right=True),
    Column("CPU", right=True),
    Column("MEMORY", right=True),
    Column("NODE", 4),
    Column("RUNS", 2, right=True),
)
WIDTH_WITH_BARS = 90
"""Columns of a terminal that has room for bars."""
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]*)")
_FACTORS = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def top(cluster: Cluster, queue: Queue = None, output: Output = Format.TABLE) -> None:
    """Show how full queues are, and what their running WpsJobs use."""
    if queue is not None:
        cluster.queue(queue)  # an error where there is none
    queues = read_queues(cluster, queue)
    fill = [
        queue_record(one, queues)
        for name, one in sorted(queues.queues.items())
        if queue in {None, name}
    ]
    running = [job for record in fill for job in queues.running(record["name"])]
    metrics = cluster.pod_metrics(SELECTOR)
    use = usage(cluster.pods(SELECTOR), metrics or [])
    if output is not Format.TABLE:
        print_data(
            {
                "queues": fill,
                "running": [_record(job, use.get(job.metadata.uid)) for job in running],
            },
            output,
        )
        return
    _print_fill(fill)
    if not running:
        return
    print()
    rows = [_row(job, use.get(job.metadata.uid), queues) for job in running]
    shown = [
        index
        for index, column in enumerate(COLUMNS)
        if metrics is not None or column.heading not in {"CPU", "MEMORY"}
    ]
    print_table(
        [COLUMNS[index] for index in shown], ([row[index] for index in shown] for row in rows)
    )
    if metrics is None:
        say("CPU and memory are not known: this cluster has no metrics API (metrics-server).")


def usage(pods: list[Raw], metrics: list[Raw]) -> dict[str, Record]:
    """Of each WpsJob, by UID: node, use and limit of its worker's container in base units."""
    used = {one["metadata"]["name"]: one.get("containers", []) for one in metrics}
    found: dict[str, Record] = {}
    for pod in pods:  # the oldest first: of two attempts, the later one counts
        try:
            origin = Origin.from_metadata(pod["metadata"])
        except (KeyError, ValueError):
            continue  # somebody else's label
        limits = (_of_worker(pod["spec"]["containers"]).get("resources") or {}).get("limits") or {}
        now = _of_worker(used.get(pod["metadata"]["name"], [])).get("usage") or {}
        found[origin.uid] = {
            "pod": pod["metadata"]["name"],
            "node": pod["spec"].get("nodeName"),
            "cpu": quantity(now.get("cpu")),
            "cpuLimit": quantity(limits.get("cpu")),
            "memory": quantity(now.get("memory")),
            "memoryLimit": quantity(limits.get("memory")),
        }
    return found


def quantity(text: str | None) -> float | None:
    """A Kubernetes quantity in base units: cores, bytes. None where it is none."""
    match = _QUANTITY.fullmatch(text or "")
    if match is None or match[2] not in _FACTORS:
        return None
    return float(match[1]) * _FACTORS[match[2]]


def _of_worker(containers: list[dict[str, Any]]) -> dict[str, Any]:
    named = [one for one in containers if one.get("name") == WORKER_CONTAINER]
    return (named or containers or [{}])[0]


def _print_fill(fill: list[Record]) -> None:
    out = console()
    with_bars = out.is_terminal and out.width >= WIDTH_WITH_BARS
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for heading in ("QUEUE", "RUNNING", "QUEUED"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "QUEUE" else "right")
        if with_bars and heading != "QUEUE":
            table.add_column(no_wrap=True)
    for record in fill:
        row: list[RenderableType] = [Text(record["name"] + (" (held)" if record["held"] else ""))]
        for part, whole in (("running", "parallelism"), ("queued", "maxQueued")):
            row.append(f"{record[part]}/{record[whole]}")
            if with_bars:
                row.append(bar(record[part], record[whole]))
        table.add_row(*row)
    out.print(table)


def _row(job: WpsJob, use: Record | None, queues: Queues) -> list[str | Text]:
    progress, use = job.status.progress, use or {}
    return [
        job.id,
        job.spec.process,
        phase_text(job.status.phase),
        f"{progress.percent} %" if progress else "",
        _cores(use.get("cpu")),
        _memory(use.get("memory"), use.get("memoryLimit")),
        use.get("node") or "",
        since(job.status.started_at, queues.now),
    ]


def _record(job: WpsJob, use: Record | None) -> Record:
    progress = job.status.progress
    started = job.status.started_at
    record = {
        "job": job.id,
        "process": job.spec.process,
        "queue": job.spec.queue,
        "phase": job.status.phase,
        "progress": progress.percent if progress else None,
        "runsSeconds": (datetime.now(UTC) - started).total_seconds() if started else None,
        **(use or {}),
    }
    return {key: value for key, value in record.items() if value is not None}


def _cores(cores: float | None) -> str:
    return "" if cores is None else f"{round(cores * 1000)}m"


def _memory(used: float | None, limit: float | None) -> str:
    if used is None:
        return ""
    of = f"/{round(limit / 2**20)}Mi" if limit else ""
    return f"{round(used / 2**20)}Mi{of}"
