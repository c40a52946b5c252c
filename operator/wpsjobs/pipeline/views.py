"""The endpoints: names, parameters and what they answer. ``openapi.json`` describes them."""

from __future__ import annotations

from django.http import HttpRequest

from wpsjobs.pipeline import service
from wpsjobs.pipeline.endpoints import changing, reading
from wpsjobs.pipeline.errors import BadRequestError
from wpsjobs.pipeline.options import Options
from wpsjobs.pipeline.parameters import (
    DEFAULT_JOBS,
    LARGEST_ID,
    MOST_JOBS,
    job_id,
    number,
    start_request,
)
from wpsjobs.pipeline.states import Data, State

Parameters = dict[str, str]


@reading()
def index(_request: HttpRequest, _parameters: Parameters, _options: Options) -> str:
    """Whether it runs."""
    return "running!"


@changing("tile_ids", "town_id")
def start_job(request: HttpRequest, parameters: Parameters, options: Options) -> Data:
    """Queue a job for a town or for tiles."""
    return service.start(request, start_request(parameters), options)


@reading("job_id")
def job_status(_request: HttpRequest, parameters: Parameters, options: Options) -> Data:
    """How a job stands."""
    return service.status(service.find(job_id(parameters), options))


@changing("job_id")
def cancel_job(_request: HttpRequest, parameters: Parameters, options: Options) -> Data:
    """End a job that has not ended."""
    return service.cancel(job_id(parameters), options)


@reading("state", "town_id", "limit")
def list_jobs(_request: HttpRequest, parameters: Parameters, options: Options) -> Data:
    """The newest jobs, and how many there are."""
    state, town = parameters.get("state"), parameters.get("town_id")
    if state is not None and state not in list(State):
        raise BadRequestError(f"state is {state[:60]!r}; write one of {', '.join(State)}.")
    town_id = None if town is None else number("town_id", town, LARGEST_ID)
    limit = number("limit", parameters.get("limit", str(DEFAULT_JOBS)), MOST_JOBS, least=1)
    found = [
        job
        for job in service.list_jobs(options)
        if state in (None, job["state"]) and town_id in (None, job["town_id"])
    ]
    return {"total": len(found), "jobs": found[:limit]}


@reading()
def list_towns(_request: HttpRequest, _parameters: Parameters, _options: Options) -> list[Data]:
    """The towns that the models know."""
    return service.list_towns()
