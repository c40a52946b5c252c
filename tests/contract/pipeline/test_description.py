"""The service is as its OpenAPI description tells, whatever is sent (schemathesis)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from demo.tiles import TOWNS
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi import checks

from tests.contract.fakeapi import FakeApi, Job
from tests.contract.pipeline.conftest import WHEN, accepted
from wpsjobs.pipeline import service
from wpsjobs.pipeline.parameters import LARGEST_ID

EXAMPLES = 60
"""For each operation."""
PARTS = {"attempt": 1, "total": 24, "succeeded": "0-4", "failed": "9", "running": "5-6"}
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]
PROGRESS = {"percent": 40, "message": "5 of 24 parts are done"}
OUTCOMES: list[Job] = [
    {},
    {"phase": "Started", "attempt": 1, "startedAt": WHEN, "parts": PARTS, "progress": PROGRESS},
    {"phase": "Succeeded", "finishedAt": WHEN},
    {"phase": "Failed", "message": "tile 9: no such file", "finishedAt": WHEN, "parts": PARTS},
    {"phase": "Dismissed", "finishedAt": WHEN},
    {"phase": "Rejected", "reason": "QueueFull", "acceptedAt": None},
]


described = schemathesis.openapi.from_path(Path(service.__file__).with_name("openapi.json"))
described.app = get_wsgi_application()


@pytest.fixture
def jobs(http: Any, api: FakeApi) -> Iterator[None]:
    """The service has jobs that stand in all ways, and more come."""
    outcomes = itertools.cycle(OUTCOMES)
    api.on_created = lambda job: accepted(job) | next(outcomes)
    for town in (*TOWNS, *TOWNS, *TOWNS):
        http.get(f"/start_job?town_id={town.number}")
    with override_settings(ALLOWED_HOSTS=["*"]):
        yield


@described.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_sent_the_answer_is_as_described(
    case: schemathesis.Case, jobs: None, api: FakeApi
) -> None:
    """No error of the server, no answer that the description lacks, nothing wrong accepted."""
    for parameters in (case.query, case.body):
        if isinstance(parameters, dict):
            make_familiar(parameters, api)
    case.call_and_validate(base_url="http://testserver", checks=CHECKS)


def make_familiar(parameters: dict[str, Any], api: FakeApi) -> None:
    """Name what there is in three of four cases: chance alone would find none of it."""
    jobs = [job["status"]["sequence"] for job in api.jobs.values()]
    familiar = {"job_id": jobs, "town_id": [town.number for town in TOWNS]}
    for name, values in familiar.items():
        chance = parameters.get(name)
        if type(chance) is int and 0 <= chance <= LARGEST_ID and chance % 4:
            parameters[name] = values[chance % len(values)]
