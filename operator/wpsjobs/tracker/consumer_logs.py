"""The log of the ready daemon: a JSON object a line, as the operator's."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from wpsjobs.api.times import format_time

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Message, time and level, and whatever *extra* the call has given."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "timestamp": format_time(datetime.fromtimestamp(record.created, UTC)),
            **{key: value for key, value in vars(record).items() if key not in _OWN},
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def log_json() -> None:
    """Write the messages of WpsJobs to standard error in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("wpsjobs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
