"""Value and stake of a bet: bounds, caps, and reasons for no stake."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dejavu_models.betting import (
    DEFAULT_POLICY,
    Market,
    MarketAnswer,
    MarketKind,
    MarketSide,
    RiskLevel,
    StakingPolicy,
    american_to_decimal,
    evaluate_market,
    is_own_market,
    risk_of,
)

LINES = st.integers(-200, 200).map(lambda halves: halves / 2)
ODDS = st.floats(1.01, 1000)
SHARES = st.floats(0, 1)
POLICIES = st.builds(
    StakingPolicy,
    model_share=SHARES,
    kelly_fraction=SHARES,
    game_cap=SHARES,
    evening_cap=SHARES,
    confidence_threshold=st.floats(0, 1, exclude_max=True),
    max_difference=st.sampled_from([0.15, 1.0]),
)
MODEL_ALONE = StakingPolicy(model_share=1.0, game_cap=0.05, evening_cap=1.0)
ANY_EDGE = replace(MODEL_ALONE, max_difference=1.0)
AtLeast = Callable[[int], float]


def steps(weights: dict[int, int]) -> AtLeast:
    """Return k → P(differential ≥ k) for a discrete distribution with these weights."""
    whole = sum(weights.values())
    return lambda k: sum(weight for value, weight in weights.items() if value >= k) / whole


DISTRIBUTIONS = st.dictionaries(st.integers(-60, 60), st.integers(1, 100), min_size=1, max_size=12).map(steps)


def three(home: float, push: float) -> AtLeast:
    """Return k → P(differential ≥ k) with these probabilities of a home win and of a push at line 0."""
    return lambda k: home if k >= 1 else home + push if k == 0 else 1.0


@st.composite
def triples(draw: st.DrawFn) -> tuple[float, float]:
    """Draw probabilities of a home win and of a push, in thousandths to limit rounding errors of sums."""
    home = draw(st.integers(0, 1000))
    return home / 1000, draw(st.integers(0, 1000 - home)) / 1000


def fair(odds: float) -> Market:
    """Return a market at line 0 whose prices have no margin."""
    return Market(0.0, odds, odds / (odds - 1))


def mirrored(market: Market) -> Market:
    return replace(market, line=-market.line, above_odds=market.below_odds, below_odds=market.above_odds)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize("field", [each.name for each in fields(StakingPolicy)])
def test_a_policy_stakes_no_less_than_nothing_and_no_more_than_all(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{field}: {value}; expected "):
        replace(DEFAULT_POLICY, **{field: value})


@pytest.mark.parametrize(
    ("american", "decimal"), [(100, 2.0), (-100, 2.0), (150, 2.5), (-200, 1.5), (-110, 1 + 10 / 11), (99_900, 1000.0)]
)
def test_american_odds_are_decimal_ones_in_other_words(american: int, decimal: float) -> None:
    assert american_to_decimal(american) == pytest.approx(decimal, rel=1e-15)


def test_a_stake_is_a_part_of_kellys_fraction_between_the_market_and_the_model() -> None:
    """Worked out by hand, first at even money by the model alone: 60 % have 0.2 (Thorp 2006, section 2).

    Then of model 60 %, market 50 %: 55 % at 1.95 have 0.0725 / 0.95; a quarter is staked, or up to the cap.
    """
    market = Market(0.0, 2.0, 1.9, bankroll=1000.0)
    answer = evaluate_market(market, three(0.6, 0.0), MODEL_ALONE)
    assert (answer.above.expected_value, answer.above.kelly_fraction) == pytest.approx((0.2, 0.2))
    assert (answer.side, answer.confidence_met, answer.confidence_threshold) == (MarketSide.HOME, True, 0.55)
    assert answer.stake == answer.above.stake == pytest.approx(50)
    assert (answer.below.expected_value, answer.below.kelly_fraction) == (pytest.approx(-0.24), 0.0)
    assert answer.overround == pytest.approx(1 / 2 + 1 / 1.9 - 1)
    answer = evaluate_market(replace(market, above_odds=1.95, below_odds=1.95), three(0.6, 0.0), StakingPolicy())
    assert (answer.above.win_probability, answer.above.fair_probability) == (0.6, 0.5)
    assert (answer.above.staking_probability, answer.below.staking_probability) == pytest.approx((0.55, 0.45))
    assert answer.above.expected_value == pytest.approx(0.55 * 1.95 - 1)
    assert answer.above.kelly_fraction == pytest.approx(0.0725 / 0.95)
    assert answer.stake == pytest.approx(1000 * 0.0725 / 0.95 / 4)


def test_with_pushes_only_what_is_decided_counts_for_kelly() -> None:
    """Half of all bets are pushed: the others win at the same rate as without pushes and get the same stake."""
    with_pushes = evaluate_market(Market(3.0, 2.1, 1.8), lambda k: {3: 0.8, 4: 0.3}[k])
    without = evaluate_market(Market(3.5, 2.1, 1.8), lambda _: 0.6)
    assert with_pushes.push_probability == pytest.approx(0.5)
    assert with_pushes.above.kelly_fraction == pytest.approx(without.above.kelly_fraction)
    assert with_pushes.above.expected_value == pytest.approx(without.above.expected_value / 2)


@pytest.mark.parametrize(
    ("line", "win", "push"),
    [(5.5, 0.5, 0.0), (5.0, 0.5, 0.25), (4.5, 0.75, 0.0), (6.0, 0.5, 0.0), (-2.0, 0.75, 0.25), (-2.5, 1.0, 0.0)],
)
def test_a_whole_line_is_pushed_and_a_half_one_never(line: float, win: float, push: float) -> None:
    answer = evaluate_market(Market(line, 2.0, 2.0), steps({7: 2, 5: 1, -2: 1}))
    assert (answer.above.win_probability, answer.push_probability) == (win, push)
    assert answer.below.win_probability == 1 - win - push


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.6])
def test_a_bet_that_is_not_likely_enough_is_still_told_its_stake(threshold: float) -> None:
    market = Market(0.0, 3.0, 1.3, confidence_threshold=threshold)
    answer = evaluate_market(market, three(0.5, 0.0), ANY_EDGE)
    assert (answer.side, answer.stake > 0) == (MarketSide.HOME, True)
    assert answer.confidence_met is (threshold <= 0.5)
    assert answer.confidence_threshold == threshold


def test_without_a_stake_confidence_is_that_in_the_likelier_side() -> None:
    answer = evaluate_market(Market(0.0, 1.1, 1.1), three(0.2, 0.1), replace(DEFAULT_POLICY, confidence_threshold=0.7))
    assert (answer.side, answer.stake, answer.risk_level) == (None, 0.0, RiskLevel.LOW)
    assert answer.confidence_met


def test_of_two_sides_that_are_both_worth_something_the_one_worth_more_is_taken() -> None:
    answer = evaluate_market(Market(0.0, 2.01, 2.02), three(0.5, 0.0))
    assert answer.overround < 0
    assert answer.above.stake_fraction > 0
    assert (answer.side, answer.stake) == (MarketSide.AWAY, answer.below.stake)


def test_risk_grows_with_the_stake_and_with_the_chance_to_lose_it() -> None:
    assert [risk_of(0.02, loss) for loss in (0.2, 0.3, 0.6, 1.0)] == list(RiskLevel)
    assert [risk_of(stake, 0.5) for stake in (0.0, 0.01, 0.02, 0.04)] == list(RiskLevel)


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Draw a market, often of prices that belong together, with what is staked already."""
    home = draw(st.floats(1.05, 20))
    away = draw(ODDS | st.floats(-0.01, 0.15).map(lambda margin: 1 / (1 + margin - 1 / home)))
    assume(1 < away <= 1000)
    bankroll = draw(st.floats(0.01, 1e9))
    on_game, on_evening = sorted((draw(SHARES), draw(SHARES)))
    on_game, on_evening = on_game * bankroll, on_evening * bankroll
    return Market(draw(LINES), home, away, bankroll, game_staked=on_game, evening_staked=on_evening)


@given(markets(), DISTRIBUTIONS, POLICIES)
def test_every_answer_keeps_its_bounds_and_the_caps_of_a_game_and_an_evening(
    market: Market, at_least: AtLeast, policy: StakingPolicy
) -> None:
    answer = evaluate_market(market, at_least, policy)
    assert 0 <= answer.push_probability <= 1
    assert answer.overround > -1
    room = min(
        policy.game_cap - market.game_staked / market.bankroll,
        policy.evening_cap - market.evening_staked / market.bankroll,
    )
    for side in (answer.above, answer.below):
        assert 0 <= side.win_probability <= 1
        assert 0 < side.implied_probability < 1
        assert -1 - 1e-12 <= side.expected_value <= side.decimal_odds - 1 + 1e-9
        assert 0 <= side.kelly_fraction <= 1
        assert side.stake_fraction <= side.kelly_fraction * policy.kelly_fraction + 1e-15
        assert side.stake_fraction <= max(0.0, room) + 1e-12
        assert 0 <= side.stake == side.stake_fraction * market.bankroll
        refused = answer.implausible or answer.mismatched
        assert (side.kelly_fraction > 0) == (side.expected_value > 1e-9 and not refused)
    chosen = answer.chosen
    assert answer.stake == (chosen.stake if chosen else 0)
    if chosen:
        assert chosen.expected_value == max(answer.above.expected_value, answer.below.expected_value) > 0
    total = answer.above.win_probability + answer.below.win_probability + answer.push_probability
    assert total == pytest.approx(1)
    unbound = evaluate_market(replace(market, game_staked=0.0, evening_staked=0.0), at_least, policy)
    assert answer.stake <= unbound.stake * (1 + 1e-12)


@given(LINES, ODDS, ODDS, st.dictionaries(st.integers(-60, 60), st.integers(1, 100), min_size=1, max_size=12))
def test_home_and_away_are_treated_alike(line: float, home: float, away: float, weights: dict[int, int]) -> None:
    market = Market(line, home, away)
    there = evaluate_market(market, steps(weights))
    back = evaluate_market(mirrored(market), steps({-value: weight for value, weight in weights.items()}))
    for one, other in ((there.above, back.below), (there.below, back.above)):
        assert one.win_probability == pytest.approx(other.win_probability, abs=1e-12)
        assert one.expected_value == pytest.approx(other.expected_value, abs=1e-9)
        assert one.stake == pytest.approx(other.stake, abs=1e-9)
    assert there.push_probability == pytest.approx(back.push_probability, abs=1e-12)


EVEN = american_to_decimal(-110)
BOOK = american_to_decimal(-250)


@pytest.mark.parametrize(
    ("odds", "wins", "policy", "reason"),
    [
        ((2.0, 2.0), 0.65, MODEL_ALONE, None),
        ((2.0, 2.0), 0.651, MODEL_ALONE, "implausible"),
        ((2.0, 2.0), 0.349, MODEL_ALONE, "implausible"),
        ((1.91, 1.91), 0.65, MODEL_ALONE, None),  # the margin of the odds is not part of the edge
        ((1.91, 1.91), 0.651, MODEL_ALONE, "implausible"),
        ((1.25, 4.5), 0.93, MODEL_ALONE, None),
        ((1.25, 4.5), 0.94, MODEL_ALONE, "implausible"),
        ((EVEN, EVEN), 0.7, ANY_EDGE, None),  # a margin of 4.8 %
        ((BOOK, 2.10), 0.75, ANY_EDGE, "mismatched"),  # 19 %
        ((BOOK, 1000.0), 0.75, ANY_EDGE, "mismatched"),  # −28.5 %
        ((1 / 0.575, 1 / 0.575), 0.7, ANY_EDGE, None),  # 15 %
        ((1 / 0.576, 1 / 0.576), 0.7, MODEL_ALONE, "mismatched"),
        ((1 / 0.495, 1 / 0.495), 0.7, ANY_EDGE, None),  # −1 %
        ((1 / 0.494, 1 / 0.494), 0.7, ANY_EDGE, "mismatched"),
        ((2.0, 2.0), 0.55, MODEL_ALONE, "unrated"),
    ],
)
def test_a_market_that_is_not_weighed_has_no_stake_and_its_figures(
    odds: tuple[float, float], wins: float, policy: StakingPolicy, reason: str | None
) -> None:
    market = Market(0.0, *odds, bankroll=1000.0)
    answer = evaluate_market(market, three(wins, 0.0), policy, unrated=reason == "unrated")
    assert {name for name in ("implausible", "mismatched", "unrated") if getattr(answer, name)} == {reason} - {None}
    for side, probability, price in ((answer.above, wins, odds[0]), (answer.below, 1 - wins, odds[1])):
        assert side.win_probability == pytest.approx(probability)
        assert side.expected_value == pytest.approx(probability * price - 1)
        assert reason is None or (side.kelly_fraction, side.stake_fraction, side.stake) == (0.0, 0.0, 0.0)
    if reason is None:
        assert answer == replace(evaluate_market(market, three(wins, 0.0), ANY_EDGE), policy=policy)
        assert answer.stake > 0
    else:
        assert (answer.side, answer.stake, answer.risk_level) == (None, 0.0, RiskLevel.LOW)


@pytest.mark.parametrize(
    ("final", "given", "priced", "own"),
    [
        *((True, 5.5, (5.5 + off, 1.5, 2.9), abs(off) < 2) for off in (-2, -1.5, 0, 1.5, 2)),
        (True, 5.5, (0, -220, 180), True),  # the moneyline of that spread
        (True, -12.0, (0, 675, -1025), True),
        (True, 5.5, (0, -450, 350), False),  # as a lead makes it
        (True, 0.5, (0, -110, -110), True),  # a pick'em
        (True, 0.5, (0, -300, 250), False),
        (True, 8.5, (5.5, 1.65, 2.35), True),  # an alternate spread
        (True, 8.5, (5.5, 1.91, 1.91), False),
        (False, 5.5, (3.0, -110, -110), True),  # the half of a spread of 5.5
        (False, 5.5, (0, -160, 135), True),
        (False, 5.5, (0, -400, 320), False),  # as a lead makes it
        (False, 5.5, (10.5, -110, -110), False),
        (True, None, (0, -110, -110), False),  # none was given
        *((True, 221.5, (221.5 + off, 1.55, 2.6), abs(off) < 2) for off in (-2, -1.5, 0, 1.5, 2)),
        (True, 221.5, (227.5, 140, -165), True),  # an alternate line of before tip-off
        (True, 221.5, (227.5, -110, -110), False),
        (False, 221.5, (110.5, -110, -110), True),
        (False, 221.5, (118.5, -110, -110), False),
    ],
)
def test_a_market_at_about_the_line_or_price_that_a_given_line_implies_repeats_it(
    final: bool, given: float | None, priced: tuple[float, float, float], own: bool
) -> None:
    """The price can be from before tip-off, whatever its line is."""
    line, *odds = priced
    decimal = (american_to_decimal(each) if isinstance(each, int) else each for each in odds)
    kind = MarketKind.TOTAL if line > 100 else MarketKind.LEAD
    assert is_own_market(Market(line, *decimal, kind=kind), given, final=final) is own


def home_of(odds: float, wins: float, push: float) -> MarketAnswer:
    return evaluate_market(fair(odds), three(wins, push), ANY_EDGE)


@given(ODDS, st.floats(0, 100), triples(), st.integers(0, 1000))
def test_the_likelier_a_win_and_the_better_its_price_the_more_is_staked(
    odds: float, better: float, triple: tuple[float, float], thousandths: int
) -> None:
    (wins, push), likelier = triple, triple[0] + thousandths / 1000
    assume(likelier + push <= 1 and odds + better <= 1000)
    low, high = home_of(odds, wins, push).above, home_of(odds + better, likelier, push).above
    assert low.expected_value < high.expected_value or thousandths == 0
    assert low.expected_value <= high.expected_value
    assert low.kelly_fraction <= high.kelly_fraction + 1e-12
    assert low.stake_fraction <= high.stake_fraction + 1e-12


@given(st.floats(1.1, 20), triples())
def test_no_other_share_of_a_bankroll_makes_it_grow_faster_than_kelly_s(
    odds: float, triple: tuple[float, float]
) -> None:
    wins, push = triple
    loses = 1 - wins - push
    assume(loses > 0.001)
    kelly = home_of(odds, wins, push).above.kelly_fraction

    def growth(share: float) -> float:
        return wins * math.log1p((odds - 1) * share) + loses * math.log1p(-share)

    assert kelly < 1
    for other in (0.0, kelly / 2, (kelly + 1) / 2, min(kelly + 0.01, 0.999), max(kelly - 0.01, 0.0)):
        assert growth(kelly) >= growth(other) - 1e-12


@given(st.floats(1.01, 100), triples(), POLICIES, st.floats(0.0, 0.15))
def test_the_market_s_own_probability_stakes_nothing_at_the_market_s_price(
    odds: float, triple: tuple[float, float], policy: StakingPolicy, margin: float
) -> None:
    implied = (1 + margin) / odds, (1 + margin) * (1 - 1 / odds)
    assume(max(implied) < 0.999)
    market = Market(0.0, 1 / implied[0], 1 / implied[1])
    answer = evaluate_market(market, three(*triple), replace(policy, model_share=0.0))
    assert (answer.side, answer.above.stake_fraction, answer.below.stake_fraction) == (None, 0.0, 0.0)


@given(st.floats(1.1, 20), triples(), SHARES, SHARES)
def test_the_more_the_model_counts_the_more_is_staked_on_what_it_holds_likelier(
    odds: float, triple: tuple[float, float], one: float, other: float
) -> None:
    less, more = sorted((one, other))
    low, high = (
        evaluate_market(fair(odds), three(*triple), replace(ANY_EDGE, model_share=share)) for share in (less, more)
    )
    for name in ("above", "below"):
        cautious, bold = getattr(low, name), getattr(high, name)
        assert cautious.stake_fraction <= bold.stake_fraction + 1e-12
        ends = sorted((bold.fair_probability, bold.win_probability))
        assert ends[0] - 1e-12 <= bold.staking_probability <= ends[1] + 1e-12


def test_bets_of_an_evening_that_state_what_is_staked_keep_its_caps() -> None:
    """With 2 % a game and 5 % an evening, the third game gets the remaining 1 %; a second bet on a game gets none."""
    stakes: list[float] = []
    for _ in range(4):
        market = Market(0.0, 2.0, 2.0, bankroll=1000.0, evening_staked=sum(stakes))
        stakes.append(evaluate_market(market, three(0.65, 0.0), replace(DEFAULT_POLICY, kelly_fraction=1.0)).stake)
    assert stakes == pytest.approx([20.0, 20.0, 10.0, 0.0])
    again = Market(0.0, 2.0, 2.0, bankroll=1000.0, game_staked=20.0, evening_staked=20.0)
    assert evaluate_market(again, three(0.65, 0.0)).side is None
