"""Scorecards and leaderboards: comparison with reference computations, and invariants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.models.settled_forecasts import settled

from dejavu_models.scorecard import (
    Coverage,
    LeaderboardMetric,
    MarketRecord,
    Scorecard,
    ScoreEstimate,
    leaderboard,
    scorecard,
)

CRPS, MAE = LeaderboardMetric.CRPS, LeaderboardMetric.MAE


def figure(told: ScoreEstimate | None) -> ScoreEstimate:
    assert told is not None
    return told


def test_nothing_settled_is_a_scorecard_without_figures() -> None:
    empty = settled({}).where(np.array([False]))
    assert scorecard(empty) == Scorecard(0, 0, None, None, None, (), None, None, 0.0, None)


def test_a_figure_is_the_mean_over_games_of_each_games_mean() -> None:
    card = scorecard(settled({"error": -1.0}, {"error": 3.0}, {"game": 1, "error": 6.0}))
    assert (card.games, card.forecasts) == (2, 3)
    assert figure(card.mae).value == (2.0 + 6.0) / 2
    assert figure(card.persistence_mae).value == 2.0
    assert figure(card.mae_difference).value == 2.0


@given(st.integers(1, 12), st.floats(-20.0, 20.0), st.booleans())
def test_asking_about_a_minute_over_and_over_gives_it_no_more_weight(
    times: int, persistence: float, covered: bool
) -> None:
    lucky = {"minute": 47, "error": 0.1, "brier": 0.0, "crps": 0.1, "probability": 0.99, "width": 4.0}
    once = [
        {"minute": 6, "error": 12.0, "brier": 0.5, "crps": 9.0, "probability": 0.7, "home_led": False},
        {**lucky, "persistence_error": persistence, "covered": covered},
        {"game": 1, "error": -7.0},
    ]
    plain, often = (scorecard(settled(*once, *[once[1]] * more)) for more in (0, times))
    assert often.forecasts == plain.forecasts + times
    for name in ("mae", "persistence_mae", "mae_difference", "crps", "brier"):
        assert figure(getattr(often, name)).value == pytest.approx(figure(getattr(plain, name)).value)
    assert often.ece == pytest.approx(plain.ece)
    [many], [few] = often.coverage, plain.coverage
    assert [many.coverage, many.mean_width, many.lower] == pytest.approx([few.coverage, few.mean_width, few.lower])


def test_one_game_has_no_interval() -> None:
    card = scorecard(settled({}, {"error": 5.0}))
    assert (figure(card.mae).lower, figure(card.mae).upper) == (None, None)


def test_the_interval_of_a_figure_is_students_over_games() -> None:
    from scipy import stats  # takes a second to load

    errors = [1.0, 4.0, 2.0, 8.0, 5.5]
    card = scorecard(settled(*({"game": game, "error": error} for game, error in enumerate(errors))))
    lower, upper = stats.t.interval(0.95, len(errors) - 1, loc=mean(errors), scale=stats.sem(errors))
    assert figure(card.mae).lower == pytest.approx(lower)
    assert figure(card.mae).upper == pytest.approx(upper)


def test_the_difference_from_persistence_is_paired_game_by_game() -> None:
    pairs = [(1.0, 2.0), (11.0, 12.0), (31.0, 32.0)]
    rows = [{"game": game, "error": one, "persistence_error": -other} for game, (one, other) in enumerate(pairs)]
    assert scorecard(settled(*rows)).mae_difference == ScoreEstimate(-1.0, 3, -1.0, -1.0)


def test_coverage_of_several_forecasts_a_game_is_as_uncertain_as_the_games_spread() -> None:
    from scipy import stats  # takes a second to load

    # Forecasts of a game are perfectly correlated here: ten per game carry no more information than one.
    alike = [{"game": game, "minute": minute, "covered": game % 10 != 0} for game in range(40) for minute in range(10)]
    [coverage] = scorecard(settled(*alike)).coverage
    expected = stats.binomtest(36, 40).proportion_ci(method="wilson")
    assert [coverage.lower, coverage.upper] == pytest.approx([expected.low, expected.high])
    assert coverage.forecasts == 400
    # If every game has the same share, the forecasts behave like independent ones.
    apart = [{"game": game, "minute": minute, "covered": minute != 0} for game in range(40) for minute in range(10)]
    [coverage] = scorecard(settled(*apart)).coverage
    expected = stats.binomtest(360, 400).proportion_ci(method="wilson")
    assert [coverage.lower, coverage.upper] == pytest.approx([expected.low, expected.high])


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=12))
def test_a_coverage_lies_in_its_interval_and_both_in_0_to_1(games: list[list[bool]]) -> None:
    rows = [{"game": game, "covered": each} for game, held in enumerate(games) for each in held]
    [coverage] = scorecard(settled(*rows)).coverage
    assert 0.0 <= coverage.lower <= coverage.coverage <= coverage.upper <= 1.0
    assert coverage.upper > coverage.lower
    assert coverage.coverage == pytest.approx(mean(mean(held) for held in games))


def test_each_alpha_has_a_coverage_of_its_own_in_ascending_order() -> None:
    rows = [
        {"game": 0, "alpha": 0.5, "covered": False, "width": 8.0},
        {"game": 1, "alpha": 0.05, "width": 20.0},
        {"game": 1, "alpha": 0.05, "width": 22.0},
        {"game": 2, "alpha": 0.05, "width": 30.0},
    ]
    told = scorecard(settled(*rows)).coverage
    assert [(each.alpha, each.games, each.forecasts, each.coverage) for each in told] == [
        (0.05, 2, 3, 1.0),
        (0.5, 1, 1, 0.0),
    ]
    assert told[0].mean_width == (21.0 + 30.0) / 2


def test_crps_is_of_the_forecasts_that_have_one() -> None:
    rows = [{"crps": math.nan}, {"crps": 3.0}, {"game": 1, "crps": math.nan}, {"game": 2, "crps": 5.0}]
    card = scorecard(settled(*rows))
    assert (figure(card.crps).value, figure(card.crps).games) == (4.0, 2)
    assert card.games == 3
    assert scorecard(settled({"crps": math.nan})).crps is None


_PROBABILITIES = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=30)


def calibration_error(told: Sequence[tuple[float, bool]]) -> float:
    """Return the calibration error of one forecast a game."""
    rows = [{"game": game, "probability": p, "home_led": led} for game, (p, led) in enumerate(told)]
    return scorecard(settled(*rows)).ece


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    """Four forecasts at 0.72, three events (gap 0.03); one at 0.1, no event (gap 0.1): (4 · 0.03 + 1 · 0.1) / 5."""
    told = zip([0.72] * 4 + [0.1], [True, True, True, False, False], strict=True)
    assert calibration_error([*told]) == pytest.approx(0.044)


@given(_PROBABILITIES)
def test_calibration_error_lies_between_the_overall_gap_and_one(told: list[tuple[float, bool]]) -> None:
    stated, came = np.array([p for p, _ in told]), np.array([c for _, c in told])
    assert abs(stated.mean() - came.mean()) - 1e-9 <= calibration_error(told) <= 1 + 1e-9


def test_figures_of_the_winner_stand_beside_those_of_the_leader_on_the_same_games() -> None:
    """Worked out by hand: a lead of 1 and a probability of 1/2 are half right, and a tie is even."""
    rows = [
        {"probability": 0.6, "lead": -1.0},
        {"minute": 30, "probability": 0.8, "lead": 2.0},
        {"game": 1, "probability": 0.5, "lead": 0.0, "home_led": False},
    ]
    card = scorecard(settled(*rows))
    expected = {
        "brier": (0.1 + 0.25) / 2,
        "leader_brier": (0.5 + 0.25) / 2,
        "brier_difference": (-0.4 + 0.0) / 2,
        "accuracy": (1.0 + 0.5) / 2,
        "leader_accuracy": (0.5 + 0.5) / 2,
        "roc_auc": 1.0,
        "persistence_roc_auc": 0.5,
    }
    assert {name: figure(getattr(card, name)).value for name in expected} == pytest.approx(expected)
    assert figure(card.roc_auc) == ScoreEstimate(1.0, 2), "one game led and one not have no interval"
    assert scorecard(settled(*rows[:2])).roc_auc is None


def test_the_area_under_the_roc_curve_is_scikit_learns_with_delongs_interval_over_games() -> None:
    from sklearn.metrics import roc_auc_score  # takes a second to load

    rng = np.random.default_rng(4)
    led, forecasts = rng.random(40) < 0.5, rng.integers(1, 4, 40)
    games, chances = np.repeat(np.arange(40), forecasts), np.round(rng.random(forecasts.sum()), 1)
    minutes = np.concatenate([np.arange(count) for count in forecasts])
    rows = zip(games, minutes, chances, led[games], strict=True)
    names = ("game", "minute", "probability", "home_led")
    found = figure(scorecard(settled(*(dict(zip(names, row, strict=True)) for row in rows))).roc_auc)
    weights = 1.0 / forecasts[games]
    assert found.value == pytest.approx(roc_auc_score(led[games], chances, sample_weight=weights))
    above = np.sign(chances[led[games]][:, None] - chances[~led[games]]) / 2 + 0.5
    of_led, of_others = weights[led[games]], weights[~led[games]]
    parts = [
        [np.average((above @ of_others / of_others.sum())[games[led[games]] == game]) for game in np.flatnonzero(led)],
        [np.average((of_led @ above / of_led.sum())[games[~led[games]] == game]) for game in np.flatnonzero(~led)],
    ]
    half = 1.959964 * math.sqrt(sum(np.var(each, ddof=1) / len(each) for each in parts))
    assert [found.lower, found.upper] == pytest.approx([found.value - half, found.value + half])


def test_a_scorecard_may_be_of_the_newest_games_that_count() -> None:
    rows = [{"game": game, "order": order, "exclusion": 1 * (game == 3)} for game, order in enumerate((5, 9, 7, 8))]
    told = settled(*rows, {"game": 2, "order": 7})
    assert told.newest(2).game.tolist() == [1, 2, 3, 2]
    assert [len(told.newest(games)) for games in (1, 3, 99)] == [1, 5, 5]


@given(st.permutations(range(8)))
def test_the_order_of_rows_makes_no_difference(order: list[int]) -> None:
    rng = np.random.default_rng(5)
    rows = [
        {
            "game": game % 3,
            "error": float(rng.normal()),
            "covered": bool(rng.integers(2)),
            "probability": float(rng.random()),
            "stake": 0.05,
            "profit": float(rng.choice((-0.05, 0.04))),
            "expected_profit": 0.001,
            "order": game,
        }
        for game in range(8)
    ]
    assert flat(scorecard(settled(*(rows[place] for place in order)))) == pytest.approx(flat(scorecard(settled(*rows))))


def flat(card: Scorecard) -> NDArray[np.float64]:
    assert card.market is not None
    [coverage] = card.coverage
    figures = [figure(each) for each in (card.mae, card.persistence_mae, card.mae_difference, card.crps, card.brier)]
    told = [value for each in figures for value in (each.value, each.lower or 0.0, each.upper or 0.0)]
    return np.array(
        [*told, card.ece, coverage.coverage, coverage.lower, card.market.total_return, card.market.max_drawdown]
    )


BARE = Scorecard()


def card(value: float, games: int = 100) -> Scorecard:
    told = ScoreEstimate(value, games)
    market = None if value == 1.0 else record(value, games)
    figures = dict.fromkeys(("mae", "crps", "brier", "mae_difference", "accuracy", "roc_auc"), told)
    return replace(BARE, games=games, market=market, **figures)


def record(roi: float, games: int) -> MarketRecord:
    return MarketRecord(games, games, 1.0, roi, roi, roi, None, 0.0, None, None, 0.0, 0, 0, 0, games, 0)


@pytest.mark.parametrize(
    ("metric", "limit", "expected"),
    [
        (CRPS, 0, [(1, "b", 1.0), (2, "a", 2.0), (2, "c", 2.0), (4, "d", 4.0)]),
        (CRPS, 2, [(1, "b", 1.0), (2, "a", 2.0)]),
        (LeaderboardMetric.ACCURACY, 0, [(1, "d", 4.0), (2, "a", 2.0), (2, "c", 2.0), (4, "b", 1.0)]),
        (LeaderboardMetric.ROC_AUC, 1, [(1, "d", 4.0)]),
        (LeaderboardMetric.ROI, 9, [(1, "d", 4.0), (2, "a", 2.0), (2, "c", 2.0)]),
    ],
)
def test_the_best_value_is_first_and_equal_ones_share_a_rank(
    metric: LeaderboardMetric, limit: int, expected: list[tuple[int, str, float]]
) -> None:
    cards = {"d": card(4.0), "c": card(2.0), "a": card(2.0), "b": card(1.0)}
    found = leaderboard(cards, metric, 100, limit)
    assert [(each.rank, each.model_version, each.value) for each in found] == expected


@pytest.mark.parametrize("metric", [CRPS, MAE, LeaderboardMetric.BRIER, LeaderboardMetric.MAE_DIFFERENCE])
def test_a_version_whose_figure_is_of_too_few_games_is_not_listed(metric: LeaderboardMetric) -> None:
    cards = {"few": card(1.0, 99), "enough": card(2.0, 100), "none": BARE}
    assert [each.model_version for each in leaderboard(cards, metric, 100)] == ["enough"]
    # Few of many games have a CRPS.
    cards["enough"] = replace(cards["enough"], games=1000, crps=ScoreEstimate(2.0, 99))
    assert bool(leaderboard(cards, metric, 100)) == (metric is not CRPS)


def test_of_many_alphas_those_of_most_games_have_a_coverage() -> None:
    """Every recorded forecast can have its own alpha; a card stays readable, and has the usual alpha."""
    more = [{"game": game, "alpha": 0.5} for game in range(3)]
    made = ({"game": game, "alpha": 0.1 + number / 1000} for game in (0, 1) for number in range(300))
    told = scorecard(settled({"game": 0, "alpha": 0.05}, *more, *made)).coverage
    assert [each.alpha for each in told] == [0.05, *(0.1 + number / 1000 for number in range(18)), 0.5]


def test_the_coverage_gap_is_the_distance_from_the_nominal_one_at_alpha_5() -> None:
    def covering(share: float, games: int = 100, alpha: float = 0.05) -> Scorecard:
        return replace(BARE, games=games, coverage=(Coverage(alpha, games, games, share, 0.0, 1.0, 20.0),))

    cards = {
        "wide": covering(0.99),
        "near": covering(0.94),
        "other": covering(0.95, alpha=0.1),
        "few": covering(0.95, 5),
    }
    told = leaderboard(cards, LeaderboardMetric.COVERAGE_GAP, 100)
    assert [(each.model_version, round(each.value, 12)) for each in told] == [("near", 0.01), ("wide", 0.04)]


def test_reliability_of_a_case_worked_out_by_hand() -> None:
    """A game with two minutes, one of them in the bin, has half the weight in it of a game with one."""
    rows = [
        {"probability": 0.72, "home_led": False},
        {"minute": 30, "probability": 0.2, "home_led": False},
        {"game": 1, "probability": 0.78, "home_led": True},
        {"game": 2, "probability": 1.0, "home_led": True},
    ]
    low, middle, high = scorecard(settled(*rows)).reliability
    assert (low.from_probability, low.to_probability, low.games, low.forecasts, low.rate) == (0.2, 0.3, 1, 1, 0.0)
    assert (middle.games, middle.forecasts) == (2, 2)
    assert middle.mean_probability == pytest.approx((0.5 * 0.72 + 0.78) / 1.5)
    assert middle.rate == pytest.approx(1 / 1.5)
    trials = 1.5**2 / (0.5**2 + 1.0)
    centre = (2 / 3 + 1.96**2 / (2 * trials)) / (1 + 1.96**2 / trials)
    assert (middle.lower + middle.upper) / 2 == pytest.approx(centre, abs=1e-4)
    assert (high.from_probability, high.to_probability, high.rate, high.upper) == (0.9, 1.0, 1.0, 1.0)


@given(_PROBABILITIES, st.integers(2, 5))
def test_bins_of_reliability_hold_every_forecast_once_and_their_intervals_the_rate(
    told: list[tuple[float, bool]], times: int
) -> None:
    once = [{"game": game // 2, "probability": p, "home_led": led} for game, (p, led) in enumerate(told)]
    bins = scorecard(settled(*once, *[once[0]] * times)).reliability
    assert sum(each.forecasts for each in bins) == len(once) + times
    for each in bins:
        assert each.from_probability <= each.mean_probability + 1e-9 <= each.to_probability + 2e-9
        assert 0 <= each.lower <= each.rate <= each.upper <= 1
