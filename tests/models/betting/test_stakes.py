"""A stake counts on part of what the model holds against the market, and keeps the caps of a game and of an evening."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.models.betting.markets import (
    ANY_EDGE,
    DISTRIBUTIONS,
    LINES,
    POLICIES,
    SHARES,
    AtLeast,
    fair,
    three,
    triples,
)

from dejavu_models.betting import DEFAULT_POLICY, Market, StakingPolicy, TotalMarket, evaluate_market
from dejavu_models.errors import InvalidMarket


@pytest.mark.parametrize(
    ("staked", "field", "expected"),
    [
        ({"game_staked": -1.0}, "game_staked", "a number from 0 to the bankroll, 100"),
        ({"game_staked": math.nan}, "game_staked", "a number from 0 to the bankroll, 100"),
        ({"game_staked": 101.0, "evening_staked": 101.0}, "game_staked", "a number from 0 to the bankroll, 100"),
        ({"evening_staked": 101.0}, "evening_staked", "a number from game_staked, 0, to the bankroll, 100"),
        ({"evening_staked": math.inf}, "evening_staked", "a number from game_staked, 0, to the bankroll, 100"),
        (
            {"game_staked": 20.0, "evening_staked": 10.0},
            "evening_staked",
            "a number from game_staked, 20, to the bankroll, 100",
        ),
    ],
)
def test_what_is_staked_already_is_part_of_the_bankroll(staked: dict[str, float], field: str, expected: str) -> None:
    for name, made in (("market", Market), ("total_market", TotalMarket)):
        with pytest.raises(InvalidMarket) as refused:
            made(5.0, 2.0, 2.0, 100.0, **staked)  # type: ignore[arg-type]
        assert (refused.value.field, refused.value.expected) == (f"{name}.{field}", expected)


def test_a_stake_counts_on_half_of_what_the_model_knows_better() -> None:
    """The model says 60 %, the market 50 %: staked by 55 %, at 1.95 a Kelly fraction of 7.6 %, of which a quarter."""
    answer = evaluate_market(Market(0.0, 1.95, 1.95, bankroll=1000.0), three(0.6, 0.0), StakingPolicy())
    assert (answer.home.win_probability, answer.home.fair_probability) == (0.6, 0.5)
    assert answer.home.staking_probability == pytest.approx(0.55)
    assert answer.away.staking_probability == pytest.approx(0.45)
    assert answer.home.expected_value == pytest.approx(0.55 * 1.95 - 1)
    assert answer.home.kelly_fraction == pytest.approx(0.0725 / 0.95)
    assert answer.stake == pytest.approx(1000 * 0.0725 / 0.95 / 4)


@given(st.floats(1.01, 100), triples(), POLICIES, st.floats(0.0, 0.15))
def test_the_market_s_own_probability_stakes_nothing_at_the_market_s_price(
    odds: float, triple: tuple[float, float], policy: StakingPolicy, margin: float
) -> None:
    implied = (1 + margin) / odds, (1 + margin) * (1 - 1 / odds)
    assume(max(implied) < 0.999)
    market = Market(0.0, 1 / implied[0], 1 / implied[1])
    answer = evaluate_market(market, three(*triple), replace(policy, model_share=0.0))
    assert (answer.side, answer.home.stake_fraction, answer.away.stake_fraction) == (None, 0.0, 0.0)


@st.composite
def staked(draw: st.DrawFn) -> tuple[float, float]:
    """Draws shares of a bankroll that are staked on a game and on its evening."""
    low, high = sorted((draw(SHARES), draw(SHARES)))
    return low, high


@given(LINES, st.floats(1.05, 20), st.floats(-0.01, 0.15), DISTRIBUTIONS, POLICIES, st.floats(0.01, 1e9), staked())
def test_no_stake_exceeds_what_is_left_of_the_caps_of_a_game_and_an_evening(
    line: float,
    odds: float,
    margin: float,
    at_least: AtLeast,
    policy: StakingPolicy,
    bankroll: float,
    before: tuple[float, float],
) -> None:
    away = 1 / (1 + margin - 1 / odds)
    assume(1 < away <= 1000)
    on_game, on_evening = (share * bankroll for share in before)
    market = Market(line, odds, away, bankroll, game_staked=on_game, evening_staked=on_evening)
    answer = evaluate_market(market, at_least, policy)
    for side in (answer.home, answer.away):
        assert side.stake_fraction <= max(0.0, policy.game_cap - before[0]) + 1e-12
        assert side.stake_fraction <= max(0.0, policy.evening_cap - before[1]) + 1e-12
    unbound = evaluate_market(Market(line, odds, away, bankroll), at_least, policy)
    assert answer.stake <= unbound.stake * (1 + 1e-12)


@given(st.floats(1.1, 20), triples(), SHARES, SHARES)
def test_the_more_the_model_counts_the_more_is_staked_on_what_it_holds_likelier(
    odds: float, triple: tuple[float, float], one: float, other: float
) -> None:
    less, more = sorted((one, other))
    low, high = (
        evaluate_market(fair(odds), three(*triple), replace(ANY_EDGE, model_share=share)) for share in (less, more)
    )
    for name in ("home", "away"):
        cautious, bold = getattr(low, name), getattr(high, name)
        assert cautious.stake_fraction <= bold.stake_fraction + 1e-12
        ends = sorted((bold.fair_probability, bold.win_probability))
        assert ends[0] - 1e-12 <= bold.staking_probability <= ends[1] + 1e-12


def test_bets_of_an_evening_that_state_what_is_staked_keep_its_caps() -> None:
    """Of games at 2 % each the third has what is left of 5 %, and a second bet on a game nothing."""
    stakes: list[float] = []
    for _ in range(4):
        market = Market(0.0, 2.0, 2.0, bankroll=1000.0, evening_staked=sum(stakes))
        stakes.append(evaluate_market(market, three(0.65, 0.0), replace(DEFAULT_POLICY, kelly_fraction=1.0)).stake)
    assert stakes == pytest.approx([20.0, 20.0, 10.0, 0.0])
    again = Market(0.0, 2.0, 2.0, bankroll=1000.0, game_staked=20.0, evening_staked=20.0)
    assert evaluate_market(again, three(0.65, 0.0)).side is None
