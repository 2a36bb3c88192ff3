"""OperationsService: statistics of the server, and the age of pollers' feeds, for operators."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dejavu.v1 import operations_service_pb2 as pb
from dejavu_server.api.converters.operations import TooManyFeeds, checked_report, stats_message
from dejavu_server.api.handlers import Context
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.statistics import ServerStatistics

OPERATIONS_SERVICE = pb.DESCRIPTOR.services_by_name["OperationsService"]

MAX_FEEDS = 8
"""Maximum number of other feeds that a worker accepts reports about: metric series can be added, but not removed."""

POLLER_FEEDS = frozenset({"nba", "replay"})
"""Feeds of the poller, which always have room: others may be invented."""


class OperationsService:
    """Reports the activity of the server.

    Args:
        statistics: returns the statistics of all workers; the same object until they were sampled again.
        metrics: metrics of the worker.
        name: where the server runs.
        workers: number of workers of the server.
        coverage_days: number of days whose games count towards the coverage.
        ledger: state of the ledger, as far as the settings determine it.
        clock: returns the time, in seconds since 1970.
    """

    def __init__(
        self,
        statistics: Callable[[], ServerStatistics],
        metrics: Metrics,
        *,
        name: str,
        workers: int,
        coverage_days: int,
        ledger: pb.LedgerState,
        clock: Callable[[], datetime],
    ) -> None:
        self._statistics = statistics
        self._metrics = metrics
        self._clock = clock
        self._name = name
        self._workers = workers
        self._coverage_days = coverage_days
        self._ledger = ledger
        self._feeds = set[str]()
        self._answered: tuple[ServerStatistics, pb.GetServiceStatsResponse] | None = None

    async def get_service_stats(self, _: pb.GetServiceStatsRequest, __: Context) -> pb.GetServiceStatsResponse:
        """Return the statistics."""
        statistics = self._statistics()
        if self._answered is None or self._answered[0] is not statistics:  # callers can ask as often as they like
            message = stats_message(
                statistics,
                name=self._name,
                workers=self._workers,
                coverage_days=self._coverage_days,
                ledger=self._ledger,
                now=self._clock().timestamp(),
            )
            self._answered = statistics, message
        return self._answered[1]

    async def report_feed(self, request: pb.ReportFeedRequest, _: Context) -> pb.ReportFeedResponse:
        """Keep a report about a feed."""
        report = checked_report(request)
        if report.feed not in {*POLLER_FEEDS, *self._feeds}:
            if len(self._feeds) >= MAX_FEEDS:
                raise TooManyFeeds(f"the worker knows {MAX_FEEDS} feeds and takes no reports of others: {report.feed}")
            self._feeds.add(report.feed)
        now, metrics = self._clock().timestamp(), self._metrics
        metrics.feed_read.labels(report.feed).set(now - report.read_age_seconds)
        in_play = report.HasField("data_age_seconds")
        metrics.feed_data.labels(report.feed).set(now - report.data_age_seconds if in_play else 0.0)
        metrics.feed_games.labels(report.feed).set(report.live_games)
        metrics.feed_reported.labels(report.feed).set(now)
        return pb.ReportFeedResponse()
