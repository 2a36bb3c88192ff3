"""Rate-limited logging of failures that may repeat with every call, such as a full disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

REMINDER_SECONDS = 60.0
"""Interval at which a continuing failure is logged again; after a pause of this length, a failure counts as new."""

SETTLED_SECONDS = 5.0
"""Time without a failure before a success counts as recovery, because failures and successes may alternate."""


class Logger(Protocol):
    """A logger of events with fields, such as one of structlog."""

    def log(self, level: int, event: str, **fields: Any) -> Any:
        """Log an event at a level of `logging`."""

    def info(self, event: str, **fields: Any) -> Any:
        """Log an event at level INFO."""


def text_of(error: BaseException) -> str:
    """Return the text of an error, or, as that of some is empty, the name of its type."""
    return str(error) or type(error).__name__


class FailureLog:
    """Logs one kind of repeating failure. Use it from one thread.

    The first failure is logged, as an error by default. Further failures are counted and logged once per
    REMINDER_SECONDS. The recovery is logged once.

    Args:
        log: logger to write to.
        failed: event name of a failure.
        recovered: event name of the recovery; unused if `succeeded` is never called.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        log: Logger,
        *,
        failed: str,
        recovered: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._event = failed
        self._recovered = recovered
        self._clock = clock
        self._failures = 0  # since the failure began; 0 while nothing fails
        self._began = self._latest = self._logged_at = 0.0

    def failed(
        self, error: BaseException, *, traceback: bool = True, level: int = logging.ERROR, **fields: Any
    ) -> None:
        """Record a failure.

        Args:
            error: the failure.
            traceback: whether to log its traceback the first time.
            level: level of the line; that of the latest failure counts.
            fields: further fields to log.
        """
        now = self._clock()
        if now - self._latest >= REMINDER_SECONDS:
            self._failures = 0
        self._failures += 1
        self._latest = now
        if self._failures == 1:
            self._began = self._logged_at = now
            traceback_field = {"exc_info": error} if traceback else {}
            self._log.log(level, self._event, error=text_of(error), **traceback_field, **fields)
        elif now - self._logged_at >= REMINDER_SECONDS:
            self._logged_at = now
            self._log.log(level, self._event, error=text_of(error), **self._summary(now), **fields)

    def succeeded(self, **fields: Any) -> None:
        """Record a success; log the recovery, with these fields, if the failure has ended."""
        if self._failures:
            now = self._clock()
            if now - self._latest >= SETTLED_SECONDS:
                self._log.info(self._recovered, **self._summary(now), **fields)
                self._failures = 0

    def _summary(self, now: float) -> dict[str, Any]:
        return {"failures": self._failures, "seconds": round(now - self._began, 1)}
