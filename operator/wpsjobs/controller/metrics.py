"""Prometheus metrics of the operator, served at /metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)

API_REQUESTS = Counter("wpsjobs_api_requests_total", "Requests to the API server", ["method"])
API_ERRORS = Counter("wpsjobs_api_errors_total", "Requests to the API server that failed", ["kind"])
QUEUED = Gauge("wpsjobs_queue_depth", "WpsJobs that wait", ["namespace", "queue"])
RUNNING = Gauge("wpsjobs_running", "Slots in use", ["namespace", "queue"])
FINISHED = Counter(
    "wpsjobs_finished_total", "WpsJobs that ended", ["namespace", "process", "phase"]
)
REJECTED = Counter(
    "wpsjobs_rejected_total", "WpsJobs that were refused", ["namespace", "process", "reason"]
)
RESTARTS = Counter(
    "wpsjobs_restarts_total", "Attempts that were repeated", ["namespace", "process", "reason"]
)
WAIT_SECONDS = Histogram(
    "wpsjobs_wait_seconds",
    "From the acceptance to the slot of the first attempt",
    ["namespace", "process"],
    buckets=_SECONDS,
)
RUN_SECONDS = Histogram(
    "wpsjobs_run_seconds",
    "From the start of the last attempt to the end",
    ["namespace", "process"],
    buckets=_SECONDS,
)
LOOP_SECONDS = Histogram(
    "wpsjobs_loop_seconds",
    "Length of a pass over a namespace",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
LIST_AGE = Gauge("wpsjobs_list_age_seconds", "Age of the oldest list of unfinished objects")
