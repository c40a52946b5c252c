"""``manage.py wpsjobs list``."""

from __future__ import annotations

import argparse
from typing import Any

from wpsjobs.api.phases import UNFINISHED
from wpsjobs.api.queueing import Place
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver.commands.common import Instance, age, place_of, table

HELP = "list the jobs"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--process", help="of this process only")
    parser.add_argument("--active", action="store_true", help="unfinished ones only")


def run(options: dict[str, Any], out: Any) -> None:
    instance = Instance.load()
    jobs = [WpsJob.from_raw(raw) for raw in instance.cluster.list_jobs().items]
    wanted = [
        job
        for job in sorted(jobs, key=lambda job: job.sequence)
        if options["process"] in {None, job.spec.process}
        and (not options["active"] or job.status.phase in {None, *UNFINISHED})
    ]
    queues = {name: instance.queue(name) for name in {job.spec.queue for job in wanted}}
    rows = [
        (
            job.id,
            job.spec.process,
            job.status.phase or "",
            f"{job.status.progress.percent} %" if job.status.progress else "",
            job.spec.queue,
            _position(place_of(job, jobs, queues[job.spec.queue])),
            job.spec.owner.identity or "",
            age(job.metadata.created_at),
        )
        for job in wanted
    ]
    out.write(
        table(("JOB", "PROCESS", "PHASE", "PROGRESS", "QUEUE", "PLACE", "OWNER", "AGE"), rows)
    )


def _position(place: Place | None) -> str:
    return "" if place is None else str(place.position)
