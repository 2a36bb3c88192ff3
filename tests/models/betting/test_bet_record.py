"""The record of the bets that a scorecard has."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate
from random import Random
from statistics import NormalDist, mean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.settled_forecasts import settled, settled_market

from dejavu_models.metrics import student_quantile
from dejavu_models.scorecard.cards import scorecard
from dejavu_models.scorecard.market_record import MarketRecord


def record_of(*rows: dict[str, Any]) -> MarketRecord:
    record = scorecard(settled(*rows)).market
    assert record is not None
    return record


def priced(game: int, minute: int, sequence: int, **market: Any) -> dict[str, Any]:
    """Return a row with a market; a bet stakes 2 % at decimal odds of 2 on home, at a line of 3.5."""
    usual = {"line": 3.5, "stake": 0.02, "profit": 0.02, "sequence": sequence}
    return {"game": game, "minute": minute, "markets": (settled_market(**{**usual, **market}),)}


def sums_of(bets: Iterable[tuple[int, float, float]]) -> tuple[list[float], list[float]]:
    """Return the stakes and the profits of games in their order."""
    games: dict[int, list[tuple[float, float]]] = {}
    for game, stake, profit in sorted(bets, key=lambda each: each[0]):
        games.setdefault(game, []).append((stake, profit))
    stakes, profits = zip(*(map(sum, zip(*each, strict=True)) for each in games.values()), strict=True)
    return [*stakes], [*profits]


BETS = st.tuples(st.integers(0, 4), st.integers(0, 60), st.sampled_from([-1.0, 0.0, 0.9]))
"""A game, a stake in percent, and the profit of a stake of 1."""


@given(st.lists(BETS, min_size=1, max_size=12), st.permutations(range(5)), st.sampled_from([0.3, 1.0]), st.randoms())
def test_bets_keep_the_caps_in_the_order_of_their_record_and_compound_in_that_of_outcomes(
    asked: list[tuple[int, int, float]], order: list[int], cap: float, random: Random
) -> None:
    """A game has a cap, and what a caller bets on an evening one and a half of it."""
    rows, bets = [], []
    evenings = {0: (0, 0), 1: (0, 0), 2: (1, 0), 3: (1, 0), 4: (1, 1)}  # of games: day and caller
    left: dict[Any, float] = {**dict.fromkeys(evenings, cap), **dict.fromkeys(evenings.values(), 1.5 * cap)}
    for sequence, (game, percent, profit) in enumerate(asked):
        wanted, evening = percent / 100, evenings[game]
        stake = max(min(wanted, left[game], left[evening]), 0.0)
        stake = stake if stake > 1e-9 else 0.0
        left[game], left[evening] = left[game] - stake, left[evening] - stake
        bets += [(order[game], stake, stake * profit)] if stake else []
        caps = {"game_cap": cap, "evening_cap": 1.5 * cap, "expected_profit": wanted / 10}
        row = priced(game, 18, sequence, stake=wanted, profit=wanted * profit, **caps)
        rows.append({**row, "order": order[game], "day": evening[0], "caller": evening[1]})
    random.shuffle(rows)
    record = record_of(*rows)
    capped = sum(percent / 100 for _, percent, _ in asked) - sum(stake for _, stake, _ in bets)
    assert (record.markets, record.bets, record.capped > 0) == (len(asked), len(bets), capped > 1e-9)
    if not bets:
        assert (record.roi, record.sharpe, record.staked, record.total_return) == (None, None, 0.0, 0.0)
        return
    stakes, profits = sums_of(bets)
    won, lost = (sum(sign * profit > 0 for _, _, profit in bets) for sign in (1, -1))
    assert (record.won, record.lost, record.pushed, record.games) == (won, lost, len(bets) - won - lost, len(profits))
    assert (record.staked, record.profit) == pytest.approx((sum(stakes), sum(profits)))
    assert record.expected_profit == pytest.approx(record.staked / 10)
    assert record.roi is not None
    assert record.roi.value == pytest.approx(sum(profits) / sum(stakes))
    bankroll = [*accumulate(profits, lambda total, profit: total * max(1.0 + profit, 0.0), initial=1.0)]
    falls = [1.0 - now / peak for now, peak in zip(bankroll, accumulate(bankroll, max), strict=True)]
    assert (record.total_return, record.max_drawdown) == pytest.approx((bankroll[-1] - 1.0, max(falls)))
    varies = max(profits) - min(profits) > 1e-9
    assert record.sharpe == (pytest.approx(mean(profits) / stdev(profits)) if varies else None)


@pytest.mark.parametrize(
    ("told", "half"),
    [
        # Jackknife of a ratio in first order: residuals profit − roi · stake of games; two bets of game 0 are one.
        pytest.param(
            [(0, 0.05, 0.05), (0, 0.05, -0.01), (1, 0.05, -0.05), (2, 0.02, 0.03)],
            student_quantile(2) * math.sqrt(3.0) * stdev([0.04 - 0.2 / 17, -0.05 - 0.1 / 17, 0.03 - 0.04 / 17]) / 0.17,
            id="three games",
        ),
        pytest.param([(0, 0.1, 0.1)], None, id="one game"),
        pytest.param([(0, 0.1, 0.1), (1, 0.05, 0.05)], None, id="equal returns"),
        pytest.param([(game, 0.1, -0.1) for game in range(3)], None, id="all lost"),
    ],
)
def test_a_return_has_an_interval_over_games_unless_all_are_equal(
    told: list[tuple[int, float, float]], half: float | None
) -> None:
    rows = (priced(game, 18, place, stake=bet[0], profit=bet[1]) for place, (game, *bet) in enumerate(told))
    roi = record_of(*rows).roi
    assert roi is not None
    ends = (None, None) if half is None else (pytest.approx(max(roi.value - half, -1)), pytest.approx(roi.value + half))
    assert (roi.lower, roi.upper) == ends


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
    found = record_of(*(rows[:3] if value is None else rows)).closing_line_value
    assert (found and found.value) == (None if value is None else pytest.approx(side * value))


@pytest.mark.parametrize(("followed", "is_given"), [(8, False), (9, True), (10, True)])
def test_a_closing_line_value_weighs_bets_by_stake_and_needs_a_next_price_of_nearly_every_one(
    followed: int, is_given: bool
) -> None:
    """Formerly, prices that were recorded only if they had moved towards the bet made it positive."""
    stakes, fair = [0.01, 0.02] * 5, [0.6, 0.45] * 5
    rows = [priced(game, 18, 2 * game, stake=stakes[game]) for game in range(10)]
    rows += [priced(game, 19, 2 * game + 1, stake=0.0, fair_probability=fair[game]) for game in range(followed)]
    record = record_of(*rows)
    assert (record.bets, record.closing_line_bets) == (10, followed)
    assert (record.closing_line_value is not None) == is_given
    if record.closing_line_value is not None:
        moved = [stake * (2 * at - 1) for stake, at in zip(stakes, fair[:followed], strict=False)]
        assert record.closing_line_value.value == pytest.approx(sum(moved) / sum(stakes[:followed]))


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
    assert record.rms_difference is not None
    assert record.rms_difference.value == pytest.approx(math.sqrt(((0.09 + 0.01) / 2 + 0.01) / 2))
    for found, expected in (
        (record.model_brier, model),
        (record.market_brier, fair),
        (record.brier_difference, [one - other for one, other in zip(model, fair, strict=True)]),
    ):
        assert found is not None
        assert found.games == 2
        assert found.value == pytest.approx(mean(expected))


@pytest.mark.parametrize(
    ("least", "most", "listed"),
    [(0.0, 0, []), (0.0, 2, [4, 1]), (0.0, 9, [2, 4, 1]), (0.1, 9, [2, 1]), (0.2, 9, [1]), (0.21, 9, None)],
)
def test_the_last_bets_are_listed_as_the_record_counts_them(least: float, most: int, listed: list[int] | None) -> None:
    """A market that is no bet for its small difference still closes others."""
    rows = [
        priced(1, 18, 1, side=-1, profit=-0.02, model_probability=0.3),
        priced(1, 19, 3, stake=0.0, fair_probability=0.4, model_probability=0.4),
        priced(0, 18, 2, model_probability=0.6, profit=0.03),
        priced(0, 20, 4, model_probability=0.55, on_total=True, line=221.5),
    ]
    in_order = (row | {"order": row["game"]} for row in rows)
    found = scorecard(settled(*in_order), 0, least, most).market
    assert (found and [each.sequence for each in found.placed]) == listed
    for each in found.placed if found else ():
        of_side = (each.win_probability, each.fair_probability, each.closing_line_value, each.side.value)
        assert (
            of_side
            == {
                1: (0.7, 0.5, pytest.approx(0.2), "away"),
                2: (0.6, 0.5, None, "home"),
                4: (0.55, 0.5, None, "over"),
            }[each.sequence]
        )
    if found and found.placed:
        assert most < 9 or sum(each.profit for each in found.placed) == pytest.approx(found.profit)
