"""An answer is accepted with the forecast that it was computed for, whatever the distribution, and with no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.calibrations import steady_totals, symmetric_calibration
from tests.support.builders.issued_forecasts import issued
from tests.support.harness.laws import examples

from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.teams import DECEMBER_DEVIATION
from dejavu_ledger.audit.market_answers import fault_of
from dejavu_ledger.entries import codec
from dejavu_ledger.records import IssuedForecast
from dejavu_models.betting import (
    Market,
    MarketAnswer,
    MarketKind,
    RiskLevel,
    StakingPolicy,
    evaluate_market,
    is_own_market,
)
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.totals.totals import forecast_total
from dejavu_models.types import AdaptationMode, Horizon, MarginSource, TeamKnowledge
from dejavu_models.uncertainty.adaptive import Tracker
from dejavu_models.uncertainty.issued import IntervalAdapter, IssuedDistribution
from dejavu_models.uncertainty.lattice.calibration import Situation
from dejavu_models.uncertainty.lattice.game import LatticeGame

HORIZONS = st.sampled_from(list(Horizon))
WIDENINGS = st.just(1.0) | st.floats(1.0, 1.5)


MARGIN = 0.5
"""Pregame margin of the requests, in points."""

WHOLE_NUMBERS = symmetric_calibration()
SITUATIONS = HORIZONS.flatmap(
    lambda horizon: st.builds(
        Situation, st.just(horizon), st.integers(1, horizon.last_slot), st.just(MarginSource.KNOWN)
    )
)


def asked(
    horizon: Horizon, market: Market, *, lead: float, **options: Any
) -> tuple[IssuedForecast, Market, MarketAnswer]:
    """Like `recorded`, from the distribution around a lead after 18 minutes."""
    game = WHOLE_NUMBERS.game(Situation(horizon, 18, MarginSource.KNOWN), lead, lead, 0.0)
    return recorded(game, horizon, market, point=lead, lead=lead, **options)


def recorded(
    game: LatticeGame,
    horizon: Horizon,
    market: Market,
    *,
    point: float,
    lead: float,
    factor: float | None = None,
    widening: float = 1.0,
    policy: StakingPolicy | None = None,
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
    own_line = is_own_market(market, MARGIN, final=horizon is Horizon.FINAL)
    answer = made.evaluate(market, horizon, policy or StakingPolicy(), unrated=own_line)
    draft = codec.prepare(replace(plain, pregame_margin=MARGIN, forecast=forecast))
    stored = codec.parse(codec.encode_entry(codec.FORECAST, draft.payload, 0, 1))
    _, market, answer = codec.parse_market(
        codec.encode_entry(codec.MARKET, codec.market_payload(1, market, answer), 0, 2)
    )
    return stored, market, answer


POINTS = round(steady_totals().tables(MarginSource.KNOWN, Horizon.FINAL, 3).game(14, 2.0, 231.0).point)
"""A total that is as likely to be exceeded as not."""


def test_an_answer_on_the_total_follows_from_the_total_of_its_forecast() -> None:
    def asked_about(above: float, expected: float | None) -> tuple[IssuedForecast, Market, MarketAnswer]:
        query = ForecastQuery(
            ScorePattern((1.0, 3.0, 2.0)),
            Horizon.FINAL,
            record=True,
            live=LiveInputs(14),
            markets=(Market(POINTS + above, 2.2, 1.75, kind=MarketKind.TOTAL),),
        )
        source = MarginSource.UNKNOWN if expected is None else MarginSource.KNOWN
        tables = steady_totals().tables(source, Horizon.FINAL, 3)
        total = forecast_total(tables, query, expected, lead_staked=0.018)
        plain = issued(pattern=(1.0, 3.0, 2.0), horizon=Horizon.FINAL)
        made = replace(plain, live=query.live, forecast=replace(plain.forecast, total=total, teams_known=()))
        stored = codec.parse(codec.encode_entry(codec.FORECAST, codec.prepare(made).payload, 0, 1))
        assert total.market is not None
        payload = codec.market_payload(1, query.markets[0], total.market)
        _, market, answer = codec.parse_market(codec.encode_entry(codec.MARKET, payload, 0, 2))
        return stored, market, answer

    forecast, market, answer = asked_about(0.5, 231.0)
    assert answer.lead_staked == 0.018
    assert fault_of(forecast, market, answer) is None
    assert fault_of(forecast, market, replace(answer, lead_staked=0.0)) is not None
    assert "does not follow from the forecast" in (fault_of(forecast, market, asked_about(4.5, 231.0)[2]) or "")
    assert fault_of(*asked_about(0.5, None)) is None
    assert "known too little" in (fault_of(asked_about(0.5, None)[0], market, answer) or "")
    assert fault_of(forecast, Market(90.5, 1.9, 2.0), answer) is not None
    bare = replace(forecast, forecast=replace(forecast.forecast, total=None))
    assert fault_of(bare, market, answer) == "the forecast has no total"


FACTORS = st.none() | st.floats(0.5, 2.0)
POLICIES = st.builds(
    StakingPolicy,
    model_share=st.floats(0.0, 1.0),
    kelly_fraction=st.floats(0.001, 1.0),
    game_cap=st.floats(0.001, 1.0),
    evening_cap=st.floats(0.001, 1.0),
    max_difference=st.sampled_from([0.0, 0.15, 1.0]),
)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    implied = draw(st.floats(0.05, 0.95))
    margin = draw(st.floats(-0.01, min(0.15, implied - 0.01)))
    return Market(
        line=draw(st.integers(-60, 60)) / 2,
        above_odds=1 / implied,
        below_odds=1 / (1 + margin - implied),
        bankroll=draw(st.sampled_from([10.0, 250.0])),
        game_staked=draw(st.floats(0.0, 0.2)),
        evening_staked=draw(st.floats(0.2, 0.5)),
        confidence_threshold=draw(st.none() | st.floats(0.0, 0.99)),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[IssuedForecast, Market, MarketAnswer]:
    situation, lead = draw(SITUATIONS), draw(st.integers(-30, 30))
    point = lead + draw(st.floats(-9, 9))
    game = WHOLE_NUMBERS.game(situation, point, lead, 2.0)
    options: dict[str, Any] = {"factor": draw(FACTORS), "widening": draw(WIDENINGS), "policy": draw(POLICIES)}
    return recorded(game, situation.horizon, draw(markets()), point=point, lead=lead, **options)


@settings(max_examples=examples(30), deadline=None)
@given(case=cases())
def test_an_answer_of_a_model_follows_from_the_forecast_it_was_given_with(
    case: tuple[IssuedForecast, Market, MarketAnswer],
) -> None:
    assert fault_of(*case) is None


def test_prices_that_do_not_belong_together_are_not_recorded() -> None:
    forecast, _, _ = asked(Horizon.FINAL, Market(0.0, 1.9, 1.9), lead=6.0)
    market = Market(0.0, 2.5, 2.6)
    answer = replace(evaluate_market(market, lambda _: 0.5), mismatched=False)  # as it would read back
    assert fault_of(forecast, market, answer, learned_since=True) is not None


def test_an_implausible_difference_cannot_be_hidden_nor_made_up() -> None:
    market = Market(0.0, 1.9, 1.9)
    for policy in (StakingPolicy(), StakingPolicy(max_difference=1.0)):
        forecast, _, answer = asked(Horizon.FINAL, market, lead=9.0, policy=policy)
        assert answer.implausible is (policy.max_difference < 1.0)
        assert fault_of(forecast, market, answer) is None
        assert fault_of(forecast, market, replace(answer, implausible=not answer.implausible)) is not None


def test_the_line_of_the_given_margin_has_no_stake() -> None:
    policy = StakingPolicy(max_difference=1.0)
    for line, horizon, refused in (
        (MARGIN, Horizon.FINAL, True),
        (MARGIN + 1.5, Horizon.FINAL, True),
        (MARGIN + 2.0, Horizon.FINAL, False),
        (MARGIN, Horizon.HALFTIME, True),
        (MARGIN + 4.5, Horizon.HALFTIME, False),
    ):
        forecast, market, answer = asked(horizon, Market(line, 1.9, 1.9), lead=9.0, policy=policy)
        assert (answer.stake == 0) is answer.unrated is refused
        assert fault_of(forecast, market, answer) is None
    forecast, market, staked = asked(Horizon.FINAL, Market(5.0, 1.9, 1.9), lead=9.0, policy=policy)
    fault = (
        "it would stake at about the line or price of the given margin, the forecast's only information about the teams"
    )
    assert fault_of(replace(forecast, pregame_margin=4.0), market, staked) == fault


def test_that_ratings_were_not_used_cannot_be_hidden_nor_made_up() -> None:
    market = Market(0.0, 1.6, 2.5)
    policy = StakingPolicy(max_difference=1.0)
    forecast, _, staked = asked(Horizon.FINAL, market, lead=9.0, policy=policy)
    assert staked.stake > 0
    rated = replace(forecast.forecast, ratings_date=date(2023, 6, 12), expected_margin=1.5)
    unrated = replace(forecast, forecast=replace(rated, expected_margin=None))
    refused = replace(staked, unrated=True)
    assert fault_of(unrated, market, refused) is not None  # with its stake
    refused = replace(
        refused,
        side=None,
        stake=0.0,
        risk_level=RiskLevel.LOW,
        **{
            side: replace(getattr(staked, side), kelly_fraction=0.0, stake_fraction=0.0, stake=0.0)
            for side in ("above", "below")
        },
        confidence_met=max(staked.above.win_probability, staked.below.win_probability) >= staked.confidence_threshold,
    )
    assert fault_of(unrated, market, refused) is None
    assert fault_of(unrated, market, replace(refused, unrated=False)) is not None
    assert fault_of(unrated, market, staked) is not None
    # Without ratings, too: the request named no teams, and gave no margin.
    nameless = replace(unrated, pregame_margin=None, forecast=replace(unrated.forecast, ratings_date=None))
    assert fault_of(nameless, market, refused) is None
    assert fault_of(nameless, market, staked) is not None
    known = replace(forecast, forecast=rated)
    fault = "it treats the teams as known too little, but by the forecast they are known"
    assert fault_of(known, market, refused) == fault
    # If the ratings of a hardly known team are used, there is no stake either.
    for deviation, right, wrong in ((DECEMBER_DEVIATION, staked, refused), (2.56, refused, staked)):
        teams = (TeamKnowledge(2.0, 25), TeamKnowledge(deviation, 18, date(2026, 6, 15)))
        known = replace(forecast, forecast=replace(rated, teams_known=teams))
        assert fault_of(known, market, right) is None
        assert fault_of(known, market, wrong) is not None


@pytest.mark.parametrize("horizon", list(Horizon))
@pytest.mark.parametrize("factor", [None, 1.3])
@pytest.mark.parametrize("line", [-6.5, 0.0, 4.0])
def test_an_answer_does_not_follow_from_the_forecast_of_a_game_that_stands_otherwise(
    horizon: Horizon, factor: float | None, line: float
) -> None:
    market = Market(line, 1.9, 2.0)
    close = asked(horizon, market, lead=1.0, factor=factor)
    ahead = asked(horizon, market, lead=9.0, factor=factor)
    assert (fault_of(*close), fault_of(*ahead)) == (None, None)
    for forecast, answer in ((close[0], ahead[2]), (ahead[0], close[2])):
        assert "does not follow from the forecast" in (fault_of(forecast, market, answer) or "")


def test_a_forecast_without_quantiles_still_bounds_an_answer_by_who_leads() -> None:
    market = Market(3.5, 1.9, 2.0)
    forecast, _, answer = asked(Horizon.FINAL, market, lead=6.0)
    bare = replace(forecast, forecast=replace(forecast.forecast, distribution=(), explanation=None))
    assert fault_of(bare, market, answer) is None
    behind = replace(bare, forecast=replace(bare.forecast, home_lead_probability=0.2))
    assert "expected 0.0000 to 0.2000" in (fault_of(behind, market, answer) or "")


@pytest.mark.parametrize(("difference", "follows"), [(5e-8, True), (-5e-8, True), (1e-5, False)])
def test_a_probability_told_twice_may_differ_by_lost_digits(difference: float, follows: bool) -> None:
    """At leads that no game has, it did, and one such forecast with odds failed every verification of its ledger."""
    issued, market, answer = asked(Horizon.FINAL, Market(0.0, 1.9, 1.9), lead=6.0)
    told = issued.forecast.home_lead_probability + difference
    moved = replace(issued, forecast=replace(issued.forecast, home_lead_probability=told))
    assert (fault_of(moved, market, answer) is None) is follows
