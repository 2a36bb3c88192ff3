from __future__ import annotations

import asyncio
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
from dejavu_ledger.database.backend import Connection
from dejavu_ledger.database.sqlite import SqliteBackend
from dejavu_ledger.queries import learning
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
from dejavu_server.forecasting.projection import SNAPSHOT_EVERY
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
    """Return a projection that read all outcomes; unless a test stores snapshots, without any."""
    learned = nothing()
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
    assert state(second) == state(first)

    await report(ledger, 3, 40)  # a correction from before the snapshot
    assert await ledger.read(lambda connection: learning.read_snapshot(connection, 2**40)) is None
    without = await from_scratch(ledger)
    for each in (first, second):
        await ledger.read(each.read)
        assert state(each) == state(without)
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
        return online_updater.OnlineUpdater(lambda: ledger, [], mode=AdaptationMode.ON)

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


def finals(model: PersistenceForecaster) -> int:
    assert model.state.rated is not None
    return model.state.rated.ratings.finals


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
@pytest.mark.parametrize(
    "make",
    [lambda: BrokenRatings("broken"), lambda: Unusable("shipped"), hostile],
    ids=["ratings of no final", "ratings in use", "ratings of a pair"],
)
async def test_a_model_that_cannot_learn_keeps_no_other_from_learning_or_loading(
    ledger: Ledger, make: Callable[[], Forecaster]
) -> None:
    """Neither from the start nor when it is added; its own ratings stay those of its bundle."""
    wrong, sound, added = make(), PersistenceForecaster("sound"), PersistenceForecaster("added")
    updater = online_updater.OnlineUpdater(lambda: ledger, [wrong, sound], mode=AdaptationMode.SHADOW)
    observed = NOW + timedelta(days=1)
    with capture_logs() as logs:
        await ledger.record_outcome(ReportedOutcome(game_id(1), Horizon.FINAL, 7, "BOS", "DEN", observed, observed))
        await updater.update()
        await updater.add(added)
        await updater.update()
        later = online_updater.OnlineUpdater(lambda: ledger, [], mode=AdaptationMode.SHADOW)
        await later.add(make())
    assert (finals(sound), finals(added)) == (1, 1)
    assert wrong.info.finals_since == 0
    assert [log["model"] for log in logs if log["event"] == "learning_failed"] == [wrong.version] * 2


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
