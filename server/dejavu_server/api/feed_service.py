"""FeedService: what a poller reports of a live feed, states of games and the age of the data."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from dejavu.ops.v1 import feed_service_pb2 as pb
from dejavu_ledger.ledger import CurrentLedger
from dejavu_models.errors import DejavuError, InvalidInput, quoted
from dejavu_server.access.caller import AccessScope
from dejavu_server.api.converters.games import checked_games
from dejavu_server.coordination import games
from dejavu_server.limits import Caller
from dejavu_server.observability.metrics import Metrics

FEED_SERVICE = pb.DESCRIPTOR.services_by_name["FeedService"]

PUBLICATIONS = 10.0
"""A caller's publications a second in a worker: each holds the ledger's write lock. A poller has one a second."""

MAX_FEEDS = 8
"""Maximum number of other reports, by feed and caller, that a worker keeps: metric series cannot be removed."""

POLLER_FEEDS = frozenset({"nba", "replay"})
"""Feeds of the poller, which always have room if their caller may publish games: others may be invented."""

MAX_AGE_SECONDS: Final = 1_000_000
"""Largest age of a feed's data that can be reported, in seconds."""

_FEED: Final = re.compile(r"[a-z0-9-]{1,32}")


class InvalidFeedReport(InvalidInput, reason="INVALID_FEED_REPORT"):
    """A report about a feed has no valid name, age or number of games."""


class TooManyFeeds(DejavuError, reason="TOO_MANY_FEEDS", category="FAILED_PRECONDITION"):
    """The worker has reports about as many feeds as it accepts."""


def _checked(request: pb.ReportFeedRequest) -> pb.ReportFeedRequest:
    """Return a report about a feed, checked.

    Raises:
        InvalidFeedReport: if a field is out of bounds.
    """
    if not _FEED.fullmatch(request.feed):
        raise InvalidFeedReport(quoted(request.feed), "1 to 32 of a to z, 0 to 9 and hyphen", field="feed")
    for name in ("read_age_seconds", "data_age_seconds"):
        if not 0 <= (age := getattr(request, name)) <= MAX_AGE_SECONDS:
            raise InvalidFeedReport(f"{age:g}", f"0 to {MAX_AGE_SECONDS:,} seconds", field=name)
    if request.live_games < 0:
        raise InvalidFeedReport(f"{request.live_games}", "0 games or more", field="live_games")
    return request


class FeedService:
    """Stores states of games, and keeps reports about feeds.

    Args:
        ledger: the ledger whose database contains the states.
        metrics: metrics of the worker, which contain the reports.
        clock: returns the time, aware, in UTC.
    """

    def __init__(self, ledger: CurrentLedger, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._others = set[tuple[str, str]]()

    async def publish_games(self, request: pb.PublishGamesRequest, caller: Caller) -> pb.PublishGamesResponse:
        """Store the states of games."""
        caller.take_of_rate(PUBLICATIONS, "publications of games")
        publish = partial(games.publish, states=checked_games(request, self._clock()), caller=caller.identity)
        await self._ledger().write(publish, caller.turn)
        return pb.PublishGamesResponse()

    async def report_feed(self, request: pb.ReportFeedRequest, caller: Caller) -> pb.ReportFeedResponse:
        """Keep a report about a feed under its caller, for whose games alone it counts."""
        report = _checked(request)
        labels = report.feed, caller.identity
        has_room = report.feed in POLLER_FEEDS and AccessScope.OUTCOME in caller.principal.scopes
        if not has_room and labels not in self._others:
            if len(self._others) >= MAX_FEEDS:
                raise TooManyFeeds(f"the worker keeps {MAX_FEEDS} reports and takes no others: {report.feed}")
            self._others.add(labels)
        now, metrics = self._clock().timestamp(), self._metrics
        metrics.feed_read.labels(*labels).set(now - report.read_age_seconds)
        in_play = report.HasField("data_age_seconds")
        metrics.feed_data.labels(*labels).set(now - report.data_age_seconds if in_play else 0.0)
        metrics.feed_games.labels(*labels).set(report.live_games)
        metrics.feed_reported.labels(*labels).set(now)
        return pb.ReportFeedResponse()
