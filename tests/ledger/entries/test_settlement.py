"""Settlement of forecasts by outcomes, compared with a plain computation."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import issued
from tests.support.builders.outcomes import MARKET, answered, outcome

from dejavu_ledger.entries.settlement import Bet, settle
from dejavu_ledger.records import IssuedForecast, MarketResult
from dejavu_models.betting import MarketKind, MarketSide
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon, Interval

law = settings(deadline=None)  # a busy machine is no counterexample

points = st.integers(-30_000, 30_000).map(lambda thousandths: thousandths / 1000)


@st.composite
def forecasts(draw: st.DrawFn) -> IssuedForecast:
    quantiles = tuple(sorted(draw(st.lists(points, min_size=50, max_size=50))))
    lower, upper = sorted((draw(points), draw(points)))
    plain = issued(pattern=(0.0, float(draw(st.integers(-40, 40)))))
    forecast = replace(
        plain.forecast,
        point=draw(points),
        interval=Interval(lower, upper),
        home_lead_probability=draw(st.floats(0, 1)),
        distribution=quantiles,
    )
    return replace(plain, forecast=forecast)


def _plain(lower: float = -10.25, upper: float = 13.25) -> IssuedForecast:
    made = issued()
    quantiles = tuple(float(place) for place in range(50))
    return replace(made, forecast=replace(made.forecast, interval=Interval(lower, upper), distribution=quantiles))


@law
@given(forecasts(), st.integers(-40, 40))
@example(_plain(), 0)  # a level half is no lead
@example(_plain(-2.0, 3.0), -2)  # the ends of an interval belong to it
@example(_plain(-2.0, 3.0), 3)
def test_a_settlement_is_what_its_figures_are_said_to_be(forecast: IssuedForecast, came: int) -> None:
    settlement = settle(forecast, replace(outcome(came), sequence=17))
    made = forecast.forecast
    assert settlement.outcome_sequence == 17
    assert settlement.error == made.point - came
    assert settlement.persistence_error == forecast.pattern.last - came
    assert settlement.covered == (made.interval.lower <= came <= made.interval.upper)
    home_led = 1 if came > 0 else 0
    assert settlement.brier == pytest.approx((made.home_lead_probability - home_led) ** 2)
    pinball = [
        2 * max(level * (came - quantile), (level - 1) * (came - quantile))
        for level, quantile in zip(DISTRIBUTION_LEVELS, made.distribution, strict=True)
    ]
    assert settlement.crps == pytest.approx(sum(pinball) / 50)
    assert settlement.market_profit is None


def test_the_score_of_an_outcome_is_that_of_the_level_whose_quantile_it_is() -> None:
    quantiles = tuple(float(place) for place in range(50))
    forecast = replace(issued(), forecast=replace(issued().forecast, distribution=quantiles))
    assert settle(forecast, outcome(10)).score == pytest.approx(NormalDist().inv_cdf(0.21))
    adapted = replace(forecast, forecast=replace(forecast.forecast, static_scores=tuple(q / 10 for q in quantiles)))
    assert settle(adapted, outcome(10)).score == pytest.approx(1.0)


def test_a_forecast_without_a_distribution_has_neither_crps_nor_score() -> None:
    settlement = settle(issued(), outcome(3))
    assert (settlement.crps, settlement.score) == (None, None)


@pytest.mark.parametrize(
    ("side", "came", "profit", "result"),
    [
        (MarketSide.HOME, -2, 0.1 * 0.9, MarketResult.WON),
        (MarketSide.HOME, -3, -0.1, MarketResult.LOST),
        (MarketSide.AWAY, -3, 0.1 * 0.95, MarketResult.WON),
        (MarketSide.AWAY, -2, -0.1, MarketResult.LOST),
        (None, -2, 0.0, None),
        (MarketSide.HOME, -4, 0.0, MarketResult.PUSH),
        (MarketSide.AWAY, -4, 0.0, MarketResult.PUSH),
    ],
)
def test_a_stake_wins_at_its_odds_or_is_lost(
    side: MarketSide | None, came: int, profit: float, result: MarketResult | None
) -> None:
    market = replace(MARKET, line=-4.0) if result is MarketResult.PUSH else MARKET
    bet = Bet.from_market(market, answered(side, market=market, stake_fraction=0.1))
    settlement = settle(issued(), outcome(came), {MarketKind.LEAD: bet})
    assert settlement.market_profit == pytest.approx(profit)
    assert settlement.market_result is result


@pytest.mark.parametrize("other", [outcome(3, "0022300002"), outcome(3, horizon=Horizon.FINAL)])
def test_an_outcome_of_something_else_settles_nothing(other: object) -> None:
    with pytest.raises(ValueError, match="own game and horizon"):
        settle(issued(), other)  # type: ignore[arg-type]
