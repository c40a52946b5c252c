"""What the supervisor is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wpsjobs.api.attempt import TERMINATION_LOG, Environment

SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
SERVICE_ACCOUNT_DIR_VARIABLE = "WPSJOBS_SERVICE_ACCOUNT_DIR"
TERMINATION_LOG_VARIABLE = "WPSJOBS_TERMINATION_LOG"

EXECUTION_MODULE = "wpsjobs.eoxserver.execution"
HANDLER_MODULE = "wpsjobs.tracker.runner"
"""The child where the process is a task handler. Both are named, never imported, from here."""


class SettingsError(Exception):
    """The environment lacks what every job pod is given; the message names the variable."""


@dataclass(frozen=True)
class ApiSettings:
    """How to reach the API server."""

    host: str
    port: int
    service_account_dir: Path
    """Directory with ``token`` (read anew, for it is rotated) and ``ca.crt``."""


@dataclass(frozen=True)
class Settings:
    """One attempt of one WpsJob."""

    namespace: str
    name: str
    attempt: int
    part: int | None
    """Index of the part to be executed, or None."""
    tried: int
    """How often that part was launched before."""
    kubernetes_job: str
    """Name of the Kubernetes Job of this pod, to be compared with ``status.jobName``."""
    timeout_seconds: int | None
    """As resolved at the launch; ``spec.timeoutSeconds`` of the WpsJob goes before it."""
    keep_logs: bool
    child_module: str
    api: ApiSettings
    termination_log: Path = Path(TERMINATION_LOG)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Raises SettingsError where a variable is missing or malformed."""
        _number(environ, Environment.PART)
        return cls(
            namespace=_text(environ, Environment.NAMESPACE),
            name=_text(environ, Environment.NAME),
            attempt=_number(environ, Environment.ATTEMPT) or 1,
            part=int(environ[Environment.PART]) if environ.get(Environment.PART) else None,
            tried=_number(environ, Environment.TRY) or 0,
            kubernetes_job=_text(environ, Environment.KUBERNETES_JOB),
            timeout_seconds=_number(environ, Environment.TIMEOUT_SECONDS),
            keep_logs=environ.get(Environment.KEEP_LOGS) == "true",
            child_module=HANDLER_MODULE if environ.get(Environment.HANDLER) else EXECUTION_MODULE,
            api=ApiSettings(
                host=_text(environ, "KUBERNETES_SERVICE_HOST"),
                port=_number(environ, "KUBERNETES_SERVICE_PORT") or 443,
                service_account_dir=Path(
                    environ.get(SERVICE_ACCOUNT_DIR_VARIABLE, SERVICE_ACCOUNT_DIR)
                ),
            ),
            termination_log=Path(environ.get(TERMINATION_LOG_VARIABLE, TERMINATION_LOG)),
        )


def _text(environ: Mapping[str, str], key: str) -> str:
    value = environ.get(key)
    if not value:
        raise SettingsError(
            f"the environment variable {key} is missing; job pods are started by the operator"
        )
    return value


def _number(environ: Mapping[str, str], key: str) -> int | None:
    """The number, or None where it is absent or 0."""
    value = environ.get(key) or "0"
    if not value.isascii() or not value.isdigit():
        raise SettingsError(f"the environment variable {key} must be a number, not {value!r}")
    return int(value) or None
