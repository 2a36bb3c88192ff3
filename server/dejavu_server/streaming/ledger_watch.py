"""Watches the disk of a ledger, and the difference between the clocks of server and database."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

import structlog

from dejavu_common.failure_log import FailureLog
from dejavu_ledger import Ledger
from dejavu_ledger.database.sql import MOST_APART, clock_differs
from dejavu_ledger.errors import DiskReserveReached, LedgerError
from dejavu_server.observability.metrics import Metrics

CLOCK_WARNING: Final = timedelta(seconds=5)
"""Difference of the clocks from which the log warns: well before MOST_APART, from which nothing is recorded."""

_log = structlog.get_logger(__name__)


class LedgerWatch:
    """Sets the metrics of a ledger's disk and of the clocks; raises an alarm while free space is below the reserve.

    Below the reserve, the writer itself refuses forecasts (see `Writer`), at once and in every worker.

    Args:
        reserve_bytes: free space below which no new forecast is recorded; 0: no limit.
        metrics: metrics of the worker.

    Attributes:
        below_reserve: whether the free space was below the reserve at the last check.
    """

    def __init__(self, reserve_bytes: int, metrics: Metrics) -> None:
        self._reserve = reserve_bytes
        self._metrics = metrics
        self._low = FailureLog(_log, failed="ledger_disk_low", recovered="ledger_disk_recovered")
        self._unknown = FailureLog(_log, failed="ledger_size_unknown", recovered="ledger_size_known")
        self._differs = FailureLog(_log, failed="ledger_clock_differs", recovered="ledger_clock_agrees")
        self.below_reserve = False

    async def check_disk(self, ledger: Ledger) -> None:
        """Check the disk of a ledger. Failure to get the size is not fatal: the ledger may still work."""
        try:
            size, free = await ledger.size_bytes(), await ledger.free_bytes()
        except LedgerError as error:
            cause, effect = str(error.__cause__), "metrics keep their last values"
            self._unknown.failed(error, traceback=False, cause=cause, effect=effect)
            return
        self._unknown.succeeded()
        self._metrics.ledger_bytes.set(size)
        if free is None:
            return
        self._metrics.ledger_free.set(free)
        self.below_reserve = free < self._reserve
        if self.below_reserve:
            self._low.failed(
                DiskReserveReached("the disk of the ledger is nearly full"),
                traceback=False,
                free_bytes=free,
                reserve_bytes=self._reserve,
                effect="forecasts of named games are refused, outcomes are recorded",
            )
        else:
            self._low.succeeded(free_bytes=free)

    def compare_clocks(self, ahead: timedelta) -> None:
        """Note by how much the server's clock is ahead of the database's; warn if the difference is large."""
        self._metrics.ledger_clock_ahead.set(ahead.total_seconds())
        if abs(ahead) < CLOCK_WARNING:
            self._differs.succeeded()
            return
        effect = f"from {MOST_APART.total_seconds():.0f} s nothing is recorded"
        self._differs.failed(clock_differs(ahead), traceback=False, level=logging.WARNING, effect=effect)
