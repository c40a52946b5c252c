"""``manage.py wpsjobs show``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from wpsjobs.api.phases import Phase
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver.commands.common import Instance, place_of
from wpsjobs.eoxserver.documents import read_status
from wpsjobs.eoxserver.places import in_words

HELP = "show all that is known of a job"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", help="job identifier")


def run(options: dict[str, Any], out: Any) -> None:
    instance = Instance.load()
    job = instance.job(options["job"])
    for label, value in _facts(instance, job):
        if value not in {None, ""}:
            out.write(f"{label + ':':<13}{value}")
    for entry in job.status.history:
        out.write(f"  {entry.get('time')}  {entry.get('phase'):<10} {entry.get('message', '')}")


def _facts(instance: Instance, job: WpsJob) -> list[tuple[str, object]]:
    status, document = job.status, instance.storage.response(job.id)
    progress = status.progress
    request = json.dumps(job.spec.execute, ensure_ascii=False) if job.spec.execute else None
    files = [
        str(path)
        for root in (instance.storage.perm_dir(job.id), instance.storage.task_dir(job.id))
        for path in sorted(root.glob("**/*"))
        if path.is_file()
    ]
    return [
        ("Job", job.id),
        ("WpsJob", job.metadata.key),
        ("Process", job.spec.process),
        ("Request", request or _payload(job)),
        ("Owner", job.spec.owner.identity),
        ("Phase", ": ".join(filter(None, (status.phase, status.reason, status.message)))),
        ("Place", _place(instance, job)),
        ("Progress", progress and f"{progress.percent} % {progress.message or ''}"),
        ("Attempt", f"{status.attempt}, restarts counted: {status.restarts}"),
        ("Pods of", status.job_name),
        ("Expires", status.expires_at),
        ("Response", f"{job.spec.response_url} ({read_status(document) if document else 'none'})"),
        ("Files", ("\n" + " " * 13).join(files)),
    ]


def _place(instance: Instance, job: WpsJob) -> str | None:
    if job.status.phase is not Phase.ACCEPTED:
        return None
    jobs = [WpsJob.from_raw(raw) for raw in instance.cluster.list_jobs().items]
    found = place_of(job, jobs, instance.queue(job.spec.queue))
    return None if found is None else in_words(found)


def _payload(job: WpsJob) -> str:
    size = job.spec.payload_size
    return "no inputs" if size is None else f"{size} bytes in a file"
