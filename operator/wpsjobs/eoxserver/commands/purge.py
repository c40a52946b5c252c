"""``manage.py wpsjobs purge``."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import CommandError

from wpsjobs.eoxserver.backend import WpsJobBackend
from wpsjobs.eoxserver.client import ClusterError
from wpsjobs.eoxserver.files import StorageError
from wpsjobs.eoxserver.jobs import UnknownJobError

HELP = "remove jobs with their results, whatever they are doing"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("jobs", nargs="+", metavar="job", help="job identifier")
    parser.add_argument("--process", help="process whose discard is called, if nothing tells it")


def run(options: dict[str, Any], out: Any) -> None:
    backend, failed = WpsJobBackend(), []
    for job_id in options["jobs"]:
        try:
            if not backend.list([job_id]):
                raise UnknownJobError(job_id)  # noqa: TRY301 (reported as the others are)
            backend.purge(job_id, options["process"])
        except (ClusterError, StorageError, UnknownJobError) as error:
            failed.append(f"{job_id}: {error}")
        else:
            out.write(f"{job_id}: removed")
    if failed:
        raise CommandError("\n".join(failed))
