"""Loggers: everything under ``wpsjobs``, and the old logger's readers keep reading."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

ROOT = "wpsjobs"
OLD_ROOT = "eoxs_wps_async"
"""Logger of the back-end that this one takes the place of."""


class _Forwarder(logging.Handler):
    """Hands records on to the handlers of the old logger."""

    def emit(self, record: logging.LogRecord) -> None:
        target = logging.getLogger(OLD_ROOT)
        if record.levelno >= target.getEffectiveLevel():
            target.handle(record)


def keep_old_logger() -> None:
    """Where LOGGING configures ``eoxs_wps_async`` and not ``wpsjobs``, send it our messages."""
    old, new = logging.getLogger(OLD_ROOT), logging.getLogger(ROOT)
    if not old.handlers or new.handlers:
        return
    new.addHandler(_Forwarder())
    new.propagate = False
    if old.level:
        new.setLevel(old.level)


def show_unless_configured() -> None:
    """Where LOGGING says nothing of our messages, write them to standard error: a pod's log."""
    logger = logging.getLogger(ROOT)
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the job's identifier before each message."""

    def __init__(self, job_id: str, name: str = "wpsjobs.process") -> None:
        super().__init__(logging.getLogger(name), {"job_id": job_id})
        self._job_id = job_id

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        return f"{self._job_id}: {msg}", kwargs
