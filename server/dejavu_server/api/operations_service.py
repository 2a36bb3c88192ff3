"""OperationsService: statistics of the server, for operators."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dejavu.ops.v1 import operations_service_pb2 as pb
from dejavu_server.api.converters.operations import stats_message
from dejavu_server.limits import Caller
from dejavu_server.observability.statistics import ServerStatistics

OPERATIONS_SERVICE = pb.DESCRIPTOR.services_by_name["OperationsService"]


class OperationsService:
    """Reports the activity of the server.

    Args:
        statistics: returns the statistics of all workers; the same object until they were sampled again.
        server: name, number of workers and common settings of the server.
        coverage_days: number of days whose games count towards the coverage.
        ledger: state of the ledger, as far as the settings determine it.
        clock: returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        statistics: Callable[[], ServerStatistics],
        *,
        server: pb.ServerInfo,
        coverage_days: int,
        ledger: pb.LedgerState,
        clock: Callable[[], datetime],
    ) -> None:
        self._statistics = statistics
        self._clock = clock
        self._server = server
        self._coverage_days = coverage_days
        self._ledger = ledger
        self._answered: tuple[ServerStatistics, pb.GetServiceStatsResponse] | None = None

    async def get_service_stats(self, _: pb.GetServiceStatsRequest, __: Caller) -> pb.GetServiceStatsResponse:
        """Return the statistics."""
        statistics = self._statistics()
        if self._answered is None or self._answered[0] is not statistics:  # callers can ask as often as they like
            message = stats_message(
                statistics,
                server=self._server,
                coverage_days=self._coverage_days,
                ledger=self._ledger,
                now=self._clock().timestamp(),
            )
            self._answered = statistics, message
        return self._answered[1]
