"""Published results over HTTP, where no web server maps ``url_base`` to ``path_perm``.

In urls.py: ``path("results/<path:path>", wpsjobs.eoxserver.views.result)``.
"""

from __future__ import annotations

import logging
import mimetypes
import os
import threading
from pathlib import Path

from django.http import FileResponse, Http404, HttpResponse
from django.http.request import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import http_date
from django.views.decorators.http import require_safe
from lxml import etree

from wpsjobs.api.names import is_valid_job_id
from wpsjobs.eoxserver import config
from wpsjobs.eoxserver.client import Cluster
from wpsjobs.eoxserver.documents import DocumentStatus
from wpsjobs.eoxserver.files import StorageError, open_within
from wpsjobs.eoxserver.places import Places, in_words
from wpsjobs.eoxserver.storage import RESPONSE, Storage

logger = logging.getLogger(__name__)

CONTENT_TYPES = {".xml": "application/xml; charset=utf-8", ".tif": "image/tiff"}
"""Beside those that Python knows."""
MAX_ACCEPTED_BYTES = 1 << 20
"""A document *Accepted* may be larger, by its lineage; its place is not worth parsing it."""

_places: tuple[config.Config, Places] | None = None
_lock = threading.Lock()


@require_safe
def result(_: HttpRequest, path: str) -> HttpResponseBase:
    """A file below ``path_perm``; a job that waits is told its place in the queue."""
    if any(part.startswith(".") for part in path.split("/")):
        raise Http404(path)  # hidden files are half-written ones
    loaded = config.load()
    response: HttpResponseBase | None = _waiting(loaded, path)
    if response is None:
        response = _file(loaded.path_perm, path)
    for suffix, content_type in CONTENT_TYPES.items():
        if path.endswith(suffix):
            response["Content-Type"] = content_type
    response["Cache-Control"] = "no-cache"  # a status changes
    return response


def _file(folder: Path, path: str) -> FileResponse:
    """Not by Django's ``serve``, which follows a link that a process made to wherever it leads."""
    try:
        file = open_within(folder, folder / path)
    except FileNotFoundError as error:
        raise Http404(path) from error
    content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
    response = FileResponse(file, content_type=content_type)
    response["Last-Modified"] = http_date(os.fstat(file.fileno()).st_mtime)
    return response


def _waiting(loaded: config.Config, path: str) -> HttpResponse | None:
    """The document of a job that waits, with its place; None for whatever else it is."""
    job_id, _, name = path.partition("/")
    if name != RESPONSE or not is_valid_job_id(job_id):
        return None
    try:
        document = Storage(loaded.path_temp, loaded.path_perm, loaded.path_task).response(job_id)
    except StorageError:
        return None
    if document is None or len(document) > MAX_ACCEPTED_BYTES:
        return None
    if DocumentStatus.ACCEPTED.encode() not in document:
        return None
    found = _places_of(loaded).of(job_id)
    if found is None:
        return None
    told = tell(document, in_words(found))
    return None if told is None else HttpResponse(told)


def tell(document: bytes, words: str) -> bytes | None:
    """*document* with *words* added to its ProcessAccepted, or None where it has none."""
    try:
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        root = etree.fromstring(document, parser)
    except etree.XMLSyntaxError:
        return None
    accepted = root.find(f"{{*}}Status/{{*}}{DocumentStatus.ACCEPTED}")
    if accepted is None:
        return None
    accepted.text = f"{(accepted.text or '').strip()} {words}".strip()
    return etree.tostring(root, xml_declaration=True, encoding="utf-8")


def _places_of(loaded: config.Config) -> Places:
    global _places  # noqa: PLW0603 (one for each process, for what it has read is told to all)
    with _lock:
        if _places is None or _places[0] is not loaded:
            cluster = Cluster(loaded.namespace, loaded.context)
            _places = (loaded, Places(cluster, loaded.queue))
        return _places[1]
