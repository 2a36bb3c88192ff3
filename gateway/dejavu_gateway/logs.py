"""Logs of the gateway to standard error, as JSON or for people; records of libraries get the same form."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Final

import structlog
from structlog.typing import Processor

from dejavu_client.logs import NAME as CLIENT_NAME
from dejavu_common.shown_text import escape_output, unescaped, visible_fields

NAME: Final = "dejavu_gateway"


_SHARED: Final[list[Processor]] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def get_logger() -> structlog.stdlib.BoundLogger:
    """Return the gateway's logger, which takes an event and its fields."""
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(NAME),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
    )
    return logger


def on_repeat_failed(task: str) -> Callable[[], None]:
    """Return a logger of the exceptions of a repeated task."""
    return lambda: get_logger().exception("periodic_work_failed", task=task)


def configure(level: str, log_format: str) -> None:
    """Configure logging for the whole process.

    Args:
        level: lowest level to log: debug, info, warning or error.
        log_format: json, console, or auto: console if standard error is a terminal, otherwise json.
    """
    escape_output()
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    colored = not as_json and sys.stderr.isatty()  # colored by escape sequences; the fields themselves contain none
    renderer: list[Processor] = (
        [
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
        if as_json
        else [
            structlog.processors.format_exc_info,
            visible_fields,
            structlog.dev.ConsoleRenderer(colors=colored, exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    handler = logging.StreamHandler(unescaped(sys.stderr) if colored else sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder(), _with_own_fields],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    # Libraries log from WARNING up: their lower levels only concern their internals.
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger(NAME).setLevel(level.upper())
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # anybody can cause its errors; ours are logged here
    logging.captureWarnings(True)


def _with_own_fields(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put the fields of a record of the client's library, whose event has them as text, in their places."""
    if event["_record"].name == CLIENT_NAME and isinstance(fields := event.pop("fields", None), dict):
        return {**fields, **event, "event": str(event["event"]).partition(" ")[0]}
    return event
