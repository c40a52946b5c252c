"""Who asked for a job, for ``spec.owner``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

SETTING = "WPSJOBS_OWNER"
"""Django setting: dotted path of a callable that is given the HTTP request and returns the user's
name and the client's address, either of which may be None."""

_MAX_USER, _MAX_ADDRESS = 256, 64


def request_owner(request: Any) -> tuple[str | None, str | None]:
    """The authenticated user and the address of the connection.

    Behind a proxy that is the proxy's address; set WPSJOBS_OWNER to a callable that knows which
    header of which proxy to trust.
    """
    user = getattr(request, "user", None)
    name = user.get_username() if user is not None and user.is_authenticated else None
    return name or None, request.META.get("REMOTE_ADDR") or None


def owner_of(request: Any | None) -> dict[str, str]:
    """``spec.owner`` for an Execute; empty where nothing is known."""
    if request is None:
        return {}
    dotted = getattr(settings, SETTING, None)
    find: Callable[[Any], tuple[str | None, str | None]] = (
        import_string(dotted) if dotted else request_owner
    )
    user, address = find(request)
    owner = {}
    if user:
        owner["user"] = str(user)[:_MAX_USER]
    if address:
        owner["remoteAddress"] = str(address)[:_MAX_ADDRESS]
    return owner
