"""Value and stake of a bet: bounds, caps, and reasons for no stake."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.support.builders.markets import markets
from tests.support.harness.present import present

from dejavu_feed.horizon import Horizon
from dejavu_models.betting import (
    DEFAULT_POLICY,
    Market,
    MarketKind,
    MarketSide,
    RiskLevel,
    StakingPolicy,
    american_to_decimal,
    evaluate_market,
    is_own_market,
    risk_of,
)

WEIGHTS = st.dictionaries(st.integers(-60, 60), st.integers(1, 100), min_size=1, max_size=12)
"""Discrete distributions of the differential."""

MODEL_ALONE = StakingPolicy(model_share=1.0, game_cap=0.05, evening_cap=1.0)
ANY_EDGE = replace(MODEL_ALONE, max_difference=1.0)


def steps(weights: dict[int, int]) -> Callable[[int], float]:
    """Return k → P(differential ≥ k) for a discrete distribution with these weights."""
    whole = sum(weights.values())
    return lambda k: sum(weight for value, weight in weights.items() if value >= k) / whole


def three(home: float, push: float = 0.0) -> Callable[[int], float]:
    """Return k → P(differential ≥ k) with these probabilities of a home win and of a push at line 0."""
    return lambda k: home if k >= 1 else home + push if k == 0 else 1.0


@pytest.mark.parametrize(
    ("american", "decimal"), [(100, 2.0), (-100, 2.0), (150, 2.5), (-200, 1.5), (-110, 1 + 10 / 11), (99_900, 1000.0)]
)
def test_american_odds_are_decimal_ones_in_other_words(american: int, decimal: float) -> None:
    assert american_to_decimal(american) == pytest.approx(decimal, rel=1e-15)


def test_a_stake_is_a_part_of_kellys_fraction_between_the_market_and_the_model() -> None:
    """Worked out by hand, first at even money by the model alone: 60 % have 0.2 (Thorp 2006, section 2).

    Then of model 60 %, market 50 %: 55 % at 1.95 have 0.0725 / 0.95; a quarter is staked, or up to the cap.
    """
    market = Market(0.0, 2.0, 1.9, bankroll=1000.0, policy=MODEL_ALONE)
    answer = evaluate_market(market, three(0.6))
    assert (answer.above.expected_value, answer.above.kelly_fraction) == pytest.approx((0.2, 0.2))
    assert (answer.below.expected_value, answer.below.kelly_fraction) == pytest.approx((-0.24, 0.0))
    assert answer.side is MarketSide.HOME
    assert answer.overround == pytest.approx(1 / 2 + 1 / 1.9 - 1)
    assert answer.stake == answer.above.stake == pytest.approx(50)
    answer = evaluate_market(replace(market, above_odds=1.95, below_odds=1.95, policy=DEFAULT_POLICY), three(0.6))
    assert (answer.above.win_probability, answer.above.fair_probability) == (0.6, 0.5)
    assert (answer.above.staking_probability, answer.below.staking_probability) == pytest.approx((0.55, 0.45))
    assert answer.above.expected_value == pytest.approx(0.55 * 1.95 - 1)
    assert answer.above.kelly_fraction == pytest.approx(0.0725 / 0.95)
    assert answer.stake == pytest.approx(1000 * 0.0725 / 0.95 / 4)


@pytest.mark.parametrize(
    ("line", "win", "push"),
    [(5.5, 0.5, 0.0), (5.0, 0.5, 0.25), (4.5, 0.75, 0.0), (6.0, 0.5, 0.0), (-2.0, 0.75, 0.25), (-2.5, 1.0, 0.0)],
)
def test_a_whole_line_is_pushed_and_a_half_one_never(line: float, win: float, push: float) -> None:
    answer = evaluate_market(Market(line, 2.0, 2.0), steps({7: 2, 5: 1, -2: 1}))
    assert (answer.above.win_probability, answer.push_probability) == (win, push)
    assert answer.below.win_probability == 1 - win - push


@pytest.mark.parametrize(
    ("odds", "wins", "threshold", "met"),
    [
        pytest.param((3.0, 1.3), 0.5, 0.5, True, id="bet"),
        pytest.param((3.0, 1.3), 0.5, 0.6, False, id="bet that is not likely enough"),
        pytest.param((1.1, 1.1), 0.2, 0.75, True, id="no bet: of the likelier side"),
    ],
)
def test_confidence_is_told_and_changes_no_stake(
    odds: tuple[float, float], wins: float, threshold: float, met: bool
) -> None:
    market = Market(0.0, *odds, policy=replace(ANY_EDGE, confidence_threshold=threshold))
    answer = evaluate_market(market, three(wins))
    assert answer.confidence_met is met
    assert answer.stake == evaluate_market(replace(market, policy=ANY_EDGE), three(wins)).stake


def test_risk_grows_with_the_stake_and_with_the_chance_to_lose_it() -> None:
    assert [risk_of(0.02, loss) for loss in (0.2, 0.3, 0.6, 1.0)] == list(RiskLevel)
    assert [risk_of(stake, 0.5) for stake in (0.0, 0.01, 0.02, 0.04)] == list(RiskLevel)


@given(markets(), WEIGHTS)
def test_every_answer_keeps_its_bounds_and_the_caps_of_a_game_and_an_evening(
    market: Market, weights: dict[int, int]
) -> None:
    answer, policy = evaluate_market(market, steps(weights)), market.policy
    room = min(
        policy.game_cap - market.game_staked / market.bankroll,
        policy.evening_cap - market.evening_staked / market.bankroll,
    )
    refused = answer.implausible or answer.mismatched
    for side in (answer.above, answer.below):
        assert side.decimal_odds is not None
        assert side.expected_value is not None
        low, high = sorted((present(side.fair_probability), side.win_probability))
        assert low - 1e-12 <= side.staking_probability <= high + 1e-12
        assert 0 <= side.win_probability <= 1
        assert side.implied_probability == 1 / side.decimal_odds
        assert -1 - 1e-12 <= side.expected_value <= side.decimal_odds - 1 + 1e-9
        assert 0 <= side.kelly_fraction <= 1
        assert side.stake_fraction <= side.kelly_fraction * policy.kelly_fraction + 1e-15
        assert side.stake_fraction <= max(0.0, room) + 1e-12
        assert 0 <= side.stake == side.stake_fraction * market.bankroll
        assert (side.kelly_fraction > 0) == (side.expected_value > 1e-9 and not refused)
    chosen = answer.chosen
    assert answer.stake == (chosen.stake if chosen else 0)
    if chosen:
        assert chosen.expected_value == max(answer.above.expected_value or 0, answer.below.expected_value or 0) > 0
        assert policy.model_share > 0 or (answer.overround or 0) < 0, "the market's own probability is worth nothing"
    total = answer.above.win_probability + answer.below.win_probability + answer.push_probability
    assert total == pytest.approx(1)


@given(markets(), WEIGHTS)
def test_home_and_away_are_treated_alike(market: Market, weights: dict[int, int]) -> None:
    mirrored = replace(market, line=-market.line, above_odds=market.below_odds, below_odds=market.above_odds)
    there = evaluate_market(market, steps(weights))
    back = evaluate_market(mirrored, steps({-value: weight for value, weight in weights.items()}))
    for one, other in ((there.above, back.below), (there.below, back.above)):
        assert one.win_probability == pytest.approx(other.win_probability, abs=1e-12)
        assert one.expected_value == pytest.approx(other.expected_value, abs=1e-9)
        assert one.stake_fraction == pytest.approx(other.stake_fraction, abs=1e-9)


EVEN, BOOK = american_to_decimal(-110), american_to_decimal(-250)


@pytest.mark.parametrize(
    ("odds", "wins", "policy", "reason"),
    [
        ((2.0, 2.0), 0.65, MODEL_ALONE, None),
        ((2.0, 2.0), 0.651, MODEL_ALONE, "implausible"),
        ((1.91, 1.91), 0.65, MODEL_ALONE, None),  # the margin of the odds is not part of the edge
        ((1.91, 1.91), 0.651, MODEL_ALONE, "implausible"),
        ((EVEN, EVEN), 0.7, ANY_EDGE, None),  # a margin of 4.8 %
        ((BOOK, 2.10), 0.75, ANY_EDGE, "mismatched"),  # 19 %
        ((BOOK, 1000.0), 0.75, ANY_EDGE, "mismatched"),  # −28.5 %
        ((1 / 0.576, 1 / 0.576), 0.7, MODEL_ALONE, "mismatched"),
        ((1 / 0.494, 1 / 0.494), 0.7, ANY_EDGE, "mismatched"),
        ((2.0, 2.0), 0.55, MODEL_ALONE, "unrated"),
        ((2.0, 2.0), 0.55, MODEL_ALONE, "traded"),
    ],
)
def test_a_market_that_is_not_weighed_has_no_stake_and_its_figures(
    odds: tuple[float, float], wins: float, policy: StakingPolicy, reason: str | None
) -> None:
    traded = datetime(2026, 1, 14, tzinfo=UTC) if reason == "traded" else None
    market = Market(0.0, *odds, bankroll=1000.0, policy=policy, traded_time=traded)
    answer = evaluate_market(market, three(wins), unrated=reason == "unrated")
    said = {name for name in ("implausible", "mismatched", "unrated") if getattr(answer, name)}
    assert said == {reason} - {None, "traded"}
    if reason is None:
        assert answer == evaluate_market(replace(market, policy=ANY_EDGE), three(wins))
        assert answer.stake > 0
    else:
        assert (answer.side, answer.stake, answer.risk_level) == (None, 0.0, RiskLevel.LOW)
        assert answer.above.expected_value == pytest.approx(wins * odds[0] - 1)
        assert (answer.above.kelly_fraction, answer.above.stake, answer.below.stake) == (0.0, 0.0, 0.0)
        assert traded or answer.minimum_odds(answer.above) is answer.minimum_odds(answer.below) is None


@given(markets(), WEIGHTS)
def test_odds_are_worth_taking_above_the_smallest_and_not_below(market: Market, weights: dict[int, int]) -> None:
    """With the same opinion of the market; without prices, in the model's own."""
    answer = evaluate_market(market, steps(weights))
    alone = evaluate_market(replace(market, above_odds=None, below_odds=None), steps(weights))
    decided = 1 - answer.push_probability
    for side, unpriced in ((answer.above, alone.above), (answer.below, alone.below)):
        assert (unpriced.win_probability, unpriced.staking_probability) == (side.win_probability,) * 2
        assert (unpriced.fair_probability, unpriced.expected_value, unpriced.stake) == (None, None, 0.0)
        if (least := alone.minimum_odds(unpriced)) is not None:
            assert least * unpriced.win_probability == pytest.approx(decided)
        if (least := answer.minimum_odds(side)) is not None:
            assert (present(side.expected_value) > 1e-9) <= (present(side.decimal_odds) > least)
    assert (alone.side, alone.overround, alone.implausible, alone.mismatched) == (None, None, False, False)


@pytest.mark.parametrize(
    ("final", "given", "priced", "own"),
    [
        *((True, 5.5, (5.5 + off, 1.5, 2.9), abs(off) < 2) for off in (-2, -1.5, 0, 1.5, 2)),
        (True, 5.5, (0, -220, 180), True),  # the moneyline of that spread
        (True, 5.5, (0, -450, 350), False),  # as a lead makes it
        (True, 8.5, (5.5, 1.65, 2.35), True),  # an alternate spread
        (True, 8.5, (5.5, 1.91, 1.91), False),
        (False, 5.5, (3.0, -110, -110), True),  # the half of a spread of 5.5
        (False, 5.5, (0, -400, 320), False),  # as a lead makes it
        (True, None, (0, -110, -110), False),  # none was given
        *((True, 221.5, (221.5 + off, 1.55, 2.6), abs(off) < 2) for off in (-2, -1.5, 0, 1.5, 2)),
        (True, 221.5, (227.5, 140, -165), True),  # an alternate line of before tip-off
        (True, 221.5, (227.5, -110, -110), False),
        (False, 221.5, (118.5, -110, -110), False),
    ],
)
def test_a_market_at_about_the_line_or_price_that_a_given_line_implies_repeats_it(
    final: bool, given: float | None, priced: tuple[float, float, float], own: bool
) -> None:
    """The price can be from before tip-off, whatever its line is. Whole odds are American ones."""
    line, *odds = priced
    decimal = (american_to_decimal(each) if isinstance(each, int) else each for each in odds)
    kind = MarketKind.TOTAL if line > 100 else MarketKind.LEAD
    assert is_own_market(Market(line, *decimal, kind=kind), given, Horizon.FINAL if final else Horizon.HALFTIME) is own


@given(st.floats(1.1, 20), st.integers(0, 1000), st.integers(0, 1000))
def test_no_other_share_of_a_bankroll_makes_it_grow_faster_than_kelly_s(odds: float, one: int, other: int) -> None:
    """Of bets with pushes, too; the probabilities are in thousandths, to limit rounding errors of sums."""
    wins, loses = min(one, other) / 1000, 1 - max(one, other) / 1000
    assume(loses > 0.001)
    market = Market(0.0, odds, odds / (odds - 1), policy=ANY_EDGE)  # without a margin
    kelly = evaluate_market(market, three(wins, abs(one - other) / 1000)).above.kelly_fraction

    def growth(share: float) -> float:
        return wins * math.log1p((odds - 1) * share) + loses * math.log1p(-share)

    assert kelly < 1
    for share in (0.0, kelly / 2, (kelly + 1) / 2, min(kelly + 0.01, 0.999), max(kelly - 0.01, 0.0)):
        assert growth(kelly) >= growth(share) - 1e-12
