"""The schedule of the teams, folded from the finals in the ledger."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from dejavu_common.clock import game_day
from dejavu_ledger import Ledger
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.team_filter import RatingSettings
from dejavu_models.types import Horizon
from dejavu_server.forecasting.online_updater import OnlineProjection

FIRST = datetime(2024, 11, 20, 3, 0, tzinfo=UTC)
TEAMS = (("BOS", "NYK"), ("LAL", "GSW"), ("DEN", "MIL"))
NEWER = LiveRatings.start(RatingFilter.start(RatingSettings()).predict(2025, date(2025, 2, 1)))
"""Ratings of a bundle that is newer than the finals: they ignore the results, but the schedule still counts."""


OLDER = LiveRatings.start(RatingFilter.start(RatingSettings()).predict(2024, date(2024, 6, 17)))


def day_of(number: int) -> date:
    return game_day(FIRST + timedelta(days=number // 2))


def bytes_of(learned: OnlineProjection, version: str = "v1") -> bytes:
    rated = learned.rated(version)
    assert rated is not None
    return rated.ratings.filter.mean.tobytes()


async def report(ledger: Ledger, number: int, horizon: Horizon = Horizon.FINAL) -> None:
    """Report an outcome; two games a day."""
    observed, (home, away) = FIRST + timedelta(days=number // 2), TEAMS[number % len(TEAMS)]
    await ledger.record_outcome(ReportedOutcome(f"00224{number:05d}", horizon, 5, home, away, observed, observed))


async def test_the_schedule_follows_the_finals_of_the_ledger_whatever_the_bundle_knows(ledger: Ledger) -> None:
    learned = OnlineProjection({"v1": RatedSchedule(NEWER)}, intervals=False)
    due = ScheduleHistory()
    for number in range(6):
        await report(ledger, number)
        due = due.after(day_of(number), *TEAMS[number % len(TEAMS)])
    await report(ledger, 6, Horizon.HALFTIME)
    await ledger.read(learned.read)
    rated = learned.rated("v1")
    assert rated is not None
    ratings = rated.ratings
    assert (ratings.filter, ratings.finals) == (NEWER.filter, NEWER.finals), "what the bundle knows moves it no more"
    assert set(ratings.games.values()) == {2}
    assert learned.schedule == due
    assert sum(map(len, due.games.values())) == 12
    await ledger.withdraw_outcome("0022400005", Horizon.FINAL)
    await ledger.read(learned.read)
    assert sum(map(len, learned.schedule.games.values())) == 10


async def test_finals_count_with_the_schedule_of_their_day_and_so_do_corrections(ledger: Ledger) -> None:
    """Three teams play every day and three every other, so who is tired differs from game to game."""
    learned, plain = (OnlineProjection({"v1": RatedSchedule(OLDER)}, intervals=False) for _ in range(2))
    results = [GameResult(*TEAMS[number % 3], 2025, day_of(number), 5.0) for number in range(7)]
    for number in range(7):
        await report(ledger, number)
        await ledger.read(learned.read)
    due, without = RatedSchedule(OLDER), OLDER
    for result in results:
        due, without = due.after(result), without.after(result)
    assert bytes_of(learned) == due.ratings.filter.mean.tobytes() != without.filter.mean.tobytes()
    learned.add("v2", RatedSchedule(OLDER))
    await ledger.withdraw_outcome("0022400002", Horizon.FINAL)
    await ledger.read(learned.read)
    due = RatedSchedule(OLDER)
    for result in results[:2] + results[3:]:
        due = due.after(result)
    await ledger.read(plain.read)
    assert bytes_of(learned) == bytes_of(learned, "v2") == bytes_of(plain) == due.ratings.filter.mean.tobytes()
