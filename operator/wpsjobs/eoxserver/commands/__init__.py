"""The subcommands of ``manage.py wpsjobs``, a module each."""
