"""The page at ``/jobs`` with its files, and the OpenAPI description: as they are shipped."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from wpsjobs.eoxserver import config

_TYPES = {
    "jobs.html": "text/html; charset=utf-8",
    "jobs.css": "text/css; charset=utf-8",
    "jobs.js": "text/javascript; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "openapi.json": "application/json",
}


@require_safe
def page(request: HttpRequest) -> HttpResponseBase:
    """The page. It may load what this service serves, and pictures from where results are."""
    response = _file(request, "page", "jobs.html")
    results = urlsplit(config.load().url_base)
    response["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src 'self' {results.scheme}://{results.netloc}; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'self'"
    )
    return response


@require_safe
def asset(request: HttpRequest, name: str) -> HttpResponseBase:
    """A file of the page."""
    if name not in _TYPES or name.endswith((".html", ".json")):
        raise Http404(name)
    return _file(request, "page", name)


@require_safe
def description(request: HttpRequest) -> HttpResponseBase:
    """The OpenAPI description of the service."""
    response = _file(request, "openapi.json")
    response["Access-Control-Allow-Origin"] = "*"
    return response


def _file(request: HttpRequest, *path: str) -> HttpResponseBase:
    content, etag = _read(*path)
    response = HttpResponse(content, content_type=_TYPES[path[-1]])
    response["ETag"] = etag
    response["Cache-Control"] = "no-cache"  # an upgrade brings another
    response["X-Content-Type-Options"] = "nosniff"
    return get_conditional_response(request, etag=etag, response=response) or response


@cache
def _read(*path: str) -> tuple[bytes, str]:
    content = files(__package__).joinpath(*path).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
