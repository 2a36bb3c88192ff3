"""Watches the size of a ledger and the free space of its disk, with an alarm below the reserve."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dejavu_common.failure_log import FailureLog
from dejavu_ledger import Ledger
from dejavu_ledger.errors import DiskReserveReached, LedgerError

_log = structlog.get_logger(__name__)


class DiskWatch:
    """Reports the free space of a ledger's disk, and an alarm while it is below the reserve.

    Below the reserve, the writer itself refuses forecasts (see `Writer`), at once and in every worker.

    Args:
        reserve_bytes: free space below which no new forecast is recorded; 0: no limit.
        on_free_bytes: called with the free space.
        on_size_bytes: called with the size of the ledger.

    Attributes:
        below_reserve: whether the free space was below the reserve at the last check.
    """

    def __init__(
        self, reserve_bytes: int, on_free_bytes: Callable[[int], None], on_size_bytes: Callable[[int], None]
    ) -> None:
        self._reserve = reserve_bytes
        self._on_free_bytes = on_free_bytes
        self._on_size_bytes = on_size_bytes
        self._failures = FailureLog(_log, failed="ledger_disk_low", recovered="ledger_disk_recovered")
        self._unknown = FailureLog(_log, failed="ledger_size_unknown", recovered="ledger_size_known")
        self.below_reserve = False

    async def look(self, ledger: Ledger) -> None:
        """Check the disk of a ledger. Failure to get the size is not fatal: the ledger may still work."""
        try:
            size, free = await ledger.size_bytes(), await ledger.free_bytes()
        except LedgerError as error:
            self._unknown.failed(
                error, traceback=False, cause=str(error.__cause__), effect="metrics keep their last values"
            )
            return
        self._unknown.succeeded()
        self._on_size_bytes(size)
        if free is None:
            return
        self._on_free_bytes(free)
        self.below_reserve = free < self._reserve
        if self.below_reserve:
            self._failures.failed(
                DiskReserveReached("the disk of the ledger is nearly full"),
                traceback=False,
                free_bytes=free,
                reserve_bytes=self._reserve,
                effect="forecasts of named games are refused, outcomes are recorded",
            )
        else:
            self._failures.succeeded(free_bytes=free)
