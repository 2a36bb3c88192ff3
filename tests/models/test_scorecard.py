"""Scorecards, records of bets and leaderboards: comparison with reference computations, and invariants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from itertools import accumulate
from random import Random
from statistics import NormalDist, mean, stdev
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.harness.present import present

from dejavu_models.metrics import student_quantile
from dejavu_models.scorecard.cards import LeaderboardMetric, Scorecard, leaderboard, scorecard
from dejavu_models.scorecard.estimates import Coverage, ScoreEstimate
from dejavu_models.scorecard.market_record import MarketRecord
from dejavu_models.scorecard.settled import SettledForecasts, SettledMarket

_TYPICAL: dict[str, Any] = dict.fromkeys(("covered", "in_league", "in_time"), True)


_TYPICAL |= {"minute": 18, "error": 1.0, "alpha": 0.05, "width": 24.0, "probability": 0.6, "crps": 2.5}


_TYPICAL |= {"home": 1, "away": 2, "differential": 3.0, "markets": None}


_DTYPES = {"Floats": np.float64, "NDArray[np.bool_]": np.bool_, "NDArray[np.object_]": np.object_}


def settled(*rows: dict[str, Any]) -> SettledForecasts:
    """Build settled forecasts from the given fields, with defaults for the others; a lead is 2 above its outcome."""
    columns: dict[str, Any] = {}
    for each in fields(SettledForecasts):
        default = _TYPICAL.get(each.name, math.nan if each.type == "Floats" else 0)
        columns[each.name] = np.empty(len(rows), dtype=_DTYPES.get(str(each.type), np.int64))
        for place, row in enumerate(rows):
            own = {
                "order": place,
                "elapsed_s": 60.0 * row.get("minute", 18),
                "lead": row.get("differential", 3.0) + 2.0,
            }
            columns[each.name][place] = (own | row).get(each.name, default)
    return SettledForecasts(**columns)


def settled_market(**given: Any) -> SettledMarket:
    """Return a market of the lead at even odds, with the given fields and defaults for the others."""
    usual = dict.fromkeys(("on_total", "stake", "profit", "expected_profit"), 0.0)
    usual |= {"line": 0.5, "spread": 9.0, "model_probability": 0.6, "fair_probability": 0.5, "odds": 2.0}
    usual |= {"home_won": 1.0, "side": 1 if given.get("stake") else 0, "game_cap": math.inf, "evening_cap": math.inf}
    return SettledMarket(**{**usual, **given})


Row = dict[str, Any]


OUTCOMES = (5.0, -3.0, 0.0, 12.0)
"""Differential of each game."""


def completed(row: Row) -> Row:
    """Return a drawn row with the result of its game, and with the errors of its total in their columns."""
    totals = dict(zip(("total_error", "total_pace_error", "total_crps"), row["totals"], strict=True))
    return {**row, **totals, "differential": OUTCOMES[row["game"]]}


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "game": st.integers(0, 3),
            "minute": st.sampled_from([6, 18]),
            "error": st.floats(-30, 30),
            "lead": st.integers(-3, 3),
            "covered": st.booleans(),
            "width": st.floats(0, 50),
            "alpha": st.sampled_from([0.05, 0.5]),
            "probability": st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]),
            "crps": st.just(math.nan) | st.floats(0, 20),
            "totals": st.just((math.nan,) * 3) | st.tuples(st.floats(-40, 40), st.floats(-40, 40), st.floats(0, 20)),
        }
    ).map(completed),
    min_size=1,
    max_size=20,
)


def of_games(rows: Iterable[Row], value: Callable[[Row], float]) -> list[float]:
    """Return each game's mean over its minutes of the means over their forecasts."""
    games: dict[int, dict[int, list[float]]] = {}
    for row in rows:
        games.setdefault(row["game"], {}).setdefault(row["minute"], []).append(value(row))
    return [mean(map(mean, minutes.values())) for minutes in games.values()]


def led(row: Row) -> bool:
    return bool(row["differential"] > 0)


def leader(row: Row) -> float:
    return float(np.sign(row["lead"]) + 1) / 2


def right(likely: float, row: Row) -> float:
    return 0.5 if likely == 0.5 else float((likely > 0.5) == led(row))


FIGURES: dict[str, tuple[Callable[[Row], float], float, float]] = {
    "mae": (lambda row: abs(row["error"]), 0.0, math.inf),
    "persistence_mae": (lambda row: abs(row["lead"] - row["differential"]), 0.0, math.inf),
    "mae_difference": (
        lambda row: abs(row["error"]) - abs(row["lead"] - row["differential"]),
        -math.inf,
        math.inf,
    ),
    "crps": (lambda row: row["crps"], 0.0, math.inf),
    "brier": (lambda row: (row["probability"] - led(row)) ** 2, 0.0, 1.0),
    "leader_brier": (lambda row: (leader(row) - led(row)) ** 2, 0.0, 1.0),
    "brier_difference": (lambda row: (row["probability"] - led(row)) ** 2 - (leader(row) - led(row)) ** 2, -1.0, 1.0),
    "accuracy": (lambda row: right(row["probability"], row), 0.0, 1.0),
    "leader_accuracy": (lambda row: right(leader(row), row), 0.0, 1.0),
    "total.mae": (lambda row: abs(row["total_error"]), 0.0, math.inf),
    "total.pace_mae": (lambda row: abs(row["total_pace_error"]), 0.0, math.inf),
    "total.mae_difference": (
        lambda row: abs(row["total_error"]) - abs(row["total_pace_error"]),
        -math.inf,
        math.inf,
    ),
    "total.crps": (lambda row: row["total_crps"], 0.0, math.inf),
}
"""Value of a forecast by figure, and the figure's bounds."""


@given(ROWS)
def test_figures_are_means_over_games_of_means_over_minutes_with_students_interval(rows: list[Row]) -> None:
    from scipy import stats  # takes a second to load
    from sklearn.metrics import roc_auc_score

    card = scorecard(settled(*rows))
    assert (card.games, card.forecasts) == (len({row["game"] for row in rows}), len(rows))
    for name, (value, least, most) in FIGURES.items():
        means = of_games([row for row in rows if not math.isnan(value(row))], value)
        part, _, figure = name.rpartition(".")
        found: Any = getattr(getattr(card, part) if part else card, figure, None)
        if not means:
            assert found is None
            continue
        assert (found.value, found.games) == (pytest.approx(mean(means), abs=1e-9), len(means))
        if len(means) < 2:
            assert (found.lower, found.upper) == (None, None)
            continue
        half = float(stats.t.ppf(0.975, len(means) - 1) * stats.sem(means))
        ends = max(mean(means) - half, least), min(mean(means) + half, most)
        assert (found.lower, found.upper) == pytest.approx(ends, abs=1e-9)
    for each in card.coverage:
        of_alpha = [row for row in rows if row["alpha"] == each.alpha]
        shares = of_games(of_alpha, lambda row: row["covered"])
        assert (each.games, each.forecasts) == (len(shares), len(of_alpha))
        assert each.coverage == pytest.approx(mean(shares))
        assert each.mean_width == pytest.approx(mean(of_games(of_alpha, lambda row: row["width"])))
        assert 0.0 <= each.lower <= each.coverage <= each.upper <= 1.0
    assert [each.alpha for each in card.coverage] == sorted({row["alpha"] for row in rows})
    weights = [
        1.0 / len({other["minute"] for other in of_game}) / sum(other["minute"] == row["minute"] for other in of_game)
        for row in rows
        for of_game in [[other for other in rows if other["game"] == row["game"]]]
    ]
    for area, score in ((card.roc_auc, "probability"), (card.persistence_roc_auc, "lead")):
        outcomes, scores = [*map(led, rows)], [row[score] for row in rows]
        assert (area is None) == (len({*outcomes}) < 2)
        assert area is None or area.value == pytest.approx(roc_auc_score(outcomes, scores, sample_weight=weights))
    stated, happened = (mean(of_games(rows, value)) for value in (lambda row: row["probability"], led))
    assert abs(stated - happened) - 1e-9 <= card.ece <= 1 + 1e-9
    assert sum(each.forecasts for each in card.reliability) == len(rows)
    for bin_ in card.reliability:
        assert bin_.from_probability <= bin_.mean_probability + 1e-9 <= bin_.to_probability + 2e-9
        assert 0 <= bin_.lower <= bin_.rate <= bin_.upper <= 1


def test_coverage_of_several_forecasts_a_game_is_as_uncertain_as_the_games_spread() -> None:
    """Forecasts of a game that held together are perfectly correlated: ten tell no more than one."""
    from scipy import stats  # takes a second to load

    rows = [{"game": game, "minute": at, "covered": game % 10 != 0} for game in range(40) for at in range(10)]
    [coverage] = scorecard(settled(*rows)).coverage
    expected = stats.binomtest(36, 40).proportion_ci(method="wilson")
    assert [coverage.lower, coverage.upper] == pytest.approx([expected.low, expected.high])


def test_of_many_alphas_those_of_most_games_have_a_coverage() -> None:
    """Every recorded forecast can have its own alpha; a card stays readable, and has the usual alpha."""
    more = [{"game": game, "alpha": 0.5} for game in range(3)]
    made = ({"game": game, "alpha": 0.1 + number / 1000} for game in (0, 1) for number in range(300))
    told = scorecard(settled({"game": 0, "alpha": 0.05}, *more, *made)).coverage
    assert [each.alpha for each in told] == [0.05, *(0.1 + number / 1000 for number in range(18)), 0.5]


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    """Four forecasts at 0.72, three events (gap 0.03); one at 0.1, no event (gap 0.1): (4 · 0.03 + 1 · 0.1) / 5."""
    told = zip([0.72] * 4 + [0.1], [3, 3, 3, -3, -3], strict=True)
    rows = [{"game": game, "probability": p, "differential": came} for game, (p, came) in enumerate(told)]
    assert scorecard(settled(*rows)).ece == pytest.approx(0.044)


def test_reliability_of_a_case_worked_out_by_hand() -> None:
    """A game with two minutes, one of them in the bin, has half the weight in it of a game with one."""
    rows = [
        {"probability": 0.72, "differential": -3},
        {"minute": 30, "probability": 0.2, "differential": -3},
        {"game": 1, "probability": 0.78},
        {"game": 2, "probability": 1.0},
    ]
    low, middle, high = scorecard(settled(*rows)).reliability
    assert (low.from_probability, low.to_probability, low.games, low.forecasts, low.rate) == (0.2, 0.3, 1, 1, 0.0)
    assert (middle.games, middle.forecasts) == (2, 2)
    assert (middle.mean_probability, middle.rate) == pytest.approx(((0.5 * 0.72 + 0.78) / 1.5, 1 / 1.5))
    trials = 1.5**2 / (0.5**2 + 1.0)
    centre = (2 / 3 + 1.96**2 / (2 * trials)) / (1 + 1.96**2 / trials)
    assert (middle.lower + middle.upper) / 2 == pytest.approx(centre, abs=1e-4)
    assert (high.from_probability, high.to_probability, high.rate, high.upper) == (0.9, 1.0, 1.0, 1.0)


def test_the_area_under_the_roc_curve_has_delongs_interval_over_games() -> None:
    """Of both outcomes, one game is on the right side of all others and one of half of them: variances of 1/8."""
    rows = [
        {"game": game, "minute": minute, "probability": chance, "lead": 9.0, "differential": came}
        for game, (chance, came) in enumerate([(0.9, 3), (0.4, 3), (0.5, -3), (0.1, -3)])
        for minute in range(1 + game)
    ]
    card = scorecard(settled(*rows))
    area = present(card.roc_auc)
    assert (area.value, area.games, area.lower, area.upper) == pytest.approx(
        (0.75, 4, 0.75 - 1.959964 * math.sqrt(1 / 8), 1.0)
    )
    assert card.persistence_roc_auc == ScoreEstimate(0.5, 4), "equal leads tell nothing"
    assert scorecard(settled(*rows[:2])).roc_auc is None


def test_a_scorecard_may_be_of_the_newest_games_that_count() -> None:
    rows = [{"game": game, "order": order, "exclusion": 1 * (game == 3)} for game, order in enumerate((5, 9, 7, 8))]
    told = settled(*rows, {"game": 2, "order": 7})
    assert told.newest(2).game.tolist() == [1, 2, 3, 2]
    assert [len(told.newest(games)) for games in (1, 3, 99)] == [1, 5, 5]


def total(game: int, error: float, pace: float) -> Row:
    return {"game": game, "total_error": error, "total_pace_error": pace, "total_crps": 1.0, "total_width": 30.0}


def test_a_total_is_compared_with_its_pace_by_the_ratio_of_their_errors() -> None:
    """Without a ratio if pace x time met every total."""
    errors = [(8.0, 7.0), (20.0, 32.0), (2.0, 11.0)]
    card = present(scorecard(settled(*(total(game, *each) for game, each in enumerate(errors)), {"game": 9})).total)
    assert (card.games, card.coverage[0].mean_width) == (3, 30.0)
    found, residuals = present(card.relative_difference), [one - 0.6 * other for one, other in errors]
    half = student_quantile(2) / math.sqrt(3) * stdev(residuals) / (50 / 3)
    assert (found.value, found.lower, found.upper) == pytest.approx((-0.4, max(-0.4 - half, -1.0), -0.4 + half))
    assert present(scorecard(settled(total(0, 5.0, 0.0))).total).relative_difference is None
    alike = present(scorecard(settled(total(0, 5.0, 10.0), total(1, 2.0, 4.0))).total).relative_difference
    assert present(alike).lower is None, "equal ratios are no proof"


MARKET = scorecard(settled({"markets": (settled_market(stake=0.02, profit=0.01),)})).market


def card(value: float, games: int = 100) -> Scorecard:
    assert MARKET is not None
    told = ScoreEstimate(value, games)
    figures: dict[str, Any] = dict.fromkeys(("mae", "crps", "brier", "mae_difference", "accuracy", "roc_auc"), told)
    coverage = tuple(Coverage(alpha, games, games, 0.95 - value / 100, 0.0, 1.0, 20.0) for alpha in (0.05, 0.5))
    market = replace(MARKET, roi=told)
    return replace(Scorecard(games=1000), market=market, coverage=coverage, **figures)


@pytest.mark.parametrize(
    ("metric", "limit", "expected"),
    [
        *(
            (metric, 0, [(1, "b", 1.0), (2, "a", 2.0), (2, "c", 2.0), (4, "d", 4.0)])
            for metric in ("CRPS", "MAE", "BRIER", "MAE_DIFFERENCE")
        ),
        ("CRPS", 2, [(1, "b", 1.0), (2, "a", 2.0)]),
        ("COVERAGE_GAP", 0, [(1, "b", 0.01), (2, "a", 0.02), (2, "c", 0.02), (4, "d", 0.04)]),
        ("ACCURACY", 0, [(1, "d", 4.0), (2, "a", 2.0), (2, "c", 2.0), (4, "b", 1.0)]),
        ("ROC_AUC", 1, [(1, "d", 4.0)]),
        ("ROI", 3, [(1, "d", 4.0), (2, "a", 2.0), (2, "c", 2.0)]),
    ],
)
def test_the_best_value_is_first_equal_ones_share_a_rank_and_figures_of_too_few_games_are_not_listed(
    metric: str, limit: int, expected: list[tuple[int, str, float]]
) -> None:
    cards = {
        "d": card(4.0),
        "c": card(2.0 - 1e-15),
        "a": card(2.0),
        "b": card(1.0),
        "few": card(0.5, 99),
        "none": Scorecard(),
    }
    found = leaderboard(cards, LeaderboardMetric[metric], 100, limit)
    assert [(each.rank, each.model_version, round(each.value, 12)) for each in found] == expected


def record_of(*rows: dict[str, Any]) -> MarketRecord:
    return present(scorecard(settled(*rows)).market)


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
    assert present(record.roi).value == pytest.approx(sum(profits) / sum(stakes))
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
    roi = present(record_of(*rows).roi)
    ends = (None, None) if half is None else (pytest.approx(max(roi.value - half, -1)), pytest.approx(roi.value + half))
    assert (roi.lower, roi.upper) == ends


@pytest.mark.parametrize(
    ("later", "value"),
    [
        ({"fair_probability": 0.55}, 2.0 * 0.55 - 1.0),
        # Home is expected to win by 2 more than the line, with a standard deviation of 8.
        ({"line": 5.5, "spread": 8.0}, 2.0 * NormalDist().cdf(0.25) - 1.0),
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
    assert present(record.rms_difference).value == pytest.approx(math.sqrt(((0.09 + 0.01) / 2 + 0.01) / 2))
    for found, expected in (
        (record.model_brier, model),
        (record.market_brier, fair),
        (record.brier_difference, [one - other for one, other in zip(model, fair, strict=True)]),
    ):
        assert found is not None
        assert found.games == 2
        assert found.value == pytest.approx(mean(expected))


@pytest.mark.parametrize(
    ("least", "most", "listed"), [(0.0, 0, []), (0.0, 2, [4, 1]), (0.1, 9, [2, 1]), (0.21, 9, None)]
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
    sides = {1: (0.7, pytest.approx(0.2), "away"), 2: (0.6, None, "home"), 4: (0.55, None, "over")}
    for each in found.placed if found else ():
        assert (each.win_probability, each.closing_line_value, each.side.value) == sides[each.sequence]
