"""The Django application."""

from __future__ import annotations

from django.apps import AppConfig


class PipelineConfig(AppConfig):
    """``wpsjobs.pipeline`` in ``INSTALLED_APPS``."""

    name = "wpsjobs.pipeline"
    label = "wpsjobs_pipeline"
    verbose_name = "Tile job pipeline"
    default_auto_field = "django.db.models.BigAutoField"
