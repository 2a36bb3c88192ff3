"""OperationsService: what the server does, and how old the data of pollers' feeds is, for those who run it."""

from __future__ import annotations

import time
from collections.abc import Callable

from dejavu.v1 import operations_service_pb2 as pb
from dejavu_server.api.converters.operations import feed_report, stats_message
from dejavu_server.api.handlers import Context
from dejavu_server.observability.other_servers import KnownServer, OtherServers, ServerSample
from dejavu_server.observability.totals import FeedReport, ServerTotals

OPERATIONS_SERVICE = pb.DESCRIPTOR.services_by_name["OperationsService"]


class OperationsService:
    """Reports what the server does.

    Args:
        totals: returns what all workers counted; the same object until they were summed again.
        others: returns what is known of the other servers of the ledger.
        name: where the server runs.
        workers: number of workers of the server.
        coverage_days: days of the games whose intervals are counted.
        report_feed: keeps a report about a feed, by its name.
        clock: returns the time, in seconds of the machine's monotonic clock.
    """

    def __init__(
        self,
        totals: Callable[[], ServerTotals],
        others: Callable[[], OtherServers],
        *,
        name: str,
        workers: int,
        coverage_days: int,
        report_feed: Callable[[str, FeedReport], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._totals = totals
        self._others = others
        self._report_feed = report_feed
        self._clock = clock
        self._name = name
        self._workers = workers
        self._coverage_days = coverage_days
        self._answered: tuple[ServerTotals, pb.GetServiceStatsResponse] | None = None

    async def get_service_stats(self, _: pb.GetServiceStatsRequest, __: Context) -> pb.GetServiceStatsResponse:
        """Returns the statistics."""
        totals = self._totals()
        if self._answered is None or self._answered[0] is not totals:  # so that callers can ask as often as they like
            age = max(0.0, self._clock() - totals.monotonic)
            sample = ServerSample(name=self._name, configured_workers=self._workers, totals=totals, seconds_ago=age)
            self._answered = totals, stats_message(KnownServer(sample, age), self._others(), self._coverage_days)
        return self._answered[1]

    async def report_feed(self, request: pb.ReportFeedRequest, _: Context) -> pb.ReportFeedResponse:
        """Keeps a report about a feed."""
        self._report_feed(*feed_report(request, self._clock()))
        return pb.ReportFeedResponse()
