"""Multipart requests over HTTP, whose parts are inputs (``cid:`` references).

EOxServer 1.5.5 fails on any of them: it reads the body as XML, or without the header that tells its
parts apart. Where clients send such requests of asynchronous processes, add
``wpsjobs.eoxserver.multipart.MultipartMiddleware`` to ``MIDDLEWARE``.
"""

from __future__ import annotations

import base64
import binascii
import quopri
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from eoxserver.services.ows.wps.exceptions import NoApplicableCode

from wpsjobs.eoxserver.exceptionhandler import bad_request, too_large

PARTS_ATTRIBUTE = "wpsjobs_parts"
"""Of a request: its named parts, on their way to the back-end."""
_TYPES = ("multipart/related", "multipart/mixed")
_LINE = b"\r\n"


@dataclass(frozen=True)
class Multipart:
    """A multipart/related message (RFC 2387): the request itself, and what it refers to."""

    root: bytes
    parts: dict[str, bytes] = field(default_factory=dict)
    """By their Content-ID."""

    @classmethod
    def parse(cls, content_type: str, body: bytes) -> Multipart:
        """Raises NoApplicableCode where *body* is no such message."""
        header = Message()
        header["Content-Type"] = content_type
        boundary = header.get_boundary()
        if not boundary:
            raise NoApplicableCode("The multipart request has no boundary.", "Content-Type")
        # Every delimiter begins with a line break, which the first one may lack.
        chunks = (_LINE + body).split(_LINE + b"--" + boundary.encode())
        found: list[tuple[str | None, bytes]] = []
        for chunk in chunks[1:]:
            if chunk.startswith(b"--"):
                break
            found.append(_parse_part(chunk))
        else:
            raise NoApplicableCode("The multipart request has no end.", "Content-Type")
        if not found:
            raise NoApplicableCode("The multipart request has no parts.", "Content-Type")
        named = {name: data for name, data in found if name}
        start = _bare(header.get_param("start"))
        return cls(named.get(start or "", found[0][1]), named)


class MultipartMiddleware:
    """Leaves the XML of a multipart/related request as its body, and the parts for the back-end."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        content_type = request.META.get("CONTENT_TYPE", "")
        if request.method == "POST" and content_type.lower().startswith(_TYPES):
            try:
                message = Multipart.parse(content_type, request.body)
            except RequestDataTooBig:
                return too_large(request)
            except NoApplicableCode as error:
                return bad_request(request, error)
            request._body = message.root  # as Django keeps it itself
            request.META["CONTENT_TYPE"] = "text/xml"
            setattr(request, PARTS_ATTRIBUTE, message.parts)
        return self._get_response(request)


def parts_of(request: Any) -> dict[str, bytes]:
    """The parts that the middleware has found in *request*, if it has seen it."""
    return dict(getattr(request, PARTS_ATTRIBUTE, {}))


def _parse_part(chunk: bytes) -> tuple[str | None, bytes]:
    """The Content-ID, if there is one, and the content."""
    _, _, rest = chunk.partition(_LINE)  # what follows a delimiter on its line is padding
    head, separator, data = (_LINE + rest).partition(_LINE + _LINE)
    if not separator:
        raise NoApplicableCode("A part of the multipart request has no header.", "Content-Type")
    headers = BytesHeaderParser().parsebytes(head.lstrip(_LINE))
    encoding = str(headers.get("Content-Transfer-Encoding", "binary")).strip().lower()
    try:
        if encoding == "base64":
            data = base64.b64decode(data)
        elif encoding == "quoted-printable":
            data = quopri.decodestring(data)
    except binascii.Error as error:
        raise NoApplicableCode(f"A part is no {encoding}: {error}", "Content-Type") from error
    return _bare(headers.get("Content-ID")), data


def _bare(content_id: object) -> str | None:
    """A Content-ID without its angle brackets, as ``cid:`` URLs have it (RFC 2392)."""
    return str(content_id).strip().removeprefix("<").removesuffix(">") if content_id else None
