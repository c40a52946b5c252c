"""``manage.py wpsjobs log``."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandError

from wpsjobs.api.names import is_valid_job_id, kubernetes_job_name, resource_name
from wpsjobs.eoxserver.commands.common import Instance

HELP = "print the kept log of a job's attempt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", help="job identifier")
    parser.add_argument("--attempt", type=int, help="number of the attempt; by default the last")


def run(options: dict[str, Any], out: Any) -> None:
    instance, job_id = Instance.load(), options["job"]
    if not is_valid_job_id(job_id):
        raise CommandError(f"{job_id!r} is no job identifier.")
    attempt = options["attempt"] or instance.job(job_id).status.attempt
    try:
        text = instance.storage.log_path(job_id, attempt).read_text(errors="replace")
    except OSError as error:
        pods = kubernetes_job_name(resource_name(job_id), attempt)
        raise CommandError(
            f"No log is kept of attempt {attempt}. While its pod is there: kubectl logs "
            f"--namespace {instance.cluster.namespace} job/{pods}. To keep logs, set "
            f"spec.keepLogs of the WpsQueue {instance.config.queue}."
        ) from error
    out.write(text, ending="")
