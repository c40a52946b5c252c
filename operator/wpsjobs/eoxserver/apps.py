"""The Django application, for its management commands and for its checks at start-up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Warning as CheckWarning
from django.core.checks import register
from django.core.exceptions import ImproperlyConfigured

BACKEND = "wpsjobs.eoxserver.backend.WpsJobBackend"


class WpsJobsConfig(AppConfig):
    """``wpsjobs.eoxserver`` in ``INSTALLED_APPS``."""

    name = "wpsjobs.eoxserver"
    label = "wpsjobs"
    verbose_name = "WpsJobs"

    def ready(self) -> None:
        """Raises ImproperlyConfigured where the back-end is chosen and cannot work."""
        from wpsjobs.eoxserver import config, logs  # noqa: PLC0415 (needs Django's settings)

        logs.keep_old_logger()
        register(check_configuration)
        if BACKEND not in getattr(settings, "EOXS_ASYNC_BACKENDS", ()):
            return
        # A management command such as migrate works without the shared volumes (an image build
        # has none); those of WpsJobs check for themselves.
        if not _is_management_command():
            config.load().check_directories()


def check_configuration(**_: Any) -> list[CheckWarning]:
    """Django's system check: ``manage.py check``."""
    from wpsjobs.eoxserver import config  # noqa: PLC0415 (needs Django's settings)

    try:
        config.load().check_directories()
    except ImproperlyConfigured as error:
        return [CheckWarning(str(error), id="wpsjobs.W001")]
    return []


def _is_management_command() -> bool:
    program = Path(sys.argv[0]).name
    return program in {"manage.py", "django-admin", "django-admin.py"} and sys.argv[1:2] != [
        "runserver"
    ]
