"""``manage.py wpsjobs``: what an operator of an instance does with its jobs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from wpsjobs.eoxserver.commands import housekeep

SUBCOMMANDS = {"housekeep": housekeep}


class Command(BaseCommand):
    """Dispatches to the modules of ``wpsjobs.eoxserver.commands``."""

    help = "Work with the WpsJobs of this instance."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="command")
        for name, module in SUBCOMMANDS.items():
            module.add_arguments(subparsers.add_parser(name, help=module.HELP))

    def handle(self, *_: Any, **options: Any) -> None:
        SUBCOMMANDS[options["subcommand"]].run(options, self.stdout)
