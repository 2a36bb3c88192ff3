"""The client's log: that of the standard library, under the name `dejavu_client`.

A library must not print to its host's standard output, as structlog does where nobody configured it. Left alone, the
standard library writes warnings and errors to stderr; a host that configures logging gets everything, its way.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

NAME: Final = "dejavu_client"


def get_logger() -> structlog.stdlib.BoundLogger:
    """The client's logger, which takes an event and its fields.

    A record's message is the event and the fields as text; its attribute `fields` has them as they are.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(NAME),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, _as_record],
    )
    return logger


def log_to_stderr(level: str) -> None:
    """Has a program's log written to stderr, from a level (debug, info, warning, error) on."""
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger(NAME)
    logger.handlers = [handler]
    logger.setLevel(level.upper())


class _Stderr(logging.Handler):
    """Looks sys.stderr up at every record: it may be replaced, as by a table that puts lines above itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record on a line of its own."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def _as_record(
    _logger: object, _method: str, event_dict: MutableMapping[str, Any]
) -> tuple[tuple[str], dict[str, Any]]:
    """Arguments of the standard library's logger for an event."""
    event, exc_info = event_dict.pop("event"), event_dict.pop("exc_info", None)
    text = " ".join([event, *(f"{name}={value!r}" for name, value in event_dict.items())])
    return (text,), {"exc_info": exc_info, "extra": {"fields": dict(event_dict)}}
