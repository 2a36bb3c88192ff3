"""Forecasts of a bundle of whole numbers: all their numbers are of one distribution, static and adapted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.builders.bundles import lattice_bundle
from tests.support.builders.calibrations import symmetric_calibration

from dejavu_models.betting import Market
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.online_state import INITIAL, OnlineState
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import (
    DISTRIBUTION_LEVELS,
    HORIZONS,
    AdaptationMode,
    Forecast,
    Horizon,
    MarginSource,
)
from dejavu_models.uncertainty.adaptive import Tracker


@pytest.fixture(scope="module")
def bundle() -> Forecaster:
    return load_bundle(lattice_bundle())


@pytest.fixture
def forecaster(bundle: Forecaster) -> Iterator[Forecaster]:
    """Resets the online state after each test."""
    yield bundle
    bundle.update(INITIAL)


def tracker(volatility: float) -> Tracker:
    """Returns a tracker after 120 games with scores of standard deviation `volatility`."""
    rng, state = Random(0), Tracker()
    for _ in range(120):
        state = state.after(rng.gauss(0, volatility))
    return state


WILD = tracker(2.0)


def adapted(mode: AdaptationMode, of: Tracker) -> OnlineState:
    trackers = {(horizon, quarter): of for horizon in Horizon for quarter in range(4)}
    return OnlineState(7, mode, trackers)


PATTERN = tuple(float(minute % 5 + minute // 3) for minute in range(18))


def asked(**fields: Any) -> ForecastQuery:
    return replace(ForecastQuery(ScorePattern(PATTERN), Horizon.FINAL), **fields)


QUERIES = st.sampled_from(HORIZONS).flatmap(
    lambda horizon: st.builds(
        lambda changes, **fields: ForecastQuery(
            ScorePattern(tuple(np.cumsum(changes, dtype=float).tolist())), horizon, record=True, **fields
        ),
        st.lists(st.integers(-7, 7), min_size=1, max_size=horizon.last_slot),
        alpha=st.floats(0.005, 0.995),
        pregame_margin=st.none() | st.floats(-12, 12),
    )
)
STATES = st.sampled_from(
    [INITIAL, *(adapted(mode, of) for mode in AdaptationMode for of in (Tracker(), WILD, tracker(0.4)))]
)
FORECASTER_STAYS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def whole(forecast: Forecast) -> bool:
    values = (forecast.interval.lower, forecast.interval.upper, *forecast.distribution)
    return all(value == int(value) for value in (*values, *(each.value for each in forecast.quantiles)))


@FORECASTER_STAYS
@given(QUERIES, STATES, st.floats(0.01, 1.0), st.integers(-60, 60))
def test_all_numbers_of_a_forecast_are_of_one_distribution(
    forecaster: Forecaster, query: ForecastQuery, state: OnlineState, part: float, half_points: int
) -> None:
    levels = (0.01, 0.11, 0.5, 0.89, 0.99)
    forecaster.update(state)
    market = Market(half_points / 2, 1.9, 1.9)
    forecast = forecaster.forecast(replace(query, quantile_levels=levels, market=market))
    strict = forecaster.forecast(replace(query, alpha=max(0.005, query.alpha * part)))
    assert whole(forecast)
    assert forecast.point in forecast.interval
    assert strict.interval.lower <= forecast.interval.lower
    assert forecast.interval.upper <= strict.interval.upper
    assert list(forecast.distribution) == sorted(forecast.distribution)
    recorded = dict(zip(DISTRIBUTION_LEVELS, forecast.distribution, strict=True))
    # Adapted scores are recorded with 6 decimals, which may select the next whole number.
    assert all(abs(each.value - recorded[each.level]) <= 1 for each in forecast.quantiles if each.level in recorded)
    # Levels are 0.02 apart. Adapted quantiles beyond the model's 1st and 99th percentile are extrapolated.
    near = 0.03 if state.mode is AdaptationMode.ON else 0.0101
    leading = sum(value > 0 for value in forecast.distribution) / len(forecast.distribution)
    assert forecast.home_lead_probability == pytest.approx(leading, abs=near)
    assert forecast.market is not None
    above = sum(value > market.line for value in forecast.distribution) / len(forecast.distribution)
    assert forecast.market.home.win_probability == pytest.approx(above, abs=near)
    if query.horizon is Horizon.FINAL:
        assert 0.0 not in forecast.distribution
        assert market.line or forecast.market.push_probability == 0


def test_the_point_is_that_of_the_models_and_unknown_margins_count_as_0(forecaster: Forecaster) -> None:
    plain = load_bundle(default_bundle())
    for query in (asked(), asked(home_team="BOS", away_team="LAL"), asked(pregame_margin=-4.0)):
        assert forecaster.forecast(query).point == plain.forecast(query).point
    unknown = forecaster.forecast(asked(explain=True))
    assert unknown.explanation is not None
    assert unknown.explanation.calibration_games == 1000
    game = symmetric_calibration().rounded().model(MarginSource.UNKNOWN, live=False)
    made = game.distribution(Horizon.FINAL, 18, np.array([unknown.point]), np.array([PATTERN[-1]]), np.zeros(1))
    assert unknown.home_lead_probability == pytest.approx(made.home_leads[0], abs=1e-12)
    assert unknown.interval == made.interval(0.05)


@pytest.mark.parametrize("lead", [-200.0, -85.0, 85.0, 200.0])
@pytest.mark.parametrize("minute", [1, 23, 30, 47])
def test_a_lead_that_never_was_is_forecast_too(forecaster: Forecaster, lead: float, minute: int) -> None:
    for horizon in HORIZONS:
        if minute <= horizon.last_slot:
            pattern = ScorePattern((lead,) * minute)
            for margin in (None, -200.0, 200.0):
                market = Market(max(-100.0, min(lead, 100.0)), 1.9, 1.9)
                forecast = forecaster.forecast(
                    ForecastQuery(pattern, horizon, pregame_margin=margin, record=True, market=market)
                )
                assert forecast.point in forecast.interval
                assert whole(forecast)
                assert 0.0 < forecast.home_lead_probability < 1.0
                assert list(forecast.distribution) == sorted(forecast.distribution)
