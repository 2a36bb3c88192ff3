"""Watches the difference between the clocks of a server and of its ledger's database."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from dejavu_common.failure_log import FailureLog
from dejavu_ledger.database.sql import MOST_APART, clock_differs

WARNING: Final = timedelta(seconds=5)
"""Difference from which the log warns: well before MOST_APART, from which nothing is recorded."""

_log = structlog.get_logger(__name__)


class ClockWatch:
    """Reports the difference of the clocks, and warns of it.

    Args:
        on_seconds: called with the seconds by which the server's clock is ahead of the database's; negative: behind.
    """

    def __init__(self, on_seconds: Callable[[float], None]) -> None:
        self._on_seconds = on_seconds
        self._differs = FailureLog(_log, failed="ledger_clock_differs", recovered="ledger_clock_agrees")

    def look(self, ahead: timedelta) -> None:
        """Report a difference; warn if it is large."""
        self._on_seconds(ahead.total_seconds())
        if abs(ahead) < WARNING:
            self._differs.succeeded()
            return
        effect = f"from {MOST_APART.total_seconds():.0f} s nothing is recorded"
        self._differs.failed(clock_differs(ahead), traceback=False, level=logging.WARNING, effect=effect)
