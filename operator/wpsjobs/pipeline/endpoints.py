"""The form of every answer: the wrapper, the headers, the statuses of errors."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.csrf import csrf_exempt

from wpsjobs.eoxserver.client import ClusterError
from wpsjobs.pipeline.errors import BusyError, PipelineError
from wpsjobs.pipeline.options import Options
from wpsjobs.pipeline.parameters import read, refuse_other_sites

logger = logging.getLogger(__name__)

View = Callable[[HttpRequest, dict[str, str], Options], Any]
Handler = Callable[[HttpRequest], HttpResponseBase]
JSON = "application/json"


def reading(*names: str) -> Callable[[View], Handler]:
    """An endpoint that tells something, by GET; a client that has it already is told so."""
    return functools.partial(_endpoint, names=names, changes=False)


def changing(*names: str) -> Callable[[View], Handler]:
    """An endpoint that does something, by POST and, where the setting lets it, by GET.

    Nobody is logged in here, so that there is no CSRF token; see docs/pipeline.md.
    """
    return functools.partial(_endpoint, names=names, changes=True)


def _endpoint(view: View, *, names: tuple[str, ...], changes: bool) -> Handler:
    @csrf_exempt
    @functools.wraps(view)
    def answer(request: HttpRequest) -> HttpResponseBase:
        try:
            options = Options.load()
            allowed = _methods(changes, options)
            if request.method == "OPTIONS":
                return _preflight(allowed)
            if request.method not in allowed:
                return _not_allowed(request, allowed)
            parameters = read(request, *names)
            if changes and not options.changing_gets:
                refuse_other_sites(request)
            response = wrapped(HTTPStatus.OK, "Success", view(request, parameters, options))
        except PipelineError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(
                error, BusyError
            ):
                logger.error("%s: %s", request.path, error)  # noqa: TRY400 (its words suffice)
            return _refused(error)
        except ClusterError as error:
            logger.warning("%s: %s", request.path, error)
            return _refused(BusyError("The cluster does not answer. Try again later."))
        except Exception:
            logger.exception("%s", request.path)
            return wrapped(
                HTTPStatus.INTERNAL_SERVER_ERROR, "This went wrong; the server's log says why."
            )
        return response if changes else _conditional(request, response)

    return answer


def wrapped(status: HTTPStatus, message: str, data: Any = None) -> HttpResponse:
    """The wrapper of every answer."""
    body = json.dumps({"status": status, "message": message, "data": data}, ensure_ascii=False)
    response = HttpResponse(body.encode(), content_type=JSON, status=status)
    response["Access-Control-Allow-Origin"] = "*"
    response["Cache-Control"] = "no-store"
    # The server has logged why; Django would add a line for each client that errs.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def _conditional(request: HttpRequest, response: HttpResponse) -> HttpResponseBase:
    """The answer, or 304 where the client's If-None-Match names it."""
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response["ETag"] = etag
    response["Cache-Control"] = "no-cache"  # may be kept, and has to be asked for again
    conditional = get_conditional_response(request, etag=etag, response=response) or response
    conditional["Access-Control-Allow-Origin"] = "*"
    return conditional


def _refused(error: PipelineError) -> HttpResponse:
    response = wrapped(error.status, str(error))
    if isinstance(error, BusyError):
        response["Retry-After"] = str(Options.load().retry_after)
    return response


def _methods(changes: bool, options: Options) -> tuple[str, ...]:
    if not changes:
        return ("GET", "HEAD", "OPTIONS")
    return ("GET", "POST", "OPTIONS") if options.changing_gets else ("POST", "OPTIONS")


def _not_allowed(request: HttpRequest, allowed: tuple[str, ...]) -> HttpResponse:
    response = wrapped(
        HTTPStatus.METHOD_NOT_ALLOWED,
        f"{request.method} is not for {request.path}; use {' or '.join(allowed[:-1])}.",
    )
    response["Allow"] = ", ".join(allowed)
    return response


def _preflight(allowed: tuple[str, ...]) -> HttpResponse:
    """The answer to OPTIONS: what a page of another site may do (Fetch, CORS protocol)."""
    response = HttpResponse(status=HTTPStatus.NO_CONTENT)
    response["Allow"] = response["Access-Control-Allow-Methods"] = ", ".join(allowed)
    response["Access-Control-Allow-Origin"] = "*"
    response["Access-Control-Allow-Headers"] = "Content-Type, If-None-Match"
    return response
