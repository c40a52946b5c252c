"""The configuration in ``eoxserver.conf``, its checks, and clear words where it is wrong."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from eoxserver.core.config import get_eoxserver_config, get_instance_config_path

from wpsjobs.api.names import DEFAULT_QUEUE

logger = logging.getLogger(__name__)

SECTION = "services.ows.wps"
KUBERNETES_SECTION = "services.ows.wps.kubernetes"
SOCKET_KEYS = (
    "socket_file",
    "socket_address",
    "socket_max_connections",
    "socket_connection_timeout",
    "socket_poll_timeout",
)
"""Keys of ``eoxs_wps_async``, whose daemon listened on a socket: accepted and unused."""

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_TRACKER_QUEUE = "tracker"
MAX_ACCEPT_TIMEOUT = 60.0


@dataclass(frozen=True)
class Config:
    """What the plugin, the worker and the housekeeper are told."""

    path_temp: Path
    """Working directories of attempts: ``<path_temp>/<id>/<attempt>``."""
    path_perm: Path
    """Published files: ``<path_perm>/<id>/…``, which a web server maps to *url_base*."""
    path_task: Path
    """Markers, large requests and kept logs; never published."""
    url_base: str
    """URL of *path_perm*, without a final slash."""
    namespace: str
    """Kubernetes namespace of this instance; by default that of the pod."""
    queue: str = DEFAULT_QUEUE
    """Name of the WpsQueue."""
    tracker_queue: str = DEFAULT_TRACKER_QUEUE
    """Name of the WpsQueue for the tasks of ``wpsjobs.tracker``."""
    accept_timeout: float = 5.0
    """Seconds that an Execute waits for the operator's verdict before it is answered "busy"."""
    context: str | None = None
    """Context of the kubectl configuration; None in a pod or for the current one."""
    source: str = "eoxserver.conf"
    """The file, for messages."""

    @classmethod
    def from_options(
        cls,
        options: Mapping[str, str],
        kubernetes: Mapping[str, str],
        source: str,
    ) -> Config:
        """Raises ImproperlyConfigured, naming key, section and file."""
        reader = _Reader(options, SECTION, source)
        extra = _Reader(kubernetes, KUBERNETES_SECTION, source)
        return cls(
            path_temp=reader.path("path_temp"),
            path_perm=reader.path("path_perm"),
            path_task=reader.path("path_task"),
            url_base=reader.url("url_base"),
            namespace=extra.text("namespace") or _pod_namespace() or "default",
            queue=extra.text("queue") or DEFAULT_QUEUE,
            tracker_queue=extra.text("tracker_queue") or DEFAULT_TRACKER_QUEUE,
            accept_timeout=extra.seconds("accept_timeout", 5.0),
            context=extra.text("context"),
            source=source,
        )

    def check_directories(self) -> None:
        """Raises ImproperlyConfigured where a directory is missing or cannot be written to."""
        for key, path in (
            ("path_temp", self.path_temp),
            ("path_perm", self.path_perm),
            ("path_task", self.path_task),
        ):
            if not path.is_dir():
                problem = "is no directory; create it or mount the shared volume there"
            elif not os.access(path, os.W_OK | os.X_OK):
                problem = f"cannot be written to by the user {os.geteuid()}; change its owner"
            else:
                continue
            raise ImproperlyConfigured(
                f"{key} = {path} in the section [{SECTION}] of {self.source} {problem}."
            )


class _Reader:
    """Options of one section, with errors that name key, section and file."""

    def __init__(self, options: Mapping[str, str], section: str, source: str) -> None:
        self._options, self._section, self._source = options, section, source

    def text(self, key: str) -> str | None:
        return self._options.get(key, "").strip() or None

    def required(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise self._error(key, "is missing")
        return value

    def path(self, key: str) -> Path:
        path = Path(self.required(key))
        if not path.is_absolute():
            raise self._error(key, f"must be an absolute path, not {str(path)!r}")
        return path

    def url(self, key: str) -> str:
        url = self.required(key).rstrip("/")
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise self._error(key, f"must be an http or https URL, not {url!r}")
        return url

    def seconds(self, key: str, default: float) -> float:
        value = self.text(key)
        try:
            seconds = float(value) if value is not None else default
        except ValueError:
            seconds = 0.0
        if not 0.0 < seconds <= MAX_ACCEPT_TIMEOUT:
            raise self._error(
                key, f"must be a number of seconds up to {MAX_ACCEPT_TIMEOUT:.0f}, not {value!r}"
            )
        return seconds

    def _error(self, key: str, problem: str) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"{key} {problem}: see the section [{self._section}] of {self._source}."
        )


_cached: tuple[object, Config] | None = None
_warned = False


def load() -> Config:
    """The configuration of this instance.

    Raises ImproperlyConfigured where a key is missing or malformed.
    """
    global _cached, _warned  # noqa: PLW0603 (read anew only when EOxServer has read its file anew)
    parser = get_eoxserver_config()
    if _cached is not None and _cached[0] is parser:
        return _cached[1]
    options = dict(parser.items(SECTION)) if parser.has_section(SECTION) else {}
    kubernetes = (
        dict(parser.items(KUBERNETES_SECTION)) if parser.has_section(KUBERNETES_SECTION) else {}
    )
    loaded = Config.from_options(options, kubernetes, get_instance_config_path())
    unused = [key for key in SOCKET_KEYS if key in options]
    if unused and not _warned:
        _warned = True
        logger.warning(
            "%s in the section [%s] of %s: not used any more, for there is no daemon to talk to",
            ", ".join(unused),
            SECTION,
            loaded.source,
        )
    _cached = (parser, loaded)
    return loaded


def _pod_namespace() -> str | None:
    try:
        return NAMESPACE_FILE.read_text().strip() or None
    except OSError:
        return None
