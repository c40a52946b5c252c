"""Where the tasks of this program are: from environment variables, else from ``eoxserver.conf``.

=============================  ==============================================================
``WPSJOBS_PATH_TASK``          directory on the shared volume for inputs and responses
``WPSJOBS_PATH_TEMP``          directory for working directories; default: ``temp`` beside it
``WPSJOBS_NAMESPACE``          Kubernetes namespace
``WPSJOBS_TRACKER_QUEUE``      name of the WpsQueue; default: ``tracker``
``WPSJOBS_TEMPLATE_QUEUE``     WpsQueue whose pod template a new queue gets; default: ``default``
``WPSJOBS_ACCEPT_TIMEOUT``     seconds to wait for the operator's verdict; default: 5
``WPSJOBS_CONTEXT``            context of the kubectl configuration; default: the current one
``KUBECONFIG``                 the kubectl configuration; in a pod, its service account is used
=============================  ==============================================================

Without ``WPSJOBS_PATH_TASK``, the program is one of an EOxServer instance (its Django settings are
configured), and the sections ``[services.ows.wps]`` and ``[services.ows.wps.kubernetes]`` of its
``eoxserver.conf`` say what the environment does not; ``tracker_queue`` is the name of the queue.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wpsjobs.api.names import DEFAULT_QUEUE

DEFAULT_TRACKER_QUEUE = "tracker"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
MAX_ACCEPT_TIMEOUT = 60.0


class SettingsError(Exception):
    """The tracker is not told where its tasks are, or what it is told cannot be."""


@dataclass(frozen=True)
class Settings:
    """Where tasks are."""

    path_task: Path
    path_temp: Path
    path_perm: Path
    """Nothing of a task is published; what a handler's own code puts there goes with the task."""
    namespace: str
    queue: str = DEFAULT_TRACKER_QUEUE
    template_queue: str = DEFAULT_QUEUE
    accept_timeout: float = 5.0
    context: str | None = None


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Raises SettingsError, or Django's ImproperlyConfigured for what is wrong in its settings."""
    path_task = environ.get("WPSJOBS_PATH_TASK")
    known = _from_environment(path_task, environ) if path_task else _from_instance()
    return Settings(
        path_task=known.path_task,
        path_temp=Path(environ.get("WPSJOBS_PATH_TEMP") or known.path_temp),
        path_perm=known.path_perm,
        namespace=environ.get("WPSJOBS_NAMESPACE") or known.namespace,
        queue=environ.get("WPSJOBS_TRACKER_QUEUE") or known.queue,
        template_queue=environ.get("WPSJOBS_TEMPLATE_QUEUE") or known.template_queue,
        accept_timeout=_seconds(environ, known.accept_timeout),
        context=environ.get("WPSJOBS_CONTEXT") or known.context,
    )


def _from_environment(path_task: str, environ: Mapping[str, str]) -> Settings:
    path = Path(path_task)
    if not path.is_dir():
        raise SettingsError(
            f"WPSJOBS_PATH_TASK={path_task} is no directory; mount the shared volume there"
        )
    namespace = environ.get("WPSJOBS_NAMESPACE") or _pod_namespace() or "default"
    return Settings(path, path.parent / "temp", path.parent / "perm", namespace)


def _from_instance() -> Settings:
    from django.conf import (
        ENVIRONMENT_VARIABLE,
        settings,  # a program may do without an instance
    )

    if not settings.configured and not os.environ.get(ENVIRONMENT_VARIABLE):
        raise SettingsError(
            "The tracker does not know where its tasks are: set WPSJOBS_PATH_TASK to the "
            f"directory on the shared volume, or {ENVIRONMENT_VARIABLE} to the settings of an "
            "EOxServer instance."
        )
    from wpsjobs.eoxserver import config  # needs Django's settings

    loaded = config.load()
    return Settings(
        path_task=loaded.path_task,
        path_temp=loaded.path_temp,
        path_perm=loaded.path_perm,
        namespace=loaded.namespace,
        queue=loaded.tracker_queue,
        template_queue=loaded.queue,
        accept_timeout=loaded.accept_timeout,
        context=loaded.context,
    )


def _pod_namespace() -> str | None:
    try:
        return NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None


def _seconds(environ: Mapping[str, str], default: float) -> float:
    value = environ.get("WPSJOBS_ACCEPT_TIMEOUT")
    try:
        seconds = float(value) if value else default
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds <= MAX_ACCEPT_TIMEOUT:
        raise SettingsError(
            f"WPSJOBS_ACCEPT_TIMEOUT={value} must be a number of seconds up to "
            f"{MAX_ACCEPT_TIMEOUT:.0f}"
        )
    return seconds
