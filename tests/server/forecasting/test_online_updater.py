from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.support.builders.calls import current_game
from tests.support.builders.issued_forecasts import issued
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.harness.laws import examples
from tests.support.harness.ledger_faults import add_unreadable_entry
from tests.support.processes.servers import async_worker
from typing_extensions import override

from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.prediction_service_pb2 import StreamPredictionsRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ReportOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_common.clock import game_day
from dejavu_feed.live_inputs import LiveInputs
from dejavu_ledger import Ledger
from dejavu_ledger.database import sql
from dejavu_ledger.database.backend import Connection, StopSignal
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.queries import learning
from dejavu_ledger.queries.learning import SettledGame
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.forecaster import Forecaster
from dejavu_models.live_ratings import GameResult, LiveRatings, RatedSchedule
from dejavu_models.online_state import OnlineState
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import ScheduleHistory
from dejavu_models.team_filter import CODES, RatingSettings
from dejavu_models.types import DISTRIBUTION_LEVELS, AdaptationMode, Horizon
from dejavu_models.uncertainty.adaptive import TrackerKey
from dejavu_server.forecasting import online_updater
from dejavu_server.forecasting.online_updater import OnlineProjection
from dejavu_server.forecasting.projection import SNAPSHOT_EVERY, Projection, Snapshot
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import default_bundle

T = TypeVar("T")

DISTRIBUTION = tuple(round(20 * (level - 0.5), 3) for level in DISTRIBUTION_LEVELS)
NOW = datetime(2024, 11, 20, 3, 0, tzinfo=UTC)
START = LiveRatings.start(
    RatingFilter.start(RatingSettings()).predict(2024, date(2024, 6, 17)).update("BOS", "DAL", 18)
)
TEAMS = (("BOS", "NYK"), ("LAL", "GSW"), ("DEN", "MIL"))


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.5, 2.0])
def test_learning_anew_takes_at_most_a_fifth_of_the_time_however_often_old_outcomes_are_corrected(
    seconds: float,
) -> None:
    pause = online_updater.pause_after(seconds)
    assert online_updater.BURST_SECONDS <= pause <= online_updater.MAX_PAUSE_SECONDS
    assert seconds <= (seconds + pause) / 5


def game_id(number: int) -> str:
    return f"00224{number:05d}"


async def forecast(
    ledger: Ledger,
    number: int | str,
    *,
    minute: int = 18,
    horizon: Horizon = Horizon.FINAL,
    distribution: tuple[float, ...] = DISTRIBUTION,
    pregame_margin: float | None = None,
    rated_margin: float | None = None,
    neutral_site: bool | None = None,
) -> None:
    its_id = number if isinstance(number, str) else game_id(number)
    home, away = TEAMS[int(its_id) % len(TEAMS)]
    made = issued(
        its_id,
        (0.0,) * minute,
        horizon=horizon,
        pregame_margin=pregame_margin,
        home_team=home,
        away_team=away,
        generated_time=NOW - timedelta(hours=1),
    )
    of_model = replace(made.forecast, distribution=distribution, rated_margin=rated_margin)
    await ledger.commit([replace(made, forecast=of_model, live=LiveInputs(neutral_site=neutral_site))])


async def report(
    ledger: Ledger, number: int | str, differential: int, *, horizon: Horizon = Horizon.FINAL, day: int = 0
) -> ReportedOutcome:
    its_id = number if isinstance(number, str) else game_id(number)
    home, away = TEAMS[int(its_id) % len(TEAMS)]
    observed = NOW + timedelta(days=day)
    outcome, _ = await ledger.record_outcome(
        ReportedOutcome(its_id, horizon, differential, home, away, observed, observed)
    )
    return outcome


def nothing() -> OnlineProjection:
    return OnlineProjection({"v1": RatedSchedule(START)}, intervals=True)


async def from_scratch(ledger: Ledger) -> OnlineProjection:
    """Return a projection that read all outcomes and no snapshot."""
    learned = nothing()
    learned._begin = lambda *_: None  # type: ignore[method-assign]
    await ledger.read(learned.read)
    return learned


def values(ratings: LiveRatings) -> object:
    """Return all values of ratings, exactly, for comparison."""
    state = ratings.filter
    return (
        ratings.since,
        dict(ratings.games),
        state.season,
        state.date,
        state.mean.tobytes(),
        state.covariance.tobytes(),
    )


def state(learned: OnlineProjection) -> tuple[int, bytes, object, ScheduleHistory]:
    rated = learned.rated("v1")
    assert rated is not None
    return learned.sequence, learned.intervals.to_bytes(), values(rated.ratings), learned.schedule


reports = st.lists(st.tuples(st.integers(0, 7), st.integers(1, 30), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=examples(5), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=reports)
def test_whoever_has_read_as_far_has_learned_the_same(
    told: Sequence[tuple[int, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def check() -> None:
        ledger = await Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
        follower = nothing()
        try:
            for number in range(8):
                await forecast(ledger, number)
            for number, differential, read in told:  # later reports of a game are corrections
                await report(ledger, number, differential)
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
        await forecast(ledger, number)
        await report(ledger, number, 1 + number % 20)
    [point] = await ledger.read(first.read)
    assert point.count == SNAPSHOT_EVERY
    read_at = first.sequence

    def keep(connection: object) -> None:
        learning.write_snapshot(
            connection,  # type: ignore[arg-type]
            point.sequence,
            point.state.to_bytes(),
            read_at=read_at,
        )

    await ledger.write(keep)
    kept = await ledger.read(lambda connection: learning.read_snapshot(connection, 2**40))
    assert kept == (point.sequence, point.state.to_bytes())
    second = nothing()
    await ledger.read(second.read)
    assert state(second) == state(await from_scratch(ledger)) == state(first)

    await report(ledger, 3, 40)  # a correction from before the snapshot
    assert await ledger.read(lambda connection: learning.read_snapshot(connection, 2**40)) is None
    for each in (first, second):
        await ledger.read(each.read)
        assert state(each) == state(await from_scratch(ledger))
    await ledger.write(keep)  # by a worker that has not read the correction
    assert await ledger.read(lambda connection: learning.read_snapshot(connection, 2**40)) is None


async def test_one_forecast_counts_for_a_stage_the_one_nearest_to_its_middle(ledger: Ledger) -> None:
    outside = tuple(value + 100 for value in DISTRIBUTION)
    for minute in (14, 17, 20, 23):
        await forecast(ledger, 1, minute=minute, distribution=DISTRIBUTION if minute == 17 else outside)
    await forecast(ledger, 1, distribution=outside, pregame_margin=44.0)
    await forecast(ledger, 1, minute=30)
    await report(ledger, 1, 5)
    learned = await from_scratch(ledger)
    trackers = learned.intervals.trackers
    assert {key: tracker.games for key, tracker in trackers.items()} == {
        TrackerKey("v1", Horizon.FINAL, 1): 1,
        TrackerKey("v1", Horizon.FINAL, 2): 1,
    }
    scores = {key.quarter: tracker.recent[0].score for key, tracker in trackers.items()}
    assert scores[1] == scores[2]


@pytest.mark.parametrize(
    ("given", "rated", "learned"),
    [
        (None, None, True),
        (6.5, 3.0, True),
        (15.0, 3.0, True),
        (15.1, 3.0, False),
        (-60.0, 3.0, False),
        (0.0, None, False),  # unchecked: the request named no teams, or the ratings were too old
    ],
)
async def test_a_margin_that_is_far_from_that_of_the_ratings_teaches_nothing(
    ledger: Ledger, given: float | None, rated: float | None, learned: bool
) -> None:
    """Otherwise a caller who may record forecasts could widen the intervals of all requests."""
    await forecast(ledger, 1, pregame_margin=given, rated_margin=rated)
    await report(ledger, 1, 5)
    state = (await from_scratch(ledger)).intervals
    assert bool(state.trackers) is learned


@pytest.mark.parametrize(
    ("told", "neutral"), [([True, True], True), ([True, None], None), ([True, False], None), ([], None)]
)
async def test_a_final_is_learned_as_of_a_neutral_site_if_all_its_forecasts_say_so(
    ledger: Ledger, told: list[bool | None], neutral: bool | None
) -> None:
    """A single caller cannot remove the home advantage from a final that all learn from."""
    for minute, site in enumerate(told, 18):
        await forecast(ledger, 1, minute=minute, neutral_site=site)
    await report(ledger, 1, 5)
    await report(ledger, 2, 5)
    due = RatedSchedule(START)
    for number, site in ((1, neutral), (2, None)):
        teams = TEAMS[int(game_id(number)) % len(TEAMS)]
        due = due.after(GameResult(*teams, 2025, game_day(NOW), 5, neutral_site=site))
    learned = (await from_scratch(ledger)).rated("v1")
    assert learned is not None
    assert values(learned.ratings) == values(due.ratings)


async def test_a_snapshot_that_cannot_be_read_is_made_again(ledger: Ledger) -> None:
    for number in range(2 * SNAPSHOT_EVERY):
        await report(ledger, number, 1 + number % 20)

    def learner_of() -> online_updater.OnlineUpdater:
        return online_updater.OnlineUpdater(lambda: ledger, [], mode=AdaptationMode.ON, carry_ratings=False)

    def kept(connection: Connection) -> list[bytes]:
        return [state for (state,) in sql.rows(connection, "SELECT state FROM snapshots ORDER BY sequence")]

    await learner_of().update()
    right = await ledger.read(kept)
    assert len(right) == 2
    altered = "UPDATE snapshots SET state = :state"
    await ledger.write(lambda connection: sql.rows(connection, altered, state=b'{"form":0}'))
    again = learner_of()
    await again.update()
    assert await ledger.read(kept) == right
    await again.update()
    assert again.sequence == (await from_scratch(ledger)).sequence


class BrokenRatings(PersistenceForecaster):
    """A model whose ratings cannot take in any final."""

    @property
    @override
    def bundled_ratings(self) -> RatedSchedule:
        return RatedSchedule(replace(START, filter=replace(START.filter, season=-30_000)))


def finals(model: PersistenceForecaster) -> int:
    assert model.state.rated is not None
    return model.state.rated.ratings.finals


async def test_a_model_whose_ratings_cannot_take_in_an_outcome_keeps_no_other_model_from_learning(
    ledger: Ledger,
) -> None:
    """Neither from the start nor when it is added; its own ratings stay those of its bundle."""
    sound, broken, added = PersistenceForecaster(), BrokenRatings("broken"), BrokenRatings("added")
    await report(ledger, 1, 7)
    updater = online_updater.OnlineUpdater(
        lambda: ledger, [broken, sound], mode=AdaptationMode.SHADOW, carry_ratings=True
    )
    with capture_logs() as logs:
        await updater.update()
        await updater.add(added)
        newest = await report(ledger, 2, 5)
        await updater.update()
    for model in (sound, broken, added):
        assert model.state.sequence == newest.sequence
    assert [finals(model) for model in (sound, broken, added)] == [2, 0, 0]
    assert [log["model"] for log in logs if log["event"] == "learning_failed"] == ["broken", "added"]


class Unusable(PersistenceForecaster):
    """A model that cannot use the ratings that it has learned."""

    @override
    def update(self, state: OnlineState) -> None:
        if state.rated is not None and state.rated.ratings.finals:
            raise ValueError("ratings must be finite")
        super().update(state)


def hostile() -> Forecaster:
    """Return the shipped model with ratings that become NaN at a final of BOS and DEN; no bundle may hold them."""
    shipped = load_bundle(default_bundle())
    state = shipped.rating_filter
    one, other = CODES.index("BOS"), CODES.index("DEN")
    covariance = np.zeros_like(state.covariance)
    covariance[one, one] = covariance[other, other] = 1.0
    covariance[one, other] = covariance[other, one] = 1 + 2.0**-31
    wrong = replace(state, settings=RatingSettings(2.0**-30, 0.0, 1.0, 0.0, 0.0), covariance=covariance)
    return Forecaster(shipped.manifest, shipped.models, shipped.calibration, wrong, shipped.totals)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a server only warns of a division by 0
@pytest.mark.parametrize("make", [lambda: Unusable("shipped"), hostile], ids=["ratings in use", "ratings of a pair"])
async def test_a_model_that_cannot_use_what_it_learned_keeps_no_other_from_learning_or_loading(
    ledger: Ledger, make: Callable[[], Forecaster]
) -> None:
    """A worker that starts with it has the ratings of its bundle."""
    wrong, sound, added = make(), PersistenceForecaster("sound"), PersistenceForecaster("added")
    updater = online_updater.OnlineUpdater(
        lambda: ledger, [wrong, sound], mode=AdaptationMode.SHADOW, carry_ratings=True
    )
    observed = NOW + timedelta(days=1)
    with capture_logs() as logs:
        await ledger.record_outcome(ReportedOutcome(game_id(1), Horizon.FINAL, 7, "BOS", "DEN", observed, observed))
        await updater.update()
        await updater.add(added)
        await updater.update()
        restarted = online_updater.OnlineUpdater(
            lambda: ledger, [make()], mode=AdaptationMode.SHADOW, carry_ratings=True
        )
        await restarted.update()
    assert (finals(sound), finals(added)) == (1, 1)
    assert wrong.info.finals_since == 0
    assert [log["model"] for log in logs if log["event"] == "learning_failed"] == [wrong.version] * 2


async def test_a_worker_that_is_short_of_memory_learns_later_what_the_others_have_learned(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await report(ledger, number, 1 + number)
    remaining = 2
    update_ratings = online_updater.update_ratings

    def short_of_memory(ratings: RatedSchedule, game: SettledGame) -> RatedSchedule:
        nonlocal remaining
        remaining -= 1
        if remaining < 0:
            raise MemoryError
        return update_ratings(ratings, game)

    monkeypatch.setattr(online_updater, "update_ratings", short_of_memory)
    learned = nothing()
    with capture_logs() as logs, pytest.raises(MemoryError):
        await ledger.read(learned.read)
    remaining = 1  # the first two games are not learned again
    await ledger.read(learned.read)
    monkeypatch.undo()
    assert state(learned) == state(await from_scratch(ledger))
    assert not logs


class SlowLedger(Ledger):
    """A ledger whose reads block until released."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.released = threading.Event()
        self.readings = 0
        self.written = asyncio.Event()

    async def read(self, function: Callable[[Connection], T], *, stop: StopSignal | None = None) -> T:
        self.readings += 1

        def slowly(connection: Connection) -> T:
            self.released.wait(30)
            return function(connection)

        return await self._ledger.read(slowly)

    async def write(self, function: Callable[[Connection], T], caller: str = "") -> T:
        written = await self._ledger.write(function)
        self.written.set()
        return written


async def test_a_start_that_takes_too_long_goes_on_learning_once_and_loses_no_snapshot(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(SNAPSHOT_EVERY - 1):
        await report(ledger, number, 1 + number % 20)
    last = await report(ledger, SNAPSHOT_EVERY, 7)
    monkeypatch.setattr(online_updater, "_START_SECONDS", 0.01)
    slow = SlowLedger(ledger)
    updater = online_updater.OnlineUpdater(lambda: slow, [], mode=AdaptationMode.SHADOW, carry_ratings=True)
    await updater.start()
    assert (updater.sequence, slow.readings) == (0, 1)
    slow.released.set()
    async with asyncio.timeout(30):
        await slow.written.wait()
    assert (updater.sequence, slow.readings) == (last.sequence, 1)
    await updater.close()
    kept = await ledger.read(lambda connection: learning.read_snapshot(connection, 2**40))
    assert kept is not None
    assert kept[0] == last.sequence


class Learner(PersistenceForecaster):
    """A model that says when it has learned from an outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.learned = asyncio.Event()

    @override
    def update(self, state: OnlineState) -> None:
        super().update(state)
        if state.sequence:
            self.learned.set()


@pytest.mark.sqlite
@pytest.mark.parametrize("woken", [True, False], ids=["woken by the commit", "looking by itself"])
async def test_an_outcome_is_learned_within_a_second_while_streams_are_broken(
    woken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forecast that cannot be read back stops every stream of the ledger, and concerns no outcome."""
    assert online_updater.POLL_SECONDS + online_updater.BURST_SECONDS < 1.2, "without a notification"
    if woken:
        monkeypatch.setattr(online_updater, "POLL_SECONDS", 3600.0)
    else:
        monkeypatch.setattr(SqliteBackend, "listen", lambda *_: None)
    model = Learner()
    with capture_logs():  # rendering the traceback of the broken stream takes a second by itself
        async with async_worker(tmp_path, model) as worker, grpc.aio.insecure_channel(worker.address) as channel:
            record = RecordServiceStub(channel)
            broken = aiter(PredictionServiceStub(channel).StreamPredictions(StreamPredictionsRequest(), timeout=30))
            await anext(broken)  # a heartbeat: without a stream that follows the ledger, what others add is skipped
            add_unreadable_entry(tmp_path / "ledger.sqlite3")
            with pytest.raises(grpc.aio.AioRpcError, match="cannot be read back"):
                await anext(event async for event in broken if event.WhichOneof("event") != "heartbeat")
            request = ReportOutcomeRequest(game_id=current_game(1), horizon=HORIZON_FINAL, differential=7)
            reported = await record.ReportOutcome(request, timeout=20)
            async with asyncio.timeout(30):
                await model.learned.wait()
            assert model.state.sequence == reported.outcome.sequence


def test_a_fold_goes_back_no_further_than_it_has_to() -> None:
    fold: Projection[int] = Projection(0, lambda count, _: count + 1)
    games = [
        SettledGame(place, "", Horizon.FINAL, 1, "", "", date(2024, 11, 20), ())
        for place in range(1, 3 * SNAPSHOT_EVERY)
    ]
    passed = fold.advance(games)
    assert [point.sequence for point in passed] == [SNAPSHOT_EVERY, 2 * SNAPSHOT_EVERY]
    fold.rewind(SNAPSHOT_EVERY + 1)
    assert fold.current.sequence == SNAPSHOT_EVERY
    fold.rewind(SNAPSHOT_EVERY)
    assert fold.current == Snapshot(0, 0, 0)
