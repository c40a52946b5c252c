"""The operator's settings, all from the environment, which the Helm chart fills."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """See each field; the names of the variables are the fields' with ``WPSJOBS_`` before."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve, comma-separated; none means all of the cluster (needs a ClusterRole)."""
    worker_service_account: str = "wpsjobs-worker"
    """Service account of job pods, in each served namespace; never taken from a template."""
    lease_namespace: str = ""
    """Namespace of the Lease that makes one operator the leader; empty means that of its pod, or
    else the first that it serves."""
    lease_name: str = "wpsjobs-operator"
    """Name of that Lease; two operators that serve the same namespaces must share it."""
    identity: str = ""
    """Unique to the operator's pod (its UID); empty means the host's name and process's id."""
    list_seconds: float = 45.0
    """Age in seconds at which the lists of unfinished objects are taken anew. Watches bring news
    at once; the lists put right what a watch has missed, at the price of a LIST each."""
    finished_list_seconds: float = 600.0
    """The same for finished WpsJobs, which only expire."""
    request_timeout: float = 15.0
    """Seconds for one request to the API server, before it counts as failed."""
    writes_at_once: int = 64
    """Requests that change something under way at a time. A round of decisions waits for all of its
    writes; with 16, fewer WpsJobs got through in alternate runs (docs/benchmarks.md)."""
    probe_address: str = "0.0.0.0"  # noqa: S104 - the kubelet asks at the pod's own address
    """Address of /healthz, /readyz and /metrics."""
    probe_port: int = 8080
    """Port of /healthz, /readyz and /metrics."""
    stuck_seconds: float = 120.0
    """/healthz fails when the loop has not turned for as long. Far above a turn's length, since
    it leads to a restart."""
    log_level: str = "INFO"
    """Level of the operator's log."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Raises ValueError with the variable's name where a value is no positive number."""
        defaults = cls()

        def number(name: str, default: float) -> float:
            text = environment.get(f"WPSJOBS_{name}", "")
            try:
                value = float(text) if text else default
            except ValueError:
                value = math.nan
            if not 0 < value < math.inf:
                raise ValueError(f"WPSJOBS_{name} must be a positive number and is {text!r}")
            return value

        def count(name: str, default: int) -> int:
            value = number(name, default)
            if value != int(value):
                raise ValueError(f"WPSJOBS_{name} must be a whole number and is {value}")
            return int(value)

        def text(name: str, default: str) -> str:
            return environment.get(f"WPSJOBS_{name}") or default

        return cls(
            namespaces=tuple(
                name.strip() for name in text("NAMESPACES", "").split(",") if name.strip()
            ),
            worker_service_account=text("WORKER_SERVICE_ACCOUNT", defaults.worker_service_account),
            lease_namespace=text("LEASE_NAMESPACE", defaults.lease_namespace),
            lease_name=text("LEASE_NAME", defaults.lease_name),
            identity=text("IDENTITY", defaults.identity),
            list_seconds=number("LIST_SECONDS", defaults.list_seconds),
            finished_list_seconds=number("FINISHED_LIST_SECONDS", defaults.finished_list_seconds),
            request_timeout=number("REQUEST_TIMEOUT", defaults.request_timeout),
            writes_at_once=count("WRITES_AT_ONCE", defaults.writes_at_once),
            probe_address=text("PROBE_ADDRESS", defaults.probe_address),
            probe_port=count("PROBE_PORT", defaults.probe_port),
            stuck_seconds=number("STUCK_SECONDS", defaults.stuck_seconds),
            log_level=text("LOG_LEVEL", defaults.log_level),
        )
