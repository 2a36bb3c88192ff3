from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dejavu_models.bundle import load_bundle
from dejavu_models.errors import AlphaTooSmall, UnsupportedHorizon, UnsupportedMargin, UnsupportedSlots
from dejavu_models.forecaster import SIMILAR_GAMES, Forecaster
from dejavu_models.registry import default_bundle
from dejavu_models.types import Forecast, ForecastQuery, Horizon, HorizonSupport, ScorePattern

ROUNDING = 1e-4

QUERIES = st.builds(
    ForecastQuery,
    pattern=st.lists(st.integers(-7, 7), min_size=18, max_size=18).map(
        lambda changes: ScorePattern(tuple(np.cumsum(changes).astype(float).tolist()))
    ),
    alpha=st.floats(0.01, 0.99),
    explain=st.booleans(),
)


@pytest.fixture(scope="module")
def shipped() -> Forecaster:
    return load_bundle(default_bundle())


def query(*differentials: float, **fields: Any) -> ForecastQuery:
    return replace(ForecastQuery(ScorePattern(differentials or tuple(float(m) for m in range(18)))), **fields)


def assert_alike(one: Forecast, other: Forecast) -> None:
    """The same up to rounding in the LSTM."""
    assert one.point == pytest.approx(other.point, abs=ROUNDING)
    assert one.interval.lower == pytest.approx(other.interval.lower, abs=ROUNDING)
    assert one.interval.upper == pytest.approx(other.interval.upper, abs=ROUNDING)
    assert one.home_lead_probability == pytest.approx(other.home_lead_probability, abs=0.005)
    assert (one.explanation is None) == (other.explanation is None)
    if one.explanation and other.explanation:
        assert one.explanation.dejavu_prediction == other.explanation.dejavu_prediction
        assert one.explanation.similar_games == other.explanation.similar_games


@settings(max_examples=40, deadline=None)
@given(st.lists(QUERIES, min_size=1, max_size=20))
def test_a_batch_gets_what_each_query_gets_alone(shipped: Forecaster, queries: list[ForecastQuery]) -> None:
    for together, asked in zip(shipped.forecast_many(queries), queries, strict=True):
        assert together.alpha == asked.alpha
        assert_alike(together, shipped.forecast(asked))


def test_no_queries_get_no_forecasts(shipped: Forecaster) -> None:
    assert shipped.forecast_many([]) == []


@settings(max_examples=100, deadline=None)
@given(QUERIES)
def test_the_interval_holds_the_point_and_narrows_as_alpha_grows(shipped: Forecaster, asked: ForecastQuery) -> None:
    loose = shipped.forecast(asked)
    strict = shipped.forecast(replace(asked, alpha=asked.alpha / 2))
    assert loose.point in loose.interval
    assert strict.interval.lower <= loose.interval.lower
    assert loose.interval.upper <= strict.interval.upper


@settings(max_examples=100, deadline=None)
@given(QUERIES)
def test_the_explanation_adds_up(shipped: Forecaster, asked: ForecastQuery) -> None:
    forecast = shipped.forecast(replace(asked, explain=True))
    told = forecast.explanation
    assert told is not None
    assert told.ensemble_forecast == forecast.point
    assert told.baseline_prediction == asked.pattern.last
    assert told.dejavu_weight * told.dejavu_prediction + told.lstm_weight * told.lstm_prediction == pytest.approx(
        forecast.point
    )
    assert len(told.similar_games) == SIMILAR_GAMES
    distances = [similar.distance for similar in told.similar_games]
    assert distances == sorted(distances)


def test_shifting_what_was_before_the_last_minute_hardly_matters_but_the_last_slot_does(shipped: Forecaster) -> None:
    """The models forecast the increment: a lead of 20 is not forecast to vanish."""
    behind, ahead = shipped.forecast(query(*[-20.0] * 18)), shipped.forecast(query(*[20.0] * 18))
    assert behind.point == pytest.approx(-20, abs=4)
    assert ahead.point == pytest.approx(20, abs=4)
    assert behind.home_lead_probability < 0.02
    assert ahead.home_lead_probability > 0.98


def test_patterns_of_18_slots_only(shipped: Forecaster) -> None:
    for slots in (1, 17, 19, 47):
        with pytest.raises(UnsupportedSlots, match=f"pattern: {slots} slots; expected 18"):
            shipped.check(query(*[0.0] * slots))


def test_the_half_only(shipped: Forecaster) -> None:
    with pytest.raises(UnsupportedHorizon, match=r"horizon: final; expected .* halftime"):
        shipped.check(query(horizon=Horizon.FINAL))


def test_no_pregame_margin_without_ratings(shipped: Forecaster) -> None:
    with pytest.raises(UnsupportedMargin, match="pregame_margin"):
        shipped.check(query(pregame_margin=0.0))


def test_an_alpha_too_small_is_refused_with_the_smallest_that_can_be_had(shipped: Forecaster) -> None:
    smallest = shipped.info.smallest_alpha
    with pytest.raises(AlphaTooSmall, match=f"at least {smallest}"):
        shipped.forecast(query(alpha=smallest * 0.999))
    assert shipped.forecast(query(alpha=smallest)).alpha == smallest


def test_a_model_says_what_it_can_do(small: Forecaster) -> None:
    info = small.info
    assert info.horizons == (HorizonSupport(Horizon.HALFTIME, 18, 18),)
    assert info.smallest_alpha == pytest.approx(2 / 200)
    assert (info.train_seasons, info.calibration_seasons) == ((2020,), (2021,))
    assert (info.train_games, info.calibration_games, info.database_entries) == (300, 199, 60)
    assert {metric.name for metric in info.metrics} >= {"calibration.ensemble.mae", "calibration.persistence.mae"}
    assert info.created_time.tzinfo is not None


def test_arrays_and_queries_get_the_same_forecasts(shipped: Forecaster) -> None:
    patterns = np.random.default_rng(0).normal(0, 2.5, (30, 18)).cumsum(axis=1).round()
    predictions = shipped.predict_arrays(patterns)
    queries = [query(*pattern, explain=True) for pattern in patterns.tolist()]
    for row, forecast in enumerate(shipped.forecast_many(queries)):
        told = forecast.explanation
        assert told is not None
        assert told.dejavu_prediction == predictions.dejavu[row]
        assert told.lstm_prediction == predictions.lstm[row]
        assert forecast.point == predictions.ensemble[row]
        assert told.baseline_prediction == predictions.persistence[row]


def test_arrays_that_no_stage_knows_are_refused(shipped: Forecaster) -> None:
    with pytest.raises(UnsupportedSlots):
        shipped.predict_arrays(np.zeros((1, 17)))
    with pytest.raises(UnsupportedHorizon):
        shipped.scores(18, Horizon.FINAL)


def test_threads_do_not_disturb_each_other(shipped: Forecaster) -> None:
    rng = np.random.default_rng(1)
    queries = [query(*rng.normal(0, 2.5, 18).cumsum().round().tolist(), explain=True) for _ in range(200)]
    alone = [shipped.forecast(asked) for asked in queries]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(pool.map(shipped.forecast, queries), alone, strict=True):
            assert_alike(one, other)
