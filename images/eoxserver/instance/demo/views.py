"""Published results, where no web server stands in front, and the probe."""

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from django.views.static import serve
from eoxserver.services.ows import dispatch
from eoxserver.services.ows.wps.util import get_async_backends, get_processes

from wpsjobs.eoxserver import config

CONTENT_TYPES = {".xml": "application/xml; charset=utf-8", ".tif": "image/tiff"}


@require_safe
def result(request: HttpRequest, path: str) -> HttpResponse:
    """A file below ``path_perm``; ``url_base`` points here."""
    if any(part.startswith(".") for part in path.split("/")):
        raise Http404(path)  # hidden files are half-written ones
    response = serve(request, path, document_root=config.load().path_perm)
    for suffix, content_type in CONTENT_TYPES.items():
        if path.endswith(suffix):
            response["Content-Type"] = content_type
    response["Cache-Control"] = "no-cache"  # a status changes
    return response


@require_safe
def health(_request: HttpRequest) -> JsonResponse:
    """Whether WPS could answer: its handlers, processes and back-end load."""
    load_everything()
    return JsonResponse({"processes": len(get_processes())})


def load_everything() -> None:
    """Load what EOxServer otherwise loads at the first request."""
    if dispatch.SERVICE_HANDLERS is None:
        dispatch._setup_handlers()
    get_processes()
    get_async_backends()
