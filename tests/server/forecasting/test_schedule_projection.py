"""The schedule of the teams, folded from the finals in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from dejavu_feed.game_day import game_day
from dejavu_models.live_ratings import LiveRatings
from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.types import Horizon
from dejavu_server.forecasting.online_updater import OnlineProjection
from dejavu_server.ledger import Ledger
from dejavu_server.records import ReportedOutcome

FIRST = datetime(2024, 11, 20, 3, 0, tzinfo=UTC)
TEAMS = (("BOS", "NYK"), ("LAL", "GSW"), ("DEN", "MIL"))
NEWER = LiveRatings.start(RatingFilter.start(RatingSettings()).predict(2025, np.datetime64("2025-02-01")))
"""Ratings of a bundle that is newer than the finals: they ignore them, and who played when still counts."""


async def report(ledger: Ledger, number: int, horizon: Horizon = Horizon.FINAL) -> None:
    """Reports an outcome; two games a day."""
    observed, (home, away) = FIRST + timedelta(days=number // 2), TEAMS[number % len(TEAMS)]
    await ledger.record_outcome(ReportedOutcome(f"00224{number:05d}", horizon, 5, home, away, observed, observed))


async def test_the_schedule_follows_the_finals_of_the_ledger_whatever_the_bundle_knows(ledger: Ledger) -> None:
    learned = OnlineProjection({"v1": NEWER}, intervals=False)
    due = ScheduleHistory()
    for number in range(6):
        await report(ledger, number)
        due = due.after(game_day(FIRST + timedelta(days=number // 2)), *TEAMS[number % len(TEAMS)])
    await report(ledger, 6, Horizon.HALFTIME)
    await ledger.read(learned.read)
    assert learned.ratings("v1") == NEWER
    assert learned.schedule == due
    assert sum(map(len, due.games.values())) == 12
    await ledger.withdraw_outcome("0022400005", Horizon.FINAL)
    await ledger.read(learned.read)
    assert sum(map(len, learned.schedule.games.values())) == 10


async def test_it_is_followed_where_ratings_stay_as_they_are(ledger: Ledger) -> None:
    learned = OnlineProjection({}, intervals=True)
    await report(ledger, 0)
    await ledger.read(learned.read)
    assert learned.schedule.games.keys() == {"BOS", "NYK"}
