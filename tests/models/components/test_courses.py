"""Courses of entries: stored in tenths, found for the similar games of an explanation, and for no other game."""

from __future__ import annotations

import time
import timeit
from dataclasses import replace
from datetime import date
from functools import partial

import numpy as np
import pytest
from tests.support.builders.shipped import shipped_bundle
from tests.support.harness.real_games import real_games

from dejavu_models.arrays import to_tenths
from dejavu_models.components.courses import courses_from_bytes, courses_to_bytes
from dejavu_models.components.dejavu import Dejavu, DejavuSettings, Entries, Kernel
from dejavu_models.components.index import BruteForceIndex
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import HORIZONS, MAX_SLOTS, Forecast, Horizon, SimilarGame
from dejavu_store.registry import Registry

PATTERN = (0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6)


@pytest.fixture(scope="module")
def shipped() -> Forecaster:
    return shipped_bundle()


def explained(forecaster: Forecaster, horizon: Horizon) -> Forecast:
    return forecaster.forecast(ForecastQuery(ScorePattern(PATTERN), horizon, explain=True))


def test_courses_are_read_back_as_written() -> None:
    courses = {46: to_tenths(np.array([[1.26], [-3.0]])), 47: np.zeros((3, 0), dtype=np.int16)}
    content = courses_to_bytes(courses)
    back = courses_from_bytes(content, {46: 2, 47: 3})
    assert back[46].tolist() == [[13], [-30]]
    assert back[47].shape == (3, 0)
    for entries in ({46: 3, 47: 3}, {46: 2}, {45: 2, 46: 2, 47: 3}):
        with pytest.raises(ValueError, match="minute"):
            courses_from_bytes(content, entries)


@pytest.mark.parametrize("horizon", list(Horizon))
def test_similar_games_are_found_with_the_course_that_leads_to_their_increment(
    shipped: Forecaster, horizon: Horizon
) -> None:
    forecast = explained(shipped, horizon)
    assert forecast.explanation is not None
    assert forecast.explanation.similar_games
    registry = Registry([shipped])
    for game in forecast.explanation.similar_games:
        assert len(registry.course(forecast, game)) == horizon.last_slot - len(PATTERN)


def test_courses_pass_the_half_where_the_entries_do(shipped: Forecaster) -> None:
    for minute, dejavu in shipped.models.minutes.items():
        assert dejavu.courses is not None
        assert dejavu.courses.shape == (len(dejavu.entries), MAX_SLOTS - minute)
        if minute < 24:
            half = dejavu.courses[:, 24 - minute - 1] / 10.0
            assert half == pytest.approx(dejavu.entries.increments[:, 0], abs=0.051)


def test_a_game_that_no_model_has_is_without_a_course(shipped: Forecaster) -> None:
    forecast = explained(shipped, Horizon.FINAL)
    assert forecast.explanation is not None
    game = forecast.explanation.similar_games[0]
    registry = Registry([shipped])
    assert registry.course(forecast, game)
    for other in (
        replace(game, increment=game.increment + 0.5),
        replace(game, games=game.games + 1),
        replace(game, home_team=game.away_team, away_team=game.home_team),
    ):
        assert registry.course(forecast, other) == ()
    assert registry.course(replace(forecast, elapsed_minutes=19), game) == ()


def test_a_course_is_found_as_fast_among_entries_of_one_date() -> None:
    """A walk over 50,000 entries of one date for each similar game once kept a worker from its heartbeat."""
    count = 50_000
    day = np.datetime64("2020-01-01")
    game = SimilarGame("LAL", "BOS", date(2020, 1, 1), 0.0, 0.0, count, 0.0, 0.0)
    costs = []
    for days in (np.full(count, day), day - np.arange(count)[::-1] % 20_000):
        entries = Entries(
            home=np.full(count, "LAL"),
            away=np.full(count, "BOS"),
            date=days,
            games=np.arange(1, count + 1, dtype=np.int32),
            increments=np.zeros((count, 2), np.float32),
            spreads=np.zeros((count, 2), np.float32),
            residuals=np.zeros((count, 2, 2), np.float32),
        )
        courses = np.arange(count, dtype=np.int16)[:, None]
        index = BruteForceIndex(np.zeros((count, 46), np.float32))
        dejavu = Dejavu(index, entries, DejavuSettings(6.0, 1, Kernel.UNIFORM), courses)
        assert dejavu.course(game, HORIZONS.index(Horizon.FINAL)) == (courses[-1, 0] / 10.0,)
        look_up = partial(dejavu.course, game, HORIZONS.index(Horizon.FINAL))
        costs.append(min(timeit.repeat(look_up, number=3, timer=time.process_time)))
    assert costs[0] < 5 * costs[1]


@pytest.mark.nightly
@pytest.mark.real_data
def test_the_shipped_courses_are_those_of_all_training_games(data_dir: object, shipped: Forecaster) -> None:
    games = real_games(data_dir, shipped.info.train_seasons)  # type: ignore[arg-type]
    levels = games.levels
    for minute in (3, 18, 30, 46):
        dejavu = shipped.models.minutes[minute]
        assert dejavu.courses is not None
        mean = (dejavu.entries.games[:, None] * (dejavu.courses / 10.0)).sum(axis=0) / len(games)
        assert mean == pytest.approx((levels[:, minute:] - levels[:, [minute - 1]]).mean(axis=0), abs=0.02)
