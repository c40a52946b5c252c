"""The probe, and what is loaded at the start."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from eoxserver.services.ows import dispatch
from eoxserver.services.ows.wps.util import get_async_backends, get_processes


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
