"""The exception handler of WPS 1.0, which tells a refused client when to come again."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from eoxserver.services.ows.wps.exceptions import FileSizeExceeded
from eoxserver.services.ows.wps.v10 import exceptionhandler

RETRY_AFTER_SETTING = "WPSJOBS_RETRY_AFTER"
DEFAULT_RETRY_AFTER = 10
"""Seconds after which a client that was told "busy" may try again: some small jobs have ended by
then, and a crowd of clients does not come back at once."""


class WPS10ExceptionHandler(
    exceptionhandler.WPS10ExceptionHandler  # type: ignore[misc]  # EOxServer has no types
):
    """EOxServer's handler, with ``Retry-After`` (RFC 9110, 10.2.3) in the answer ServerBusy."""

    def handle_exception(self, request: Any, exception: Exception) -> Any:
        result = super().handle_exception(request, exception)
        content, content_type, status = result
        if status != 503:
            return result
        response = HttpResponse(content=content, content_type=content_type, status=status)
        seconds = getattr(settings, RETRY_AFTER_SETTING, DEFAULT_RETRY_AFTER)
        response["Retry-After"] = str(int(seconds))
        # The back-end has logged why; Django would add an error for each refused client.
        response._has_been_logged = True  # type: ignore[attr-defined]
        return response


def bad_request(request: Any, exception: Exception) -> HttpResponse:
    """The exception report, for what is refused before EOxServer has seen the request."""
    content, content_type, _ = exceptionhandler.WPS10ExceptionHandler().handle_exception(
        request, exception
    )
    return HttpResponse(content=content, content_type=content_type, status=400)


def too_large(request: Any) -> HttpResponse:
    """The answer to a body over Django's limit, which would be a page without a word."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    words = f"The request has more than {most} bytes. Send large data by reference."
    return bad_request(request, FileSizeExceeded(words, None))
