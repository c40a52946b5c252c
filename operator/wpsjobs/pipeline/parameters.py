"""The parameters of a request, checked: each error says what was written and what to write."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest

from wpsjobs.pipeline.errors import (
    BadRequestError,
    ForbiddenError,
    MediaTypeError,
    TooLargeError,
)

MOST_TILES = 10_000
"""As many as a WpsJob may have parts."""
MOST_JOBS, DEFAULT_JOBS = 500, 100
"""How many jobs a list may have, and has where it is not said."""
LARGEST_ID = 2**31 - 1
"""Of a town or a tile, as the database has them."""
LARGEST_JOB_ID = 2**63 - 1
FORM = "application/x-www-form-urlencoded"
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})")
_SHOWN = 60


@dataclass(frozen=True)
class StartRequest:
    """A town, or tiles."""

    town_id: int | None
    tile_ids: tuple[int, ...]


def read(request: HttpRequest, *names: str) -> dict[str, str]:
    """The parameters of the query, and by POST those of the body, too, each of them once.

    Raises PipelineError for any that is not among *names*.
    """
    try:
        sources: list[Any] = [request.GET]
        if request.method == "POST":
            if request.body and request.content_type != FORM:
                raise MediaTypeError(
                    f"The body is {request.content_type!r}; send the parameters as {FORM}, or in "
                    "the query."
                )
            sources.append(request.POST)
    except RequestDataTooBig as error:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raise TooLargeError(f"The request has more than {most} bytes.") from error
    except SuspiciousOperation as error:
        raise BadRequestError(f"The request cannot be read: {error}") from error
    found: dict[str, str] = {}
    for source in sources:
        for name, values in source.lists():
            if name not in names:
                raise BadRequestError(
                    f"There is no parameter {_shown(name)}; there are {' and '.join(names)}."
                    if names
                    else f"There is no parameter {_shown(name)}; this takes none."
                )
            if name in found or len(values) > 1:
                raise BadRequestError(f"{name} is given more than once; write it once.")
            found[name] = values[0]
    return found


def start_request(parameters: dict[str, str]) -> StartRequest:
    """What to start. Raises BadRequestError."""
    tiles, town = parameters.get("tile_ids"), parameters.get("town_id")
    if tiles is not None and town is not None:
        raise BadRequestError("tile_ids and town_id are both given; give one of them.")
    if tiles is not None:
        return StartRequest(None, _tile_ids(tiles))
    if town is not None:
        return StartRequest(number("town_id", town, LARGEST_ID), ())
    raise BadRequestError(
        "Neither tile_ids nor town_id is given; give one of them, such as tile_ids=4315,4283 or "
        "town_id=11850."
    )


def job_id(parameters: dict[str, str]) -> int:
    """The job asked for. Raises BadRequestError."""
    value = parameters.get("job_id")
    if value is None:
        raise BadRequestError("job_id is not given; give the number that start_job told.")
    return number("job_id", value, LARGEST_JOB_ID)


def number(name: str, value: str, most: int, least: int = 0) -> int:
    """A whole number in decimal digits, without sign. Raises BadRequestError."""
    found = int(value) if _NUMBER.fullmatch(value) else None
    if found is None or not least <= found <= most:
        raise BadRequestError(
            f"{name} is {_shown(value)}; write a whole number from {least} to {most}."
        )
    return found


def refuse_other_sites(request: HttpRequest) -> None:
    """Raises ForbiddenError where a page of another site sent the request.

    Browsers say so by ``Origin`` (RFC 6454) with each POST; other clients need not send it.
    """
    origin = request.headers.get("Origin")
    if origin is None:
        return
    allowed = {urlsplit(each).netloc for each in settings.CSRF_TRUSTED_ORIGINS}
    if urlsplit(origin).netloc not in {request.get_host(), *allowed}:
        raise ForbiddenError(
            f"The request comes from {_shown(origin)}, which is not among CSRF_TRUSTED_ORIGINS."
        )


def _tile_ids(value: str) -> tuple[int, ...]:
    words = value.split(",")
    if len(words) > MOST_TILES:
        raise BadRequestError(f"tile_ids has {len(words)} tiles; a job has {MOST_TILES} at most.")
    ids = []
    for word in words:
        if not _NUMBER.fullmatch(word) or int(word) > LARGEST_ID:
            raise BadRequestError(
                f"tile_ids has {_shown(word)}; write whole numbers up to {LARGEST_ID} with commas "
                "between, such as tile_ids=4315,4283."
            )
        ids.append(int(word))
    twice = [tile_id for tile_id, times in Counter(ids).items() if times > 1]
    if twice:
        raise BadRequestError(f"tile_ids has {twice[0]} more than once; name each tile once.")
    return tuple(ids)


def _shown(text: str) -> str:
    """A client's words in ours: bounded, and with what is not printable escaped."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
