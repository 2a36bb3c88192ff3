"""Troubles that repeat with every call, such as a full disk, take a few lines of the log, not one for each call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from structlog.typing import FilteringBoundLogger

REMINDER_SECONDS = 60.0
"""How often a trouble that lasts is told of again; one that was away for as long is a new one."""

SETTLED_SECONDS = 5.0
"""How long nothing may fail before a success ends the trouble: failures and successes may alternate."""


class FailureLog:
    """One thing that can go wrong again and again; to be used by one thread.

    Its first failure is logged as an error, those that follow are counted in a line now and then,
    and its end is a line again.

    Args:
        log: where it is told.
        failed: the event of a failure.
        recovered: the event of its end; never logged where nobody calls `succeeded`.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        log: FilteringBoundLogger,
        *,
        failed: str,
        recovered: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._event = failed
        self._recovered = recovered
        self._clock = clock
        self._failures = 0  # since it began; 0: there is none
        self._began = self._latest = self._told = 0.0

    def failed(self, error: BaseException, *, traceback: bool = True, **fields: Any) -> None:
        """Takes note of a failure; the fields are logged with it, and the first time its traceback if wanted."""
        now = self._clock()
        if now - self._latest >= REMINDER_SECONDS:
            self._failures = 0
        self._failures += 1
        self._latest = now
        if self._failures == 1:
            self._began = self._told = now
            told = {"exc_info": error} if traceback else {}
            self._log.error(self._event, error=str(error), **told, **fields)
        elif now - self._told >= REMINDER_SECONDS:
            self._told = now
            self._log.error(self._event, error=str(error), **self._so_far(now), **fields)

    def succeeded(self, **fields: Any) -> None:
        """Takes note that it worked; the fields are logged with the end of the trouble."""
        if self._failures:
            now = self._clock()
            if now - self._latest >= SETTLED_SECONDS:
                self._log.info(self._recovered, **self._so_far(now), **fields)
                self._failures = 0

    def _so_far(self, now: float) -> dict[str, Any]:
        return {"failures": self._failures, "seconds": round(now - self._began, 1)}
