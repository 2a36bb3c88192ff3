"""The record of the bets that a scorecard has."""

from __future__ import annotations

import math
from statistics import NormalDist, mean, stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.settled_forecasts import settled, settled_market

from dejavu_models.metrics import student_quantile
from dejavu_models.scorecard import MarketRecord, ScoreEstimate, scorecard
from dejavu_models.scorecard.estimates import ratio_estimate


def bets(*told: tuple[float, float], orders: list[int] | None = None) -> MarketRecord:
    places = list(range(len(told))) if orders is None else orders
    rows = [
        {"game": game, "stake": stake, "profit": profit, "expected_profit": 0.1 * stake, "order": order}
        for game, ((stake, profit), order) in enumerate(zip(told, places, strict=True))
    ]
    return record_of(*rows)


def record_of(*rows: dict[str, Any]) -> MarketRecord:
    record = scorecard(settled(*rows)).market
    assert record is not None
    return record


def test_a_market_without_a_stake_is_counted_and_no_bet() -> None:
    record = bets((0.0, 0.0))
    assert (record.markets, record.bets, record.roi, record.sharpe) == (1, 0, None, None)
    assert (record.staked, record.profit, record.total_return, record.max_drawdown) == (0.0, 0.0, 0.0, 0.0)


def test_bets_are_added_up_and_compounded() -> None:
    profits = [0.05, -0.05, -0.04, 0.02]
    record = bets(*((abs(profit), profit) for profit in profits), (0.01, 0.0), (0.0, 0.0))
    assert (record.bets, record.markets) == (5, 6)
    assert (record.won, record.lost, record.pushed) == (2, 2, 1)
    assert record.staked == pytest.approx(0.17)
    assert record.profit == pytest.approx(-0.02)
    assert record.roi is not None
    assert record.roi.value == pytest.approx(-0.02 / 0.17)
    assert record.total_return == pytest.approx(1.05 * 0.95 * 0.96 * 1.02 - 1.0)
    assert record.sharpe == pytest.approx(mean([*profits, 0.0]) / stdev([*profits, 0.0]))
    assert record.max_drawdown == pytest.approx(1.0 - 0.95 * 0.96)


def test_bets_of_a_game_are_open_together_and_one_profit() -> None:
    told = [(0, 0.05, 0.05), (0, 0.05, 0.04), (1, 0.05, -0.05), (1, 0.05, -0.05), (1, 0.02, 0.01), (2, 0.05, 0.03)]
    rows = [
        {"game": game, "minute": 6 + place, "stake": stake, "profit": profit, "order": game}
        for place, (game, stake, profit) in enumerate(told)
    ]
    record = record_of(*rows)
    assert (record.bets, record.markets) == (6, 6)
    profits = [0.09, -0.09, 0.03]
    assert record.total_return == pytest.approx(1.09 * 0.91 * 1.03 - 1.0)
    assert record.max_drawdown == pytest.approx(0.09)
    assert record.sharpe == pytest.approx(mean(profits) / stdev(profits))


def test_a_return_has_an_interval_over_games() -> None:
    # Game 0 has two bets, which settle as one: the games' stakes and profits are those of `residuals` below.
    told = [(0, 0.05, 0.05), (0, 0.05, -0.01), (1, 0.05, -0.05), (2, 0.02, 0.03)]
    rows = [
        {"game": game, "minute": 6 + place, "stake": stake, "profit": profit, "expected_profit": 0.1 * stake}
        for place, (game, stake, profit) in enumerate(told)
    ]
    record = record_of(*rows)
    roi = 0.02 / 0.17
    assert record.roi is not None
    assert record.roi.value == pytest.approx(roi)
    # Jackknife of the same ratio, in first order: residuals profit − roi · stake.
    residuals = [profit - roi * stake for stake, profit in ((0.1, 0.04), (0.05, -0.05), (0.02, 0.03))]
    assert sum(residuals) == pytest.approx(0.0)
    half = student_quantile(2) * math.sqrt(3.0) * stdev(residuals) / 0.17
    assert record.roi.lower == pytest.approx(max(roi - half, -1.0))
    assert record.roi.upper == pytest.approx(roi + half)
    assert (record.games, record.won, record.lost, record.pushed) == (3, 2, 2, 0)
    assert record.expected_profit == pytest.approx(0.017)


def test_bets_of_the_record_keep_the_caps_of_a_game_and_of_an_evening() -> None:
    """In the order in which they were recorded: 2 + 1 % on game 0, nothing more on it, 2 of 3 % left on game 1."""
    told = [(0, 1, 0.02, 2), (0, 1, 0.02, 3), (0, 1, 0.03, 4), (1, 1, 0.04, 9), (2, 1, 0.02, 10), (3, 2, 0.02, 1)]
    rows = [
        {
            "game": game,
            "day": day,
            "stake": stake,
            "profit": -stake,
            "expected_profit": 0.1 * stake,
            "market_sequence": sequence,
            "game_cap": 0.03,
            "evening_cap": 0.05,
        }
        for game, day, stake, sequence in told
    ]
    for arranged in (rows, rows[::-1]):
        record = record_of(*arranged)
        assert (record.bets, record.markets, record.games, record.capped) == (4, 6, 3, 4)
        assert record.staked == pytest.approx(0.02 + 0.01 + 0.02 + 0.02)
        assert record.profit == pytest.approx(-record.staked)
        assert record.expected_profit == pytest.approx(0.1 * record.staked)


SHARES = st.floats(0.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 3), SHARES, SHARES, SHARES), min_size=1, max_size=30))
def test_whatever_was_recorded_an_evening_and_a_game_stake_no_more_than_the_largest_caps(
    told: list[tuple[int, float, float, float]],
) -> None:
    names = ("game", "stake", "game_cap", "evening_cap")
    rows = [{**dict(zip(names, each, strict=True)), "profit": 0.0, "expected_profit": 0.0} for each in told]
    record = record_of(*rows)
    assert record.staked <= max(each["evening_cap"] for each in rows) + 1e-9
    first = [row for row in rows if row["game"] == rows[0]["game"]]
    alone = record_of(*first)
    assert alone.staked <= max(row["game_cap"] for row in first) + 1e-9


def test_a_bankroll_that_is_lost_stays_lost() -> None:
    rows = [{"game": 0, "minute": minute, "stake": 0.05, "profit": -0.05, "order": 0} for minute in range(1, 31)]
    record = record_of(*rows, {"game": 1, "stake": 0.05, "profit": 0.1, "order": 1})
    assert (record.total_return, record.max_drawdown) == (-1.0, 1.0)


def test_a_bankroll_runs_in_the_order_of_outcomes() -> None:
    lost_last = bets((0.5, -0.5), (0.5, 0.5), orders=[2, 1])
    lost_first = bets((0.5, -0.5), (0.5, 0.5), orders=[1, 2])
    assert lost_last.total_return == lost_first.total_return == pytest.approx(-0.25)
    assert lost_last.max_drawdown == lost_first.max_drawdown == 0.5
    rising = bets((0.1, -0.1), (0.2, -0.2), (0.5, 0.5), orders=[1, 3, 2])
    assert rising.max_drawdown == pytest.approx(0.2)


@given(st.lists(st.integers(-20, 40).map(lambda percent: percent / 100), min_size=1, max_size=20))
def test_a_drawdown_is_a_share_and_none_where_nothing_was_lost(profits: list[float]) -> None:
    record = bets(*((0.2, profit) for profit in profits))
    assert 0.0 <= record.max_drawdown < 1.0
    assert (record.max_drawdown == 0.0) == all(profit >= 0.0 for profit in profits)
    assert record.total_return == pytest.approx(math.prod(1.0 + profit for profit in profits) - 1.0, abs=1e-12)


def priced(game: int, minute: int, sequence: int, **market: Any) -> dict[str, Any]:
    """Return a row with a market; a bet stakes 2 % at decimal odds of 2 on home, at a line of 3.5."""
    usual = {"line": 3.5, "stake": 0.02, "profit": 0.02, "sequence": sequence}
    return {"game": game, "minute": minute, "markets": (settled_market(**{**usual, **market}),)}


@pytest.mark.parametrize(
    ("later", "value"),
    [
        ({"fair_probability": 0.55}, 2.0 * 0.55 - 1.0),
        ({"fair_probability": 0.45}, 2.0 * 0.45 - 1.0),
        # Home is expected to win by 2 more than the line, with a standard deviation of 8.
        ({"line": 5.5, "spread": 8.0}, 2.0 * NormalDist().cdf(0.25) - 1.0),
        ({"line": 1.5, "spread": 8.0}, 2.0 * NormalDist().cdf(-0.25) - 1.0),
        ({"on_total": True, "fair_probability": 0.9}, None),  # of another kind
        ({"fair_probability": 0.9, "late": True}, None),
        ({"fair_probability": 0.9, "minute": 21}, None),  # too long after it
        ({"fair_probability": 0.9, "number": 0}, None),  # recorded before it
    ],
)
@pytest.mark.parametrize("side", [1, -1])
def test_the_closing_line_of_a_bet_is_the_next_market_of_its_game_and_kind(
    later: dict[str, Any], value: float | None, side: int
) -> None:
    later = dict(later)
    rows = [
        priced(0, 18, 1, side=side),
        priced(0, 18, 2, stake=0.0, fair_probability=0.99),  # of the same moment
        priced(0, later.pop("minute", 20), later.pop("number", 3), stake=0.0, **later),
        priced(0, 22, 4, stake=0.0, fair_probability=0.99, on_total="on_total" in later),
        priced(1, 19, 5, stake=0.0, fair_probability=0.99),
    ]
    if value is None:
        rows = rows[:3]
    record = record_of(*rows)
    if value is None:
        assert (record.closing_line_value, record.closing_line_bets) == (None, 0)
        return
    assert record.closing_line_value is not None
    assert record.closing_line_bets == 1
    assert record.closing_line_value.value == pytest.approx(side * value)


@pytest.mark.parametrize(("followed", "is_given"), [(8, False), (9, True), (10, True)])
def test_a_closing_line_value_needs_a_next_price_of_nearly_every_bet(followed: int, is_given: bool) -> None:
    """Formerly, prices that were recorded only if they had moved towards the bet made it positive."""
    rows = [priced(game, 18, 2 * game) for game in range(10)]
    rows += [priced(game, 19, 2 * game + 1, stake=0.0, fair_probability=0.6) for game in range(followed)]
    record = record_of(*rows)
    assert (record.bets, record.closing_line_bets) == (10, followed)
    assert (record.closing_line_value is not None) == is_given


def test_a_closing_line_value_weighs_bets_by_stake_and_has_an_interval_over_games() -> None:
    told = [(0, 0.02, 0.6), (1, 0.01, 0.4), (2, 0.01, 0.5)]
    rows = [
        priced(game, minute, 10 * game + minute, stake=stake if minute == 18 else 0.0, fair_probability=fair)
        for game, stake, fair in told
        for minute in (18, 19)
    ]
    record = record_of(*rows)
    assert record.closing_line_value is not None
    assert record.closing_line_value.value == pytest.approx((0.02 * 0.2 - 0.01 * 0.2) / 0.04)
    residuals = [0.02 * (0.2 - 0.05), 0.01 * (-0.2 - 0.05), 0.01 * (0.0 - 0.05)]
    half = student_quantile(2) * math.sqrt(3.0) * stdev(residuals) / 0.04
    assert record.closing_line_value.upper == pytest.approx(0.05 + half)
    assert record.closing_line_value.lower == pytest.approx(0.05 - half)


def test_the_model_is_compared_with_the_market_on_every_market_with_a_result() -> None:
    rows = [
        priced(0, 18, 1, model_probability=0.8, fair_probability=0.5, home_won=1.0),
        priced(0, 19, 2, stake=0.0, model_probability=0.7, fair_probability=0.6, home_won=0.0),
        priced(0, 20, 3, stake=0.0, home_won=math.nan),  # a push
        priced(1, 18, 4, stake=0.0, model_probability=0.6, fair_probability=0.7, home_won=1.0),
    ]
    record = record_of(*rows)
    model, fair = [(0.04 + 0.49) / 2, 0.16], [(0.25 + 0.36) / 2, 0.09]
    assert (record.scored_markets, record.scored_games) == (3, 2)
    for found, expected in (
        (record.model_brier, model),
        (record.market_brier, fair),
        (record.brier_difference, [one - other for one, other in zip(model, fair, strict=True)]),
    ):
        assert found is not None
        assert found.games == 2
        assert found.value == pytest.approx(mean(expected))


@pytest.mark.parametrize("told", [[(0.1, 0.1)], [(0.1, 0.1), (0.05, 0.05)], [(0.1, -0.1)] * 3])
def test_equal_returns_on_stakes_are_no_interval(told: list[tuple[float, float]]) -> None:
    assert bets(*told).roi == ScoreEstimate(pytest.approx(told[0][1] / told[0][0]), len(told))


def test_the_interval_of_a_return_holds_the_true_one_as_often_as_it_says() -> None:
    rng, odds, held = np.random.default_rng(7), 1.91, 0
    for _ in range(400):
        stakes = rng.choice((0.01, 0.03, 0.05), size=100)
        profits = np.where(rng.random(100) < 1 / odds, stakes * (odds - 1), -stakes)  # a fair bet: the return is 0
        told = ratio_estimate(profits, stakes)
        assert told.lower is not None
        assert told.upper is not None
        held += told.lower <= 0.0 <= told.upper
    assert 0.92 <= held / 400 <= 0.98
