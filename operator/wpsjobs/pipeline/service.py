"""What the endpoints do: start, tell and cancel jobs, by the plugin's own back-end and client."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from eoxserver.services.ows.wps.exceptions import OWS10Exception, ServerBusy
from eoxserver.services.ows.wps.parameters import InputData, ResponseDocument
from eoxserver.services.ows.wps.util import get_async_backends

from wpsjobs.api.names import resource_name
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.eoxserver import config, processes
from wpsjobs.eoxserver.backend import WpsJobBackend
from wpsjobs.eoxserver.client import Cluster, ClusterError, ConflictError, NotFoundError
from wpsjobs.eoxserver.jobs import UnknownJobError
from wpsjobs.pipeline import results
from wpsjobs.pipeline.board import Board, Raw
from wpsjobs.pipeline.errors import (
    BadRequestError,
    BusyError,
    FinishedError,
    PipelineError,
    UnknownError,
)
from wpsjobs.pipeline.models import Tile, Town
from wpsjobs.pipeline.options import Options
from wpsjobs.pipeline.parameters import StartRequest
from wpsjobs.pipeline.states import ENDED, Data, State, log, state_of, summary, tile_ids

MOST_CONFLICTS = 10
"""How often a cancellation is tried, while the WpsJob changes at the same moment."""

_board: tuple[config.Config, Board] | None = None
_lock = threading.Lock()


def start(request: HttpRequest, wanted: StartRequest, options: Options) -> Data:
    """Queue a job. Raises PipelineError, and ClusterError where the API server does not answer."""
    plan = options.planner(wanted.town_id, wanted.tile_ids)
    process = processes.find(plan.process)
    if process is None or plan.process not in options.processes:
        raise ImproperlyConfigured(
            f"The process {plan.process!r} is to be started: add it to EOXS_PROCESSES and "
            "WPSJOBS_PIPELINE_PROCESSES."
        )
    inputs = {name: InputData(value, name) for name, value in plan.inputs.items()}
    form = ResponseDocument(lineage=False, status=True, store_response=True)
    try:
        job_id = _backend().execute(process, inputs, form, request=request)
    except ServerBusy as error:
        raise BusyError(
            "Nothing was started: the queue is full, or the operator does not answer. "
            f"Try again in {options.retry_after} seconds."
        ) from error
    except OWS10Exception as error:
        if processes.is_client_error(error):
            raise BadRequestError(str(error)) from error
        raise PipelineError(f"Nothing was started: {error}") from error
    board = board_of(config.load())
    board.stale()
    try:
        raw = board.cluster.get_job(resource_name(job_id))
    except ClusterError as error:
        raise BusyError(
            f"The job was started, with the WPS identifier {job_id}, but the cluster does not tell "
            "its number now: /list_jobs will. Do not start it again."
        ) from error
    return status(raw)


def find(job_id: int, options: Options) -> Raw:
    """The WpsJob of a job. Raises UnknownError and ClusterError."""
    raw = board_of(config.load()).find(job_id, options.processes)
    if raw is None:
        raise UnknownError(
            f"There is no job {job_id}; /list_jobs has those that there are. One that has expired "
            "is gone with its results."
        )
    return raw


def status(raw: Raw) -> Data:
    """All that is told of a job."""
    job = WpsJob.from_raw(raw)
    outputs = results.outputs(_response(job)) if state_of(job) is State.FINISHED else {}
    data = summary(job)
    bounds = bounds_of(tile_ids(job))
    return {
        **data,
        "tiles": [tile | {"bounds": bounds.get(tile["tile_id"])} for tile in data["tiles"]],
        "log": log(job),
        "result_url": results.result_url(outputs),
        "outputs": outputs,
        "response_url": job.spec.response_url,
    }


def cancel(job_id: int, options: Options) -> Data:
    """Cancel a job that has not ended; again is no error while it is ending.

    Raises UnknownError, FinishedError and ClusterError.
    """
    board = board_of(config.load())
    for _ in range(MOST_CONFLICTS):
        raw = find(job_id, options)
        state = state_of(WpsJob.from_raw(raw))
        if state in ENDED:
            raise FinishedError(f"The job {job_id} is {state} already and cannot be cancelled.")
        metadata = raw["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"cancel": True},
        }
        try:
            changed = board.cluster.patch_job(metadata["name"], patch)
        except (ConflictError, NotFoundError):
            continue
        board.stale()
        return status(changed)
    raise BusyError(f"The job {job_id} changes all the time; try again.")


def list_jobs(options: Options) -> list[Data]:
    """All jobs, the newest first. Raises ClusterError."""
    return board_of(config.load()).jobs(options.processes)


def list_towns() -> list[Data]:
    """The towns of the model, with the numbers of their tiles."""
    return [
        {
            "town_id": town.number,
            "name": town.name,
            "tile_ids": [tile.number for tile in town.tiles.all()],
        }
        for town in Town.objects.prefetch_related("tiles")
    ]


def bounds_of(numbers: Sequence[int | None]) -> dict[int, list[float]]:
    """West, south, east and north of those tiles whose outlines the model has."""
    known = [number for number in numbers if number is not None]
    tiles = Tile.objects.in_bulk(known) if known else {}
    return {number: tile.bounds for number, tile in tiles.items() if tile.bounds is not None}


def board_of(loaded: config.Config) -> Board:
    """The board of this process."""
    global _board  # noqa: PLW0603 (one for each process, for what it has read is told to all)
    with _lock:
        if _board is None or _board[0] is not loaded:
            _board = (loaded, Board(Cluster(loaded.namespace, loaded.context)))
        return _board[1]


def _backend() -> WpsJobBackend:
    """The back-end of this process, whose watch for verdicts all Executes share."""
    for backend in get_async_backends():
        if isinstance(backend, WpsJobBackend):
            return backend
    raise ImproperlyConfigured("EOXS_ASYNC_BACKENDS lacks wpsjobs.eoxserver.backend.WpsJobBackend.")


def _response(job: WpsJob) -> bytes:
    try:
        with _backend().get_response(job.id) as file:
            return file.read()
    except UnknownJobError:
        return b""
