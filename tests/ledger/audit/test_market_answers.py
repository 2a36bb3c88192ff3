"""An answer is accepted with the forecast that it was computed for, whatever the distribution, and with no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import issued
from tests.support.builders.markets import markets
from tests.support.builders.models import symmetric_calibration
from tests.support.builders.shipped import shipped_bundle
from tests.support.harness.laws import examples
from tests.support.harness.present import present

from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.moment import Moment
from dejavu_feed.teams import DECEMBER_DEVIATION
from dejavu_ledger.audit.market_answers import fault_of
from dejavu_ledger.entries import codec
from dejavu_ledger.entries.codec import Entry
from dejavu_ledger.records import IssuedForecast, MarketEntry
from dejavu_models.betting import (
    Market,
    MarketAnswer,
    MarketKind,
    StakingPolicy,
    evaluate_market,
    is_own_market,
)
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.totals import forecast_total
from dejavu_models.types import AdaptationMode, Horizon, MarginSource, TeamKnowledge
from dejavu_models.uncertainty.adaptive import Tracker
from dejavu_models.uncertainty.issued import IntervalAdapter, IssuedDistribution
from dejavu_models.uncertainty.lattice.calibration import LatticeGame, Situation

MARGIN = 0.5
"""Pregame margin of the requests, in points."""

WHOLE_NUMBERS, TOTALS = symmetric_calibration(), present(shipped_bundle().totals)
ANY = StakingPolicy(max_difference=1.0)
"""A policy by which no difference from the market is implausible."""


def recorded(
    game: LatticeGame,
    horizon: Horizon,
    market: Market,
    *,
    point: float,
    lead: float,
    factor: float | None = None,
    widening: float = 1.0,
    unrated: bool | None = None,
) -> tuple[IssuedForecast, Market, MarketAnswer]:
    """Return a forecast from a distribution, with a market and its answer, all as read back from a ledger."""
    adapter = None if factor is None else IntervalAdapter(Tracker(), factor)
    made = IssuedDistribution(game, None if factor is None else AdaptationMode.ON, adapter, widening)
    plain = issued(pattern=(0.0, lead), horizon=horizon, point=point)
    explanation = plain.forecast.explanation
    assert explanation is not None
    forecast = replace(
        plain.forecast,
        expected_margin=MARGIN,
        explanation=replace(explanation, calibration_games=game.calibration_games),
        distribution=made.recorded(),
        static_scores=made.static_scores,
        widened_by=widening - 1.0,
        home_lead_probability=made.home_lead_probability(),
    )
    own_line = is_own_market(market, MARGIN, horizon) if unrated is None else unrated
    answer = made.evaluate(market, horizon, unrated=own_line)
    return read_back(replace(plain, pregame_margin=MARGIN, forecast=forecast), market, answer)


def read_back(
    made: IssuedForecast, market: Market, answer: MarketAnswer
) -> tuple[IssuedForecast, Market, MarketAnswer]:
    stored = codec.parse(codec.encode_entry(Entry(codec.FORECAST, 0, 1), codec.prepare(made).payload))
    text = codec.encode_entry(Entry(codec.MARKET, 0, 2), codec.market_payload(MarketEntry(1, market, answer)))
    read = codec.parse_market(text)
    return stored, read.market, read.answer


def asked(
    market: Market, lead: float, horizon: Horizon = Horizon.FINAL, **options: Any
) -> tuple[IssuedForecast, Market, MarketAnswer]:
    """Like `recorded`, from the distribution around a lead after 18 minutes."""
    game = WHOLE_NUMBERS.game(Situation(horizon, 18, MarginSource.KNOWN), lead, lead, 0.0)
    return recorded(game, horizon, market, point=lead, lead=lead, **options)


@st.composite
def cases(draw: st.DrawFn) -> tuple[IssuedForecast, Market, MarketAnswer]:
    horizon = draw(st.sampled_from(Horizon))
    situation = Situation(horizon, draw(st.integers(1, horizon.last_slot)), MarginSource.KNOWN)
    lead = draw(st.integers(-30, 30))
    point = lead + draw(st.floats(-9, 9))
    options: dict[str, Any] = {
        "factor": draw(st.none() | st.floats(0.5, 2.0)),
        "widening": draw(st.just(1.0) | st.floats(1.0, 1.5)),
    }
    game = WHOLE_NUMBERS.game(situation, point, lead, 2.0)
    return recorded(game, horizon, draw(markets()), point=point, lead=lead, **options)


@settings(max_examples=examples(30), deadline=None)
@given(case=cases())
def test_an_answer_of_a_model_follows_from_the_forecast_it_was_given_with_and_no_mark_of_it_can_be_turned(
    case: tuple[IssuedForecast, Market, MarketAnswer],
) -> None:
    forecast, market, answer = case
    assert fault_of(forecast, market, answer) is None
    for mark in ("implausible", "mismatched", "unrated", "confidence_met"):
        turned: dict[str, Any] = {mark: not getattr(answer, mark)}
        assert fault_of(forecast, market, replace(answer, **turned)) is not None, mark


@pytest.mark.parametrize("horizon", list(Horizon))
@pytest.mark.parametrize(("factor", "moved"), [(None, 0.021), (None, -0.021), (1.3, 0.045), (1.3, -0.045)])
@pytest.mark.parametrize("line", [3.5, 6.5, 10.5, 12.5])
def test_a_probability_that_is_further_off_than_a_quantile_is_found(
    horizon: Horizon, factor: float | None, moved: float, line: float
) -> None:
    forecast, market, answer = asked(Market(line, 1.9, 2.0), 6.0, horizon, factor=factor)
    assert fault_of(forecast, market, answer) is None
    told = answer.above.win_probability + moved
    other = evaluate_market(market, lambda _: told, unrated=answer.unrated)
    assert "does not follow from the forecast" in (fault_of(forecast, market, other) or "")


def teams(deviation: float) -> tuple[TeamKnowledge, TeamKnowledge]:
    return TeamKnowledge(2.0, 25), TeamKnowledge(deviation, 18, date(2026, 6, 15))


RATED: dict[str, Any] = {"ratings_date": date(2023, 6, 12), "expected_margin": 1.5}
WHAT_IS_KNOWN: list[tuple[dict[str, Any], float | None, str]] = [
    (RATED, MARGIN, ""),
    ({"expected_margin": None}, None, "by the forecast they are known too little"),  # no teams and no margin
    (RATED, 1.0, "it would stake at about the line or price of the given margin, the forecast's only information"),
    (RATED | {"teams_known": teams(DECEMBER_DEVIATION)}, MARGIN - 8.5, ""),
    (RATED | {"teams_known": teams(2.56)}, MARGIN - 8.5, "by the forecast they are known too little"),
    (RATED | {"moment": Moment(4, 100.0, 3)}, -8.0, "it would stake at a late moment"),
]
"""Values of a forecast, the margin that was given, and why there is no stake by them; empty: there is one."""


@pytest.mark.parametrize(("values", "margin", "why"), WHAT_IS_KNOWN)
def test_a_stake_on_what_is_known_too_little_cannot_be_hidden_nor_its_refusal_made_up(
    values: dict[str, Any], margin: float | None, why: str
) -> None:
    forecast, market, staked = asked(Market(2.5, 1.6, 2.5, policy=ANY), 12.0, unrated=False)
    refused = asked(market, 12.0, unrated=True)[2]
    assert staked.stake > refused.stake == 0
    made = replace(forecast, pregame_margin=margin, forecast=replace(forecast.forecast, **values))
    found = fault_of(made, market, staked) or ""
    assert why in found
    assert (fault_of(made, market, refused) is None) is bool(found) is bool(why)


def test_an_answer_on_the_total_follows_from_the_total_of_its_forecast() -> None:
    # A total that is as likely to be exceeded as not.
    point = round(TOTALS.tables(MarginSource.KNOWN, Horizon.FINAL, 3).game(14, 2.0, 231.0).point)

    def of_total(above: float, expected: float | None) -> tuple[IssuedForecast, Market, MarketAnswer]:
        market = Market(point + above, 2.3, 1.75, kind=MarketKind.TOTAL)
        pattern, live = ScorePattern((1.0, 3.0, 2.0)), LiveInputs(14)
        query = ForecastQuery(pattern, Horizon.FINAL, record=True, live=live, markets=(market,))
        source = MarginSource.UNKNOWN if expected is None else MarginSource.KNOWN
        total = forecast_total(TOTALS.tables(source, Horizon.FINAL, 3), query, expected, lead_staked=0.018)
        plain = issued(pattern=pattern.differentials, horizon=Horizon.FINAL)
        assert total.market is not None
        made = replace(plain, live=live, forecast=replace(plain.forecast, total=total, teams_known=()))
        return read_back(made, market, total.market)

    forecast, market, answer = of_total(0.5, 231.0)
    assert answer.lead_staked == 0.018
    assert fault_of(forecast, market, answer) is None
    assert fault_of(forecast, market, replace(answer, lead_staked=0.0)) is not None
    assert "does not follow from the forecast" in (fault_of(forecast, market, of_total(4.5, 231.0)[2]) or "")
    assert fault_of(*of_total(0.5, None)) is None
    assert "known too little" in (fault_of(of_total(0.5, None)[0], market, answer) or "")
    bare = replace(forecast, forecast=replace(forecast.forecast, total=None))
    assert fault_of(bare, market, answer) == "the forecast has no total"


def test_a_forecast_without_quantiles_still_bounds_an_answer_by_who_leads() -> None:
    forecast, market, answer = asked(Market(3.5, 1.9, 2.0), 6.0)
    bare = replace(forecast, forecast=replace(forecast.forecast, distribution=(), explanation=None))
    assert fault_of(bare, market, answer) is None
    behind = replace(bare, forecast=replace(bare.forecast, home_lead_probability=0.2))
    assert "expected 0.000000 to 0.200000" in (fault_of(behind, market, answer) or "")


@pytest.mark.parametrize(("difference", "follows"), [(5e-8, True), (-5e-8, True), (1e-5, False)])
def test_a_probability_told_twice_may_differ_by_lost_digits(difference: float, follows: bool) -> None:
    """At leads that no game has, it did, and one such forecast with odds failed every verification of its ledger."""
    made, market, answer = asked(Market(0.0, 1.9, 1.9), 6.0)
    told = made.forecast.home_lead_probability + difference
    moved = replace(made, forecast=replace(made.forecast, home_lead_probability=told))
    assert (fault_of(moved, market, answer) is None) is follows
