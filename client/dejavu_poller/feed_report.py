"""Reports the age of a poller's data to the server, for its operators (`dejavu stats`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import (
    DejavuClientError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from dejavu_client.logs import get_logger
from dejavu_common.clock import utc_now
from dejavu_common.tasks import BackgroundTask
from dejavu_feed.game_ids import is_replay
from dejavu_poller.poller import Poller

REPORT_SECONDS: Final = 15.0
"""Interval between two reports."""

_LOOK_SECONDS: Final = 1.0
"""Interval at which a poller looks whether it has something to report: operators ask about a restarted one at once."""

_LONGEST_AGE: Final = 1e6
"""Maximum age that a server accepts, in seconds."""

_REFUSED: Final = (PermissionDeniedError, UnauthenticatedError, InvalidArgumentError)
"""Errors that are logged, once each: the report is refused until a token or this program changes."""

_log = get_logger()


class FeedReporter:
    """Reports the age of a poller's data at intervals, while the poller works and the server supports such reports.

    A standby poller reports nothing: it follows no game, and the server keeps the newest report.

    Args:
        poller: the poller.
        client: sends the reports.
        official: whether the feed is at the NBA's address; another one may be of a replay, until it has games.
        now: clock of the poller.
    """

    def __init__(
        self, poller: Poller, client: AsyncDejavuClient, *, official: bool = True, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._poller = poller
        self._client = client
        self._official = official
        self._now = now
        self._start = now()
        self._task = BackgroundTask()

    def start(self) -> None:
        """Start to report."""
        self._task.start(self._run(), "feed-report")

    async def close(self) -> None:
        """Stop reporting. Safe to call more than once."""
        await self._task.end()

    async def report(self) -> None:
        """Report once.

        Raises:
            DejavuClientError: if the server does not accept the report.
        """
        now = self._now()
        ages = [age for game in self._poller.games.values() if (age := game.age(now)) is not None]
        read = self._poller.scoreboard_time or self._start
        replayed = bool(self._poller.games) and all(map(is_replay, self._poller.games))
        await self._client.report_feed(
            "replay" if replayed else "nba",
            min(max(0.0, (now - read).total_seconds()), _LONGEST_AGE),
            data_age_seconds=min(max(ages), _LONGEST_AGE) if ages else None,
            live_games=len(ages),
        )

    async def _run(self) -> None:
        refused = ""
        while True:
            if not (self._poller.leads and (self._official or self._poller.games)):  # or the feed is not known yet
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            try:
                await self.report()
                refused = ""
            except _REFUSED as error:
                if str(error) != refused:
                    refused = str(error)
                    _log.info("poll.feed_report_refused", reason=refused)
            except DejavuClientError:
                pass  # the poller itself reports that the server is away
            await asyncio.sleep(REPORT_SECONDS)
