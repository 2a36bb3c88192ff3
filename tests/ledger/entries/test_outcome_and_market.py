"""Canonical forms of outcomes and markets: they round-trip exactly, and every character is fixed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.outcomes import MARKET, answered, outcome

from dejavu_ledger.entries import canonical_json, codec
from dejavu_ledger.records import ReportedOutcome
from dejavu_models.betting import (
    Market,
    MarketAnswer,
    MarketSide,
    MarketSideAnswer,
    RiskLevel,
    StakingPolicy,
    american_to_decimal,
)
from dejavu_models.types import Horizon

law = settings(deadline=None)  # a busy machine is no counterexample

finite = st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0))
outcomes = st.builds(
    ReportedOutcome,
    game_id=st.from_regex(r"[0-9]{10}", fullmatch=True),
    horizon=st.sampled_from(Horizon),
    differential=st.integers(-200, 200).filter(bool),
    home_team=st.text(max_size=32),
    away_team=st.text(max_size=32),
    observed_time=moments,
    recorded_time=moments,
    sequence=st.integers(1, 2**63 - 1),
    revision=st.integers(0, 2**31 - 1),
    overtimes=st.none() | st.integers(0, 20),
    total_points=st.none() | st.integers(0, 500),
    withdrawn=st.booleans(),
)
odds = st.floats(1, 1000, exclude_min=True)
shares = st.floats(0, 1)


def _market(line: int, bankroll: float, staked: tuple[float, float], **fields: Any) -> Market:
    on_game, on_evening = sorted(share * bankroll for share in staked)
    return Market(line=line / 2, bankroll=bankroll, game_staked=on_game, evening_staked=on_evening, **fields)


decimal_markets = st.builds(
    _market,
    line=st.integers(-200, 200),
    bankroll=st.floats(0, exclude_min=True, allow_infinity=False),
    staked=st.tuples(shares, shares),
    above_odds=odds,
    below_odds=odds,
    confidence_threshold=st.none() | st.floats(0, 1, exclude_max=True),
)
american = st.integers(100, 99_900) | st.integers(-(2**31), -100)
american_markets = st.builds(
    lambda market, price: replace(market, above_odds=american_to_decimal(price), above_american=price),
    decimal_markets,
    american,
)
market_asked = decimal_markets | american_markets
sides = st.builds(MarketSideAnswer, *[finite] * 9)
policies = st.builds(
    StakingPolicy,
    model_share=shares,
    kelly_fraction=shares,
    game_cap=shares,
    evening_cap=shares,
    confidence_threshold=st.floats(0, 1, exclude_max=True),
    max_difference=shares,
)
answers = st.builds(
    MarketAnswer,
    above=sides,
    below=sides,
    push_probability=finite,
    overround=finite,
    side=st.none() | st.sampled_from(MarketSide),
    stake=finite,
    risk_level=st.sampled_from(RiskLevel),
    confidence_met=st.booleans(),
    policy=policies,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def written(told: ReportedOutcome) -> str:
    return codec.encode_entry(codec.OUTCOME, codec.outcome_payload(told), told.revision, told.sequence)


@law
@given(outcomes)
def test_an_outcome_reads_back_exactly(told: ReportedOutcome) -> None:
    back = codec.parse_outcome(written(told))
    assert repr(back) == repr(told)
    assert written(back) == written(told)
    assert ("total_points" in json.loads(written(told))["payload"]) is (told.total_points is not None)


@law
@given(st.integers(1, 2**63 - 1), market_asked, answers)
def test_a_market_reads_back_exactly(place: int, market: Market, answer: MarketAnswer) -> None:
    form = codec.encode_entry(codec.MARKET, codec.market_payload(place, market, answer), 0, place + 1)
    back = codec.parse_market(form)
    assert repr(back) == repr((place, market, answer))
    assert form == json.dumps(json.loads(form), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_the_form_of_an_outcome_is_what_it_is() -> None:
    told = outcome(-3, horizon=Horizon.FINAL, observed_time=NOW, recorded_time=NOW + timedelta(seconds=1))
    assert written(replace(told, sequence=9, revision=1)) == (
        '{"kind":"outcome","payload":{"away_team":"GSW","differential":-3,"game_id":"0022300001","home_team":"BKN",'
        '"horizon":"final","observed_us":1767323045678901,"recorded_us":1767323046678901},"revision":1,"sequence":9}'
    )


def test_the_form_of_a_market_is_what_it_is() -> None:
    payload = codec.market_payload(7, MARKET, answered(MarketSide.HOME, stake_fraction=0.02))
    assert payload == (
        '{"answer":{"above":{"decimal_odds":1.9,"expected_value":0.14,"fair_probability":0.56,'
        '"implied_probability":0.5263157894736842,"kelly_fraction":0.15,"stake":2.0,"stake_fraction":0.02,'
        '"staking_probability":0.6,"win_probability":0.64},"below":{"decimal_odds":1.95,"expected_value":-0.22,'
        '"fair_probability":0.44,"implied_probability":0.5128205128205129,"kelly_fraction":0.0,"stake":0.0,'
        '"stake_fraction":0.0,"staking_probability":0.4,"win_probability":0.36},"confidence_met":true,'
        '"overround":0.03913630229419707,"policy":{"confidence_threshold":0.55,"evening_cap":0.05,"game_cap":0.02,'
        '"kelly_fraction":0.25,"max_difference":0.15,"model_share":0.5},"push_probability":0.0,"risk_level":"moderate",'
        '"side":"home","stake":2.0},"forecast_sequence":7,"market":{"above_odds":1.9,"bankroll":100.0,'
        '"below_odds":1.95,"confidence_threshold":null,"evening_staked":0.0,"game_staked":0.0,"kind":"lead",'
        '"line":-2.5}}'
    )


def market_form(**odds: object) -> str:
    """Return the entry of a market whose odds are changed."""
    form = json.loads(codec.encode_entry(codec.MARKET, codec.market_payload(7, MARKET, answered(None)), 0, 8))
    form["payload"]["market"].update(odds)
    return canonical_json.dumps(form)


def test_american_odds_are_written_beside_the_decimal_ones_that_earlier_entries_have_alone() -> None:
    assert "american" not in market_form()  # entries with decimal odds have the form that they always had
    _, market, _ = codec.parse_market(market_form(above_odds=1 + 10 / 11, above_american=-110))
    assert (market.above_american, market.below_american, market.below_odds) == (-110, None, 1.95)
    assert '"above_american":-110' in codec.market_payload(7, market, answered(None))


@pytest.mark.parametrize("american", [-120, 110, 50, -110.0, True, "-110"])
def test_american_odds_that_are_not_those_that_were_weighed_are_not_read(american: object) -> None:
    with pytest.raises(ValueError):
        codec.parse_market(market_form(above_odds=1 + 10 / 11, above_american=american))


@pytest.mark.parametrize(
    "unfit",
    [
        outcome(3, ""),
        outcome(0, horizon=Horizon.FINAL),
        outcome(3, home_team="\ud800"),
        outcome(3, observed_time=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    ],
    ids=["no game", "level at the end", "not Unicode", "not UTC"],
)
def test_an_outcome_without_a_canonical_form_is_refused(unfit: ReportedOutcome) -> None:
    with pytest.raises(ValueError):
        codec.outcome_payload(unfit)


def test_a_half_may_end_level() -> None:
    assert codec.parse_outcome(written(outcome(0))).differential == 0


def test_an_answer_with_nan_is_refused() -> None:
    with pytest.raises(ValueError):
        codec.market_payload(1, MARKET, replace(answered(None), overround=math.nan))


@pytest.mark.parametrize("form", ["", "{}", "[]", '{"kind":"forecast"}', '{"kind":"outcome","payload":{}}'])
def test_what_is_of_another_kind_is_not_read(form: str) -> None:
    with pytest.raises(ValueError):
        codec.parse_outcome(form)
    with pytest.raises(ValueError):
        codec.parse_market(form)
