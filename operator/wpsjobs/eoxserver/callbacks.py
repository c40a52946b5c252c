"""The optional callbacks of a process."""

from __future__ import annotations

import logging
from typing import Any

from wpsjobs.eoxserver.context import JobContext

logger = logging.getLogger(__name__)


def initialize(process: Any, context: JobContext, request: Any) -> None:
    """Call ``initialize``; what it raises is for the client."""
    callback = getattr(process, "initialize", None)
    if callback is not None:
        callback(context, request.raw_inputs, request.resp_form, request.extra_parts)


def notify(process: Any, name: str, context: JobContext, *args: Any) -> None:
    """Call ``on_accepted``, ``on_failed``, …, ``discard``; what they raise is logged."""
    callback = getattr(process, name, None)
    if callback is None:
        return
    try:
        callback(context, *args)
    except Exception:
        logger.exception("%s: the callback %s failed", context.identifier, name)
