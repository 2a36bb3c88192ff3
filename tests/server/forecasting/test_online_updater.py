"""What models learn from the outcomes of a ledger: ratings, intervals and the schedule of the teams."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.support.builders.calls import current_game
from tests.support.builders.issued_forecasts import issued
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.laws import examples
from tests.support.harness.learning import learned
from tests.support.harness.ledger_faults import add_unreadable_entry
from tests.support.processes.servers import async_worker
from typing_extensions import override

from dejavu_client import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError
from dejavu_common.clock import game_day
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger
from dejavu_ledger.database import sql
from dejavu_ledger.errors import LedgerUnavailable
from dejavu_ledger.queries import learning
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, LiveRatings, OnlineState, RatedSchedule
from dejavu_models.ratings import RatingFilter, RatingSettings
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.types import DISTRIBUTION_LEVELS, AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import AdaptiveState
from dejavu_server.forecasting.online_updater import (
    BURST_SECONDS,
    MAX_PAUSE_SECONDS,
    OnlineProjection,
    OnlineUpdater,
    pause_after,
)
from dejavu_server.forecasting.projection import SNAPSHOT_EVERY

DISTRIBUTION = tuple(round(20 * (level - 0.5), 3) for level in DISTRIBUTION_LEVELS)
NOW = datetime(2024, 11, 20, 3, 0, tzinfo=UTC)
START = LiveRatings.start(
    RatingFilter.start(RatingSettings()).predict(2024, date(2024, 6, 17)).update("BOS", "DAL", 18)
)
TEAMS = (("BOS", "NYK"), ("LAL", "GSW"), ("DEN", "MIL"))


def game_id(number: int) -> str:
    return f"00224{number:05d}"


def teams_of(its_id: str) -> tuple[str, str]:
    return TEAMS[int(its_id[5:]) % len(TEAMS)]


async def forecast(
    ledger: Ledger, its_id: str, rated_margin: float | None = None, neutral_site: bool | None = None, **fields: Any
) -> None:
    """Record a forecast of a final."""
    home, away = teams_of(its_id)
    usual: Any = {"home_team": home, "away_team": away, "generated_time": NOW - timedelta(hours=1)}
    made = issued(its_id, (0.0,) * 18, horizon=Horizon.FINAL, **usual, **fields)
    of_model = replace(made.forecast, distribution=DISTRIBUTION, rated_margin=rated_margin)
    await ledger.commit([replace(made, forecast=of_model, live=LiveInputs(neutral_site=neutral_site))])


async def report(
    ledger: Ledger, its_id: str, differential: int, *, horizon: Horizon = Horizon.FINAL, day: int = 0
) -> ReportedOutcome:
    observed = NOW + timedelta(days=day)
    outcome, _ = await ledger.record_outcome(
        ReportedOutcome(its_id, horizon, differential, *teams_of(its_id), observed, observed)
    )
    return outcome


async def play(ledger: Ledger, its_id: str, differential: int, *versions: str, day: int = 0) -> None:
    """Record a forecast of a final by each of some models, by default v1, and then the final."""
    for version in versions or ("v1",):
        await forecast(ledger, its_id, model_version=version)
    await report(ledger, its_id, differential, day=day)


def nothing(start: LiveRatings = START) -> OnlineProjection:
    return OnlineProjection({"v1": RatedSchedule(start)}, intervals=True)


async def from_scratch(ledger: Ledger) -> OnlineProjection:
    """Return a projection that read all outcomes; unless a test stores snapshots, without any."""
    learned = nothing()
    await ledger.read(learned.read)
    return learned


def ratings_of(learned: OnlineProjection) -> LiveRatings:
    rated = learned.rated("v1")
    assert rated is not None
    return rated.ratings


def margin(learned: OnlineProjection, its_id: str) -> float:
    """Return the expected margin of a game."""
    return ratings_of(learned).filter.expected(*teams_of(its_id))[0]


def games(learned: OnlineProjection) -> int:
    """Return the number of games that the intervals have learned from."""
    return sum(tracker.games for tracker in learned.intervals.trackers.values())


def values(ratings: LiveRatings) -> object:
    """Return all values of ratings, exactly, for comparison."""
    state = ratings.filter
    numbers = (state.mean.tobytes(), state.covariance.tobytes())
    return ratings.since, dict(ratings.games), state.season, state.date, *numbers


def state(learned: OnlineProjection) -> tuple[int, bytes, object, ScheduleHistory]:
    return learned.sequence, learned.intervals.to_bytes(), values(ratings_of(learned)), learned.schedule


def updater_of(ledger: Ledger, *forecasters: Forecaster) -> OnlineUpdater:
    return OnlineUpdater(lambda: ledger, forecasters, mode=AdaptationMode.SHADOW)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.5, 2.0])
def test_learning_anew_takes_at_most_a_fifth_of_the_time(seconds: float) -> None:
    pause = pause_after(seconds)
    assert BURST_SECONDS <= pause <= MAX_PAUSE_SECONDS
    assert seconds <= (seconds + pause) / 5


async def test_a_final_under_an_id_of_the_season_2046_does_not_end_all_ratings(ledger: Ledger) -> None:
    await play(ledger, game_id(0), 3)
    before = await from_scratch(ledger)
    await play(ledger, "0024500060", 3)
    mistyped = await from_scratch(ledger)
    assert (margin(mistyped, game_id(0)), games(mistyped)) == (margin(before, game_id(0)), games(before))
    await play(ledger, game_id(3), 40, day=1)
    after = await from_scratch(ledger)
    assert margin(after, game_id(0)) > margin(before, game_id(0)) + 1
    assert games(after) == games(before) + 1


async def test_only_competitive_games_move_ratings_and_intervals_and_are_counted(ledger: Ledger) -> None:
    before = margin(nothing(), game_id(0))
    for prefix in ("001", "003", "007", "152"):
        await play(ledger, f"{prefix}2400000", 45)
    after = await from_scratch(ledger)
    assert (margin(after, game_id(0)), after.intervals) == (before, AdaptiveState())
    for prefix in ("002", "004", "005", "006"):
        await play(ledger, f"{prefix}2400000", 45)
    after = await from_scratch(ledger)
    assert margin(after, game_id(0)) > before
    assert games(after) == 4
    assert await ledger.read(partial(learning.count, sequence=(await ledger.position()).sequence)) == 4


NEWER = LiveRatings.start(RatingFilter.start(RatingSettings()).predict(2025, date(2025, 2, 1)))
"""Ratings of a bundle that is newer than the finals: they ignore the results, but the schedule still counts."""


async def test_the_schedule_follows_the_finals_of_the_ledger_whatever_the_bundle_knows(ledger: Ledger) -> None:
    learned, due = nothing(NEWER), ScheduleHistory()
    for number in range(6):
        await report(ledger, game_id(number), 5, day=number // 2)
        due = due.after(game_day(NOW + timedelta(days=number // 2)), *teams_of(game_id(number)))
    await report(ledger, game_id(6), 5, horizon=Horizon.HALFTIME, day=3)
    await ledger.read(learned.read)
    ratings = ratings_of(learned)
    assert (ratings.filter, ratings.finals) == (NEWER.filter, NEWER.finals), "what the bundle knows moves it no more"
    assert set(ratings.games.values()) == {2}
    assert learned.schedule == due
    assert sum(map(len, due.games.values())) == 12


async def test_finals_count_with_their_day_s_schedule_and_site_unless_withdrawn(ledger: Ledger) -> None:
    """Three teams play every day and three every other, so who is tired differs from game to game."""
    learned, neutral = nothing(), 4
    await forecast(ledger, game_id(neutral), neutral_site=True)
    await report(ledger, game_id(7), 5, horizon=Horizon.HALFTIME, day=1)  # no final
    for number in range(7):
        await report(ledger, game_id(number), 5, day=number // 2)
        await ledger.read(learned.read)
    for withdrawn in (None, 2):
        if withdrawn is not None:
            await ledger.withdraw_outcome(game_id(withdrawn), Horizon.FINAL)
            await ledger.read(learned.read)
        due, without = RatedSchedule(START), START
        for number in (each for each in range(7) if each != withdrawn):
            day = game_day(NOW + timedelta(days=number // 2))
            site = True if number == neutral else None
            result = GameResult(*teams_of(game_id(number)), 2025, day, 5.0, neutral_site=site)
            due, without = due.after(result), without.after(result)
        assert values(ratings_of(learned)) == values(due.ratings) != values(without)
        assert learned.schedule == due.schedule


@settings(max_examples=examples(5), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 30), st.booleans()), min_size=1, max_size=12))
def test_whoever_has_read_as_far_has_learned_the_same(
    told: Sequence[tuple[int, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def check() -> None:
        ledger = await Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
        follower = nothing()
        try:
            for number in range(8):
                await forecast(ledger, game_id(number))
            for number, differential, read in told:  # later reports of a game are corrections
                await report(ledger, game_id(number), differential)
                if read:
                    await ledger.read(follower.read)
                    assert state(follower) == state(await from_scratch(ledger))
            await ledger.read(follower.read)
            assert state(follower) == state(await from_scratch(ledger))
        finally:
            await ledger.close()

    asyncio.run(check())


async def test_a_snapshot_is_as_good_as_reading_it_all(ledger: Ledger) -> None:
    first = nothing()
    for number in range(SNAPSHOT_EVERY + 7):
        await play(ledger, game_id(number), 1 + number % 20)
    [point] = await ledger.read(first.read)
    assert point.count == SNAPSHOT_EVERY
    keep = partial(
        learning.write_snapshot, sequence=point.sequence, state=point.state.to_bytes(), read_at=first.sequence
    )
    await ledger.write(keep)
    newest = partial(learning.read_snapshot, before=2**40)
    assert await ledger.read(newest) == (point.sequence, point.state.to_bytes())
    second = nothing()
    await ledger.read(second.read)
    assert state(second) == state(first)

    await report(ledger, game_id(3), 40)  # a correction from before the snapshot
    assert await ledger.read(newest) is None
    without = await from_scratch(ledger)
    for each in (first, second):
        await ledger.read(each.read)
        assert state(each) == state(without)
    await ledger.write(keep)  # by a worker that has not read the correction
    assert await ledger.read(newest) is None

    await updater_of(ledger).update()
    right = await ledger.read(newest)
    assert right is not None
    altered = "UPDATE snapshots SET state = :state"
    await ledger.write(lambda connection: sql.rows(connection, altered, state=b'{"form":0}'))
    await updater_of(ledger).update()
    assert await ledger.read(newest) == right, "one that cannot be read is made again"


async def test_a_margin_that_is_far_from_that_of_the_ratings_teaches_nothing(ledger: Ledger) -> None:
    """Otherwise a caller who may record forecasts could widen the intervals of all requests."""
    unchecked = (0.0, None, 0)  # the request named no teams, or the ratings were too old
    taught = 0
    for number, (told, rated, counts) in enumerate(
        ((None, None, 1), (6.5, 3.0, 1), (15.0, 3.0, 1), (15.1, 3.0, 0), (-60.0, 3.0, 0), unchecked)
    ):
        await forecast(ledger, game_id(number), pregame_margin=told, rated_margin=rated)
        await report(ledger, game_id(number), 5)
        taught += counts
        assert games(await from_scratch(ledger)) == taught, (told, rated)


class BrokenRatings(PersistenceForecaster):
    """A model whose ratings cannot take in any final."""

    @property
    @override
    def bundled_ratings(self) -> RatedSchedule:
        return RatedSchedule(replace(START, filter=replace(START.filter, season=-30_000)))


class Unusable(PersistenceForecaster):
    """A model that cannot use the ratings that it has learned."""

    @override
    def update(self, state: OnlineState) -> None:
        if state.rated is not None and state.rated.ratings.finals:
            raise ValueError("ratings must be finite")
        super().update(state)


def finals(model: PersistenceForecaster) -> int:
    assert model.state.rated is not None
    return model.state.rated.ratings.finals


@pytest.mark.parametrize(
    "make",
    [lambda: BrokenRatings("broken"), lambda: Unusable("unusable")],
    ids=["ratings of no final", "ratings in use"],
)
async def test_a_model_that_cannot_learn_keeps_no_other_from_it(ledger: Ledger, make: Callable[[], Forecaster]) -> None:
    """Neither from the start nor when it is added; its own ratings stay those of its bundle."""
    wrong, sound, added = make(), PersistenceForecaster("sound"), PersistenceForecaster("added")
    updater = updater_of(ledger, wrong, sound)
    with capture_logs() as logs:
        await ledger.record_outcome(ReportedOutcome(game_id(1), Horizon.FINAL, 7, "BOS", "DEN", NOW, NOW))
        await updater.update()
        await updater.add(added)
        await updater.update()
        await updater_of(ledger).add(make())
    assert (finals(sound), finals(added)) == (1, 1)
    assert wrong.info.finals_since == 0
    assert [log["model"] for log in logs if log["event"] == "learning_failed"] == [wrong.version] * 2


class CountingModel(PersistenceForecaster):
    """A model that keeps the states that it gets, and fails to take the third, once."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.states = list[OnlineState]()

    @override
    def update(self, state: OnlineState) -> None:
        super().update(state)
        self.states.append(state)
        if len(self.states) == 3:
            raise MemoryError


async def test_a_model_gets_another_state_only_after_an_outcome(ledger: Ledger) -> None:
    """Data prepared for a state, such as cached what-ifs, stays valid while only forecasts are recorded."""
    model = CountingModel("first")
    updater = updater_of(ledger, model)
    await updater.update()
    await forecast(ledger, game_id(0))
    await updater.update()
    assert len(model.states) == 1
    await report(ledger, game_id(0), 12)
    await updater.update()
    assert len(model.states) == 2

    reported = await report(ledger, game_id(0), 13)
    with pytest.raises(MemoryError):
        await updater.update()
    await updater.update()
    assert (len(model.states), model.states[-1].sequence) == (4, reported.sequence), "it is given again"


async def test_a_model_that_is_given_up_is_not_kept(ledger: Ledger) -> None:
    updater = updater_of(ledger)
    model = CountingModel("later")
    await updater.add(model)
    updater.remove("later")
    given_up = weakref.ref(model)
    del model
    gc.collect()
    assert given_up() is None


@pytest.mark.parametrize(("games_before", "games_after"), [(0, 0), (0, 5), (60, 0), (60, 5)])
async def test_a_later_model_knows_what_an_early_one_does(ledger: Ledger, games_before: int, games_after: int) -> None:
    late, there = PersistenceForecaster("late"), PersistenceForecaster("late")
    grown, whole = updater_of(ledger, PersistenceForecaster("early")), updater_of(ledger, there)
    for number in range(games_before):
        await play(ledger, game_id(number), 1 + number % 20, "early", "late")
    await grown.update()
    await grown.add(late)
    for number in range(games_before, games_before + games_after):
        await play(ledger, game_id(number), 1 + number % 20, "early", "late")
    await grown.update()
    await whole.update()
    assert late.state.rated is not None
    assert there.state.rated is not None
    assert values(late.state.rated.ratings) == values(there.state.rated.ratings)
    assert (late.state.sequence, late.state.trackers) == (there.state.sequence, there.state.trackers)
    assert grown.history == whole.history


async def test_a_model_is_not_taken_in_without_its_state(ledger: Ledger) -> None:
    updater, model = updater_of(ledger), PersistenceForecaster("late")
    await ledger.close()
    with pytest.raises(LedgerUnavailable):
        await updater.add(model)
    assert model.state.sequence == 0


@pytest.mark.sqlite
async def test_an_outcome_is_learned_while_streams_are_broken(tmp_path: Path) -> None:
    """A forecast that cannot be read back stops every stream of the ledger, and concerns no outcome."""
    with capture_logs():  # rendering the traceback of the broken stream takes a second by itself
        async with async_worker(tmp_path) as worker, AsyncDejavuClient(worker.address, timeout=30.0) as client:
            broken = client.stream_predictions(heartbeats=True)
            await anext(broken)  # without a stream that follows the ledger, what others add is skipped
            add_unreadable_entry(tmp_path / "ledger.sqlite3")
            with pytest.raises(DejavuClientError, match="cannot be read back"):
                await anext(event async for event in broken if not event.HasField("heartbeat"))
            await learned(client, current_game(1), 7)
