"""The service's Django settings.

================================== ===============================================================
``WPSJOBS_PIPELINE_PROCESSES``     identifiers of the processes whose jobs the service shows and
                                   cancels; the models start the first. Default ``["Mosaic"]``
``WPSJOBS_PIPELINE_PLAN``          dotted path of the callable that says which process to start
                                   with which inputs; see ``wpsjobs.pipeline.plans``
``WPSJOBS_PIPELINE_CHANGING_GETS`` whether GET may start and cancel jobs. Default True; where it is
                                   False, no page of another site may by POST, either
``WPSJOBS_RETRY_AFTER``            seconds after which to try again; the plugin's own setting
================================== ===============================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from wpsjobs.eoxserver.exceptionhandler import DEFAULT_RETRY_AFTER, RETRY_AFTER_SETTING
from wpsjobs.pipeline.plans import Planner

DEFAULT_PLAN = "wpsjobs.pipeline.towns.plan"
DEFAULT_PROCESSES = ("Mosaic",)


@dataclass(frozen=True)
class Options:
    """The settings, as they are at this moment."""

    processes: tuple[str, ...]
    plan: str
    changing_gets: bool
    retry_after: int

    @classmethod
    def load(cls) -> Options:
        """Raises ImproperlyConfigured where no process is named."""
        processes = getattr(settings, "WPSJOBS_PIPELINE_PROCESSES", DEFAULT_PROCESSES)
        if isinstance(processes, str) or not processes:
            raise ImproperlyConfigured(
                f"WPSJOBS_PIPELINE_PROCESSES is {processes!r}; write a list of the identifiers of "
                'processes, such as ["Mosaic"].'
            )
        return cls(
            processes=tuple(processes),
            plan=getattr(settings, "WPSJOBS_PIPELINE_PLAN", DEFAULT_PLAN),
            changing_gets=bool(getattr(settings, "WPSJOBS_PIPELINE_CHANGING_GETS", True)),
            retry_after=int(getattr(settings, RETRY_AFTER_SETTING, DEFAULT_RETRY_AFTER)),
        )

    @property
    def planner(self) -> Planner:
        """The callable. Raises ImproperlyConfigured where it cannot be imported."""
        try:
            planner: Planner = import_string(self.plan)
        except ImportError as error:
            raise ImproperlyConfigured(f"WPSJOBS_PIPELINE_PLAN: {error}") from error
        return planner
