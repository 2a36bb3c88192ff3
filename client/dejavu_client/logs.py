"""Client logging: structlog events sent to the standard library's logger `dejavu_client`.

A library must not print to standard output, which structlog does without configuration. The standard library, without
configuration, writes warnings and errors to stderr. A host program that configures logging receives all records in its
own format.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal

import structlog

NAME: Final = "dejavu_client"

LogLevel = Literal["debug", "info", "warning", "error"]


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return the client's logger, which takes an event and its fields.

    The message of a log record is the event and the fields as text. Its attribute `fields` holds the original values.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(NAME),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, _as_record],
    )
    return logger


def log_to_stderr(level: LogLevel) -> None:
    """Write log records of a level and above to stderr."""
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger(NAME)
    logger.handlers = [handler]
    logger.setLevel(level.upper())


class _Stderr(logging.Handler):
    """Looks up sys.stderr for each record: it may be replaced, e.g. by a live table that prints lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _as_record(
    _logger: object, _method: str, event_dict: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """Convert an event to arguments of the standard library's logger."""
    event, exc_info = event_dict.pop("event"), event_dict.pop("exc_info", None)
    text = " ".join([event, *(f"{name}={value!r}" for name, value in event_dict.items())])
    return (text,), {"exc_info": exc_info, "extra": {"fields": dict(event_dict)}}
