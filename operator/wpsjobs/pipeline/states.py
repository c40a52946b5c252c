"""A WpsJob in the service's words: pure, from the resource to the JSON of the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any

from wpsjobs.api.parts import Parts
from wpsjobs.api.phases import Phase
from wpsjobs.api.times import format_seconds
from wpsjobs.api.wpsjob import WpsJob
from wpsjobs.pipeline.plans import TILES_INPUT, TOWN_INPUT

Data = dict[str, Any]
_NUMBER = re.compile(r"[0-9]{1,18}")


class State(StrEnum):
    """Of a job, and of a tile."""

    READY = "ready"
    IN_PROGRESS = "in progress"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.FINISHED, State.FAILED, State.CANCELLED})
_STATES = {
    None: State.READY,
    Phase.ACCEPTED: State.READY,
    Phase.SCHEDULED: State.IN_PROGRESS,
    Phase.STARTED: State.IN_PROGRESS,
    Phase.SUCCEEDED: State.FINISHED,
    Phase.FAILED: State.FAILED,
    Phase.REJECTED: State.FAILED,
    Phase.DISMISSED: State.CANCELLED,
}
"""All phases but Paused, which is where it was."""


def state_of(job: WpsJob) -> State:
    """The state of the job.

    A paused one is in progress once it has had a slot; so is one of whose tiles some are done,
    while it waits for the slot of its mosaic.
    """
    if job.status.phase is Phase.PAUSED:
        return State.IN_PROGRESS if job.status.attempt else State.READY
    state, parts = _STATES[job.status.phase], job.status.parts
    if state is State.READY and parts is not None and (parts.succeeded or parts.running):
        return State.IN_PROGRESS
    return state


def summary(job: WpsJob) -> Data:
    """What a list tells of a job."""
    state, progress = state_of(job), job.status.progress
    is_finished = state is State.FINISHED
    return {
        "job_id": job.sequence,
        "state": state,
        "town_id": _number(_inputs(job).get(TOWN_INPUT)),
        "process": job.spec.process,
        "progress": 100 if is_finished else min(progress.percent, 99) if progress else 0,
        "message": _message(job, state),
        "cancelling": job.cancelled and state not in ENDED,
        "paused": job.status.phase is Phase.PAUSED,
        "created_at": _time(job.metadata.created_at),
        "started_at": _time(job.status.started_at or job.status.scheduled_at),
        "finished_at": _time(job.status.finished_at),
        "tiles": list(_tiles(job, state)),
    }


def log(job: WpsJob) -> list[Data]:
    """The transitions of the job, the oldest first."""
    entries = ((_text(entry, "time"), entry) for entry in job.status.history)
    return [
        {
            "time": time,
            "phase": _text(entry, "phase") or "",
            "message": _text(entry, "message") or "",
        }
        for time, entry in entries
        if time
    ]


def tile_ids(job: WpsJob) -> list[int | None]:
    """The tiles of the job: its parts, else those of its input.

    None stands for a part that is no number.
    """
    if job.spec.parts:
        return [_number(part) for part in job.spec.parts]
    words = (_inputs(job).get(TILES_INPUT) or "").split(",")
    return [_number(word) for word in words if word]


def _tiles(job: WpsJob, state: State) -> Iterator[Data]:
    """Each tile with its state; those of a job without parts have the state of the job."""
    numbers = tile_ids(job)
    if not job.spec.parts:
        yield from (_tile(number, state, 0) for number in numbers)
        return
    parts = job.status.parts or Parts(attempt=0, total=len(numbers))
    known = {
        State.FINISHED: parts.succeeded,
        State.FAILED: parts.failed,
        State.IN_PROGRESS: parts.running,
    }
    rest = State.CANCELLED if state in ENDED else State.READY
    for index, number in enumerate(numbers):
        found = next((each for each, indexes in known.items() if index in indexes), rest)
        yield _tile(number, _ended(found, state), parts.tries(index))


@lru_cache(maxsize=1 << 16)
def _tile(number: int | None, state: State, restarts: int) -> Data:
    """One for all jobs that have the same: many thousands that are kept are of few towns."""
    return {"tile_id": number, "state": state, "restarts": restarts}


def _ended(tile: State, job: State) -> State:
    """A tile that ran when its job was ended has been ended, too."""
    return State.CANCELLED if tile is State.IN_PROGRESS and job in ENDED else tile


def _message(job: WpsJob, state: State) -> str | None:
    """What is going on, or how it ended."""
    progress = job.status.progress
    said = progress.message if progress else None
    if state is State.IN_PROGRESS and said:
        return said
    return job.status.message or said


def _inputs(job: WpsJob) -> dict[str, str]:
    """The literal inputs of the request, by identifier."""
    inputs = (job.spec.execute or {}).get("inputs")
    return {
        each["id"]: each["data"]
        for each in (inputs if isinstance(inputs, list) else [])
        if isinstance(each, Mapping)
        and isinstance(each.get("id"), str)
        and isinstance(each.get("data"), str)
    }


def _number(text: str | None) -> int | None:
    return int(text) if text and _NUMBER.fullmatch(text) else None


def _text(entry: Mapping[str, Any], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) else None


def _time(moment: datetime | None) -> str | None:
    return format_seconds(moment) if moment else None
