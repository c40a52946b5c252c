"""``manage.py wpsjobs``: what an operator of an instance does with its jobs."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from wpsjobs.eoxserver.client import ClusterError
from wpsjobs.eoxserver.commands import doctor, housekeep, log, purge, show, sync
from wpsjobs.eoxserver.commands import list as list_jobs
from wpsjobs.eoxserver.files import StorageError

SUBCOMMANDS: dict[str, Any] = {
    "list": list_jobs,
    "show": show,
    "log": log,
    "purge": purge,
    "sync": sync,
    "doctor": doctor,
    "housekeep": housekeep,
}
"""Each has HELP, ``add_arguments(parser)`` and ``run(options, out)``."""


class Command(BaseCommand):
    """Dispatches to the modules of ``wpsjobs.eoxserver.commands``."""

    help = "Work with the WpsJobs of this instance."
    requires_system_checks: tuple[str, ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="command")
        for name, module in SUBCOMMANDS.items():
            module.add_arguments(subparsers.add_parser(name, help=module.HELP))

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            SUBCOMMANDS[options["subcommand"]].run(options, self.stdout)
        except (ClusterError, StorageError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
