"""Forecasts with online state."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.builders.models import queries
from tests.support.harness.present import present

from dejavu_models.betting import Market
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.forecaster.active_state import expected_margin
from dejavu_models.live_ratings import INITIAL, OnlineState
from dejavu_models.types import (
    DISTRIBUTION_LEVELS,
    MAX_DIFFERENTIAL,
    AdaptationMode,
    ExpectedMarginTerms,
    Forecast,
    Horizon,
)
from dejavu_models.uncertainty.adaptive import Tracker, static_score

ON, SHADOW = AdaptationMode.ON, AdaptationMode.SHADOW


def tracker(volatility: float, games: int = 120, seed: int = 0) -> Tracker:
    """Return a tracker after games with scores of standard deviation `volatility`."""
    rng = random.Random(seed)
    state = Tracker()
    for _ in range(games):
        state = state.after(rng.gauss(0, volatility))
    return state


WILD, CALM = tracker(2.0), tracker(0.4)


RECORDED = queries(alpha=st.floats(0.005, 0.995), record=st.just(True), pregame_margin=st.none() | st.floats(-12, 12))


def lessons(mode: AdaptationMode | None, of: Tracker, **fields: Any) -> OnlineState:
    """Return an online state with the same tracker for every horizon and quarter."""
    trackers = {(horizon, stage): of for horizon in Horizon for stage in range(4)}
    return OnlineState(7, mode, trackers, **fields)


def asked(**fields: Any) -> ForecastQuery:
    pattern = ScorePattern(tuple(float(minute % 5 + minute // 3) for minute in range(18)))
    return replace(ForecastQuery(pattern, Horizon.FINAL), **fields)


def told(forecast: Forecast) -> Forecast:
    """Return a forecast without its adaptation metadata."""
    return replace(forecast, adaptation=None, calibration_sequence=0)


def test_in_shadow_the_forecast_is_static_and_the_adapted_interval_stands_beside(shipped: Forecaster) -> None:
    query = asked(quantile_levels=(0.1, 0.5), record=True, markets=(Market(3.0, 1.9, 1.9),))
    static = shipped.forecast(query)
    shipped.update(lessons(SHADOW, WILD))
    shadow = shipped.forecast(query)
    assert told(shadow) == static
    assert shadow.adaptation is not None
    assert shadow.adaptation.mode is SHADOW
    assert shadow.adaptation.static == static.interval
    assert shadow.adaptation.adapted.lower < static.interval.lower
    assert static.interval.upper < shadow.adaptation.adapted.upper


def test_where_it_is_on_all_of_the_forecast_follows(shipped: Forecaster) -> None:
    query = asked(quantile_levels=(0.025, 0.1, 0.975), record=True, markets=(Market(3.0, 1.9, 1.9),))
    static = shipped.forecast(query)
    shipped.update(lessons(ON, WILD))
    adapted = shipped.forecast(query)
    assert adapted.adaptation is not None
    assert adapted.adaptation.mode is ON
    assert adapted.adaptation.static == static.interval
    assert adapted.interval == adapted.adaptation.adapted
    assert adapted.point == static.point
    ends = [adapted.quantiles[0].value, adapted.quantiles[2].value]
    assert ends == pytest.approx([adapted.interval.lower, adapted.interval.upper])
    assert adapted.interval.upper - adapted.interval.lower > 1.15 * (static.interval.upper - static.interval.lower)
    assert 0.5 < adapted.home_lead_probability < static.home_lead_probability
    assert adapted.distribution[0] < static.distribution[0]
    assert present(adapted.market).above.win_probability < present(static.market).above.win_probability


def test_the_rolling_coverage_is_told_at_the_alpha_asked(shipped: Forecaster) -> None:
    shipped.update(lessons(SHADOW, WILD))
    for alpha in (0.05, 0.2, 0.77):
        adaptation = present(shipped.forecast(asked(alpha=alpha)).adaptation)
        assert adaptation.rolling_games == 100
        rolling = adaptation.rolling_coverage, adaptation.static_rolling_coverage
        assert rolling == WILD.rolling_coverages(alpha)


@pytest.mark.parametrize("mode", list(AdaptationMode))
def test_before_the_first_outcome_of_a_stage_intervals_are_static(shipped: Forecaster, mode: AdaptationMode) -> None:
    query = asked(record=True, quantile_levels=(0.1, 0.9))
    static = shipped.forecast(query)
    shipped.update(OnlineState(7, mode, trackers={(Horizon.FINAL, 0): WILD, (Horizon.HALFTIME, 1): WILD}))
    forecast = shipped.forecast(query)
    assert told(forecast) == static
    assert forecast.adaptation is not None
    assert forecast.adaptation.adapted == forecast.adaptation.static == static.interval
    assert (forecast.adaptation.rolling_games, forecast.adaptation.rolling_coverage) == (0, None)


SHIPPED_STAYS = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


STATES = st.sampled_from([INITIAL, *(lessons(mode, of) for mode in AdaptationMode for of in (Tracker(), WILD, CALM))])


def whole(forecast: Forecast) -> bool:
    values = (forecast.interval.lower, forecast.interval.upper, *forecast.distribution)
    return all(value == int(value) for value in (*values, *(each.value for each in forecast.quantiles)))


@SHIPPED_STAYS
@given(RECORDED, STATES, st.floats(0.01, 1.0), st.integers(-60, 60))
def test_all_numbers_of_a_forecast_are_of_one_distribution(
    shipped: Forecaster, query: ForecastQuery, state: OnlineState, part: float, half_points: int
) -> None:
    levels = (0.01, 0.11, 0.5, 0.89, 0.99)
    shipped.update(state)
    market = Market(half_points / 2, 1.9, 1.9)
    forecast = shipped.forecast(replace(query, quantile_levels=levels, markets=(market,)))
    strict = shipped.forecast(replace(query, alpha=max(0.005, query.alpha * part)))
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
    assert forecast.market.above.win_probability == pytest.approx(above, abs=near)
    if query.horizon is Horizon.FINAL:
        assert 0.0 not in forecast.distribution
        assert market.line or forecast.market.push_probability == 0


@SHIPPED_STAYS
@given(RECORDED, st.integers(-60, 60))
def test_the_static_score_of_an_outcome_does_not_depend_on_what_was_learned(
    shipped: Forecaster, query: ForecastQuery, outcome: int
) -> None:
    shipped.update(INITIAL)
    static = shipped.forecast(query)
    shipped.update(lessons(ON, WILD))
    adapted = shipped.forecast(query)
    due = static_score(static.distribution, static.static_scores, outcome)
    if abs(due) < 2:  # beyond, one of the two forecasts has no recorded quantiles
        assert static_score(adapted.distribution, adapted.static_scores, outcome) == pytest.approx(due, abs=0.15)


@pytest.mark.parametrize("difference", [1800.0, -1800.0])
def test_ratings_expect_no_more_than_a_request_may_give(difference: float) -> None:
    of_query = expected_margin(asked(), ExpectedMarginTerms(difference, 3.0))
    assert of_query == (MAX_DIFFERENTIAL if difference > 0 else -MAX_DIFFERENTIAL)


def test_one_pass_goes_by_one_set_of_lessons(shipped: Forecaster) -> None:
    query = asked(record=True)
    sets = [lessons(ON, WILD), OnlineState(8)]
    due = []
    for each in sets:
        shipped.update(each)
        due.append(shipped.forecast(query))
    with ThreadPoolExecutor(2) as pool:
        passes = pool.map(lambda _: shipped.forecast_many([query] * 20), range(10))
        for turn in range(200):
            shipped.update(sets[turn % 2])
        for answers in passes:
            assert len({answer.calibration_sequence for answer in answers}) == 1
            right = due[0] if answers[0].calibration_sequence == 7 else due[1]
            assert all(answer.interval == right.interval for answer in answers)
