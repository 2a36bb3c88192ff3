"""Logging with structlog to standard error, as JSON or as colored console lines.

Log records of libraries, which use the standard library's logging, get the same format.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor

from dejavu_common.shown_text import escape_output, unescaped, visible_fields


def configure(level: str, log_format: str, **bound: str | int) -> None:
    """Configure logging for the whole process.

    Args:
        level: lowest level to log: debug, info, warning or error.
        log_format: json, console, or auto: console if standard error is a terminal, otherwise json.
        bound: fields added to every log line of this process.
    """
    escape_output()
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    colored = not as_json and sys.stderr.isatty()  # colored by escape sequences; the fields themselves contain none
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _method, event: {**event, **bound},
    ]
    # Tracebacks without local variables: the variables of a batch are long and private.
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
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _StandardError(colored))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(unescaped(sys.stderr) if colored else sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(_not_caused_by_caller)
    # Libraries log from WARNING up: their lower levels only concern their internals.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    logging.captureWarnings(True)


class _StandardError:
    """Standard error that ignores write errors: a closed terminal or full disk must not make a call fail."""

    def __init__(self, colored: bool) -> None:
        self._colored = colored

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            (unescaped(sys.stderr) if self._colored else sys.stderr).write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def _not_caused_by_caller(record: logging.LogRecord) -> bool:
    """Return False for gRPC tracebacks that callers can cause and with which they could fill the log.

    They come from calls whose caller no longer waits for the response (the metrics count how calls end), and from
    metadata or paths that are not valid text.
    """
    kind = record.exc_info[0] if record.exc_info else None
    if kind is None:
        return not isinstance(record.msg, UnicodeDecodeError)
    return kind.__name__ not in {"ExecuteBatchError", "UnicodeDecodeError"}
