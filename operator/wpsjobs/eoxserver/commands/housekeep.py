"""``manage.py wpsjobs housekeep``."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType
from typing import Any

from django.core.management.base import CommandError

from wpsjobs.eoxserver import config, housekeeper, logs
from wpsjobs.eoxserver.client import Cluster, ClusterError
from wpsjobs.eoxserver.files import StorageError
from wpsjobs.eoxserver.reading import Reader

HELP = "write final responses, call the processes' callbacks, remove what belongs to no job"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--once", action="store_true", help="make two passes, which remove what is gone, and end"
    )
    parser.add_argument(
        "--port",
        type=int,
        help="let kubectl wps read kept logs and published files at this port",
    )
    parser.add_argument(
        "--allow-mass-removal",
        action="store_true",
        help="remove the directories of jobs that are gone, however many they are",
    )


def run(options: dict[str, Any], _: Any) -> None:
    logs.show_unless_configured()
    loaded = config.load()
    loaded.check_directories()
    keeper = housekeeper.make(loaded, allow_mass=options["allow_mass_removal"])
    if not options["once"]:
        if options["port"] is not None:
            Reader(loaded, Cluster(loaded.namespace, loaded.context), options["port"]).start()
        # Every step can be repeated, so that there is nothing to wait for.
        signal.signal(signal.SIGTERM, _end)
        keeper.run()
        return
    try:
        # What is to go must be absent from two lists.
        keeper.full_pass()
        keeper.full_pass()
    except (ClusterError, StorageError) as error:
        raise CommandError(str(error)) from error


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
