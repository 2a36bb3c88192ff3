"""Logging: structlog, as JSON for machines or coloured lines for people, always to standard error.

What libraries log through the standard library takes the same form.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import Processor


def configure(level: str, log_format: str, **bound: str | int) -> None:
    """Sets up logging for the whole process.

    Args:
        level: lowest level shown: debug, info, warning or error.
        log_format: json, console, or auto: console where standard error is a terminal.
        bound: what every line of this process carries.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _binder(bound),
    ]
    renderer: list[Processor] = (
        [
            # Without local variables: a batch's are long, and nobody's business.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(_is_news)
    # Libraries have their say from warnings on: what they tell below is about themselves.
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    logging.captureWarnings(True)


class _StandardError:
    """Standard error, whose terminal may be closed, reader gone or disk full: no call may fail for not being logged."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def _is_news(record: logging.LogRecord) -> bool:
    """False for tracebacks of gRPC's about what callers did, who could fill the log with them: no longer waited for an
    answer (how calls ended is counted), or sent metadata or a path that is no text (see breakage.py).
    """
    kind = record.exc_info[0] if record.exc_info else None
    if kind is None:
        return not isinstance(record.msg, UnicodeDecodeError)
    return kind.__name__ not in {"ExecuteBatchError", "UnicodeDecodeError"}


def _binder(bound: dict[str, str | int]) -> Processor:
    def bind(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, **bound}

    return bind
