"""OperationsService: what the server does, for those who run it."""

from __future__ import annotations

from collections.abc import Callable

from dejavu.v1 import operations_service_pb2 as pb
from dejavu_server.api.converters.operations import stats_message
from dejavu_server.api.handlers import Context
from dejavu_server.observability.totals import ServerTotals

OPERATIONS_SERVICE = pb.DESCRIPTOR.services_by_name["OperationsService"]


class OperationsService:
    """Reports what the server does.

    Args:
        totals: returns what all workers counted; the same object until they were summed again.
        workers: number of workers of the server.
        coverage_days: days of the games whose intervals are counted.
    """

    def __init__(self, totals: Callable[[], ServerTotals], workers: int, coverage_days: int) -> None:
        self._totals = totals
        self._workers = workers
        self._coverage_days = coverage_days
        self._answered: tuple[ServerTotals, pb.GetServiceStatsResponse] | None = None

    async def get_service_stats(self, _: pb.GetServiceStatsRequest, __: Context) -> pb.GetServiceStatsResponse:
        """Returns the statistics."""
        totals = self._totals()
        if self._answered is None or self._answered[0] is not totals:  # so that callers can ask as often as they like
            self._answered = totals, stats_message(totals, self._workers, self._coverage_days)
        return self._answered[1]
