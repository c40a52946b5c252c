"""XML requests with large texts, which EOxServer's parser refuses.

libxml2 takes no text of more than 10 MB unless it is told to, and EOxServer does not tell it.
Where clients send such requests, add ``wpsjobs.eoxserver.large.LargeRequestMiddleware`` to
``MIDDLEWARE``, after ``MultipartMiddleware``. Django's ``DATA_UPLOAD_MAX_MEMORY_SIZE`` is the limit
then.
"""

from __future__ import annotations

from collections.abc import Callable

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.response import HttpResponse, HttpResponseBase
from eoxserver.services.ows.wps.exceptions import FileSizeExceeded

from wpsjobs.eoxserver.exceptionhandler import bad_request, too_large
from wpsjobs.eoxserver.parsing import MAX_TEXT_BYTES, is_harmless, without_limits

ADVICE = (
    "The request has a text of more than 10 MB. Send it in UTF-8 and without a DOCTYPE, or send "
    "the text as a part of a multipart/related request or by reference."
)
_LIBXML2_WORDS = b"XML_PARSE_HUGE"


class LargeRequestMiddleware:
    """Has a large request parsed without libxml2's limits, if that cannot be misused."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.method != "POST" or not _is_xml(request):
            return self._get_response(request)
        try:
            body = request.body
        except RequestDataTooBig:
            return too_large(request)
        if len(body) <= MAX_TEXT_BYTES:
            return self._get_response(request)
        if not is_harmless(body):
            return self._refused(request)
        with without_limits():
            return self._get_response(request)

    def _refused(self, request: HttpRequest) -> HttpResponseBase:
        """The answer of EOxServer, in words that say what to do."""
        response = self._get_response(request)
        if isinstance(response, HttpResponse) and _LIBXML2_WORDS in response.content:
            return bad_request(request, FileSizeExceeded(ADVICE, None))
        return response


def _is_xml(request: HttpRequest) -> bool:
    """Not an upload to another part of the instance, which may be larger and is not for memory."""
    content_type = request.META.get("CONTENT_TYPE", "").lower()
    return "xml" in content_type or content_type.partition(";")[0] in {"", "text/plain"}
