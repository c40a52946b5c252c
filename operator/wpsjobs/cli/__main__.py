"""``python -m wpsjobs.cli``."""

from wpsjobs.cli.app import main

main()
