"""What models learn from the outcomes of a ledger: ratings, intervals and the schedule of the teams."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

from tests.support.builders.issued_forecasts import issued

from dejavu_common.clock import game_day
from dejavu_ledger import Ledger
from dejavu_ledger.queries import learning
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.team_filter import RatingSettings
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.forecasting.online_updater import OnlineProjection

NOW = datetime(2024, 11, 20, 3, 0, tzinfo=UTC)
START = LiveRatings.start(
    RatingFilter.start(RatingSettings()).predict(2024, date(2024, 6, 17)).update("BOS", "NYK", 18)
)
TEAMS = (("BOS", "NYK"), ("LAL", "GSW"), ("DEN", "MIL"))
NEWER = LiveRatings.start(RatingFilter.start(RatingSettings()).predict(2025, date(2025, 2, 1)))
"""Ratings of a bundle that is newer than the finals: they ignore the results, but the schedule still counts."""
DISTRIBUTION = tuple(round(20 * (level - 0.5), 3) for level in DISTRIBUTION_LEVELS)


async def played(ledger: Ledger, game_id: str, differential: int, *, day: int = 0) -> int:
    """Record a forecast of a final, and then the final, without rules for ids; return the sequence of the outcome."""
    seen = NOW + timedelta(days=day)
    before = seen - timedelta(hours=1)
    made = issued(game_id, (0.0,) * 18, horizon=Horizon.FINAL, home_team="BOS", away_team="NYK", generated_time=before)
    await ledger.commit([replace(made, forecast=replace(made.forecast, distribution=DISTRIBUTION))])
    outcome, settled = await ledger.record_outcome(
        ReportedOutcome(game_id, Horizon.FINAL, differential, "BOS", "NYK", seen, seen)
    )
    assert settled == 1, "whatever the id"
    return outcome.sequence


async def learned(ledger: Ledger) -> OnlineProjection:
    projection = OnlineProjection({"v1": RatedSchedule(START)}, intervals=True)
    await ledger.read(projection.read)
    return projection


def margin(projection: OnlineProjection) -> float:
    """Return the expected margin of Boston at home against New York."""
    rated = projection.rated("v1")
    assert rated is not None
    return rated.ratings.filter.expected("BOS", "NYK")[0]


def games(projection: OnlineProjection) -> int:
    return sum(tracker.games for tracker in projection.intervals.trackers.values())


async def test_a_final_under_an_id_of_the_season_2046_does_not_end_all_ratings(ledger: Ledger) -> None:
    await played(ledger, "0022400001", 3)
    before = await learned(ledger)
    await played(ledger, "0024500061", 3)
    mistyped = await learned(ledger)
    assert (margin(mistyped), games(mistyped)) == (margin(before), games(before))
    await played(ledger, "0022400002", 40, day=1)
    after = await learned(ledger)
    assert margin(after) > margin(before) + 1
    assert games(after) == games(before) + 1


async def test_only_competitive_games_move_ratings_and_intervals(ledger: Ledger) -> None:
    before = START.filter.expected("BOS", "NYK")[0]
    for prefix in ("001", "003", "007", "152"):
        for number in range(5):
            await played(ledger, f"{prefix}24{number:05d}", 45)
    after = await learned(ledger)
    assert (margin(after), after.intervals) == (before, AdaptiveState())
    for count, prefix in enumerate(("002", "004", "005", "006"), 1):
        await played(ledger, f"{prefix}2400001", 45)
        now = await learned(ledger)
        assert margin(now) > before
        assert games(now) == count
        before = margin(now)


async def test_the_games_of_a_snapshot_are_those_that_were_learned_from(ledger: Ledger) -> None:
    for number in range(1, 4):
        await played(ledger, f"00124{number:05d}", 9)
        await played(ledger, f"00245{number:05d}", 9)
        await played(ledger, f"00224{number:05d}", 9)
    assert await ledger.read(partial(learning.count, sequence=(await ledger.position()).sequence)) == 3


def day_of(number: int) -> date:
    return game_day(NOW + timedelta(days=number // 2))


def bytes_of(learned: OnlineProjection, version: str = "v1") -> bytes:
    rated = learned.rated(version)
    assert rated is not None
    return rated.ratings.filter.mean.tobytes()


async def report(ledger: Ledger, number: int, horizon: Horizon = Horizon.FINAL) -> None:
    """Report an outcome; two games a day."""
    observed, (home, away) = NOW + timedelta(days=number // 2), TEAMS[number % len(TEAMS)]
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
    learned, plain = (OnlineProjection({"v1": RatedSchedule(START)}, intervals=False) for _ in range(2))
    results = [GameResult(*TEAMS[number % 3], 2025, day_of(number), 5.0) for number in range(7)]
    for number in range(7):
        await report(ledger, number)
        await ledger.read(learned.read)
    due, without = RatedSchedule(START), START
    for result in results:
        due, without = due.after(result), without.after(result)
    assert bytes_of(learned) == due.ratings.filter.mean.tobytes() != without.filter.mean.tobytes()
    learned.add("v2", RatedSchedule(START))
    await ledger.withdraw_outcome("0022400002", Horizon.FINAL)
    await ledger.read(learned.read)
    due = RatedSchedule(START)
    for result in results[:2] + results[3:]:
        due = due.after(result)
    await ledger.read(plain.read)
    assert bytes_of(learned) == bytes_of(learned, "v2") == bytes_of(plain) == due.ratings.filter.mean.tobytes()
