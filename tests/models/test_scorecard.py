"""Scorecards and leaderboards: comparison with reference computations, and invariants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from statistics import NormalDist, mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.models.settled_forecasts import settled

from dejavu_models.metrics import student_quantile
from dejavu_models.scorecard import (
    Coverage,
    LeaderboardMetric,
    Scorecard,
    ScoreEstimate,
    SettledForecasts,
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


def test_of_several_forecasts_of_a_minute_the_mean_counts() -> None:
    card = scorecard(settled({"error": 2.0}, {"error": 6.0}, {"minute": 30, "error": 1.0}))
    assert figure(card.mae).value == (4.0 + 1.0) / 2


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


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 30, 99, 100, 101, 102, 1000, 100_000])
def test_the_quantile_of_students_t_is_that_of_scipy(degrees: int) -> None:
    from scipy import stats  # takes a second to load

    assert student_quantile(degrees) == pytest.approx(float(stats.t.ppf(0.975, degrees)), rel=1e-9)


def test_there_is_no_t_without_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="0 degrees"):
        student_quantile(0)


def test_coverage_has_wilsons_interval_where_each_game_has_one_forecast() -> None:
    from scipy import stats  # takes a second to load

    rows = [{"game": game, "covered": game % 10 != 0} for game in range(40)]
    [coverage] = scorecard(settled(*rows)).coverage
    expected = stats.binomtest(36, 40).proportion_ci(method="wilson")
    assert (coverage.coverage, coverage.games, coverage.forecasts) == (0.9, 40, 40)
    assert [coverage.lower, coverage.upper] == pytest.approx([expected.low, expected.high])


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


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.05, 0.1, 0.2, 0.5]), st.booleans()), min_size=1))
def test_the_coverage_of_an_alpha_is_that_of_its_forecasts_alone(rows: list[tuple[int, float, bool]]) -> None:
    whole = settled(*({"game": game, "alpha": alpha, "covered": covered} for game, alpha, covered in rows))
    alone = (whole.where(whole.alpha == alpha) for alpha in np.unique(whole.alpha))
    assert scorecard(whole).coverage == tuple(scorecard(each).coverage[0] for each in alone)


def test_crps_is_of_the_forecasts_that_have_one() -> None:
    rows = [{"crps": math.nan}, {"crps": 3.0}, {"game": 1, "crps": math.nan}, {"game": 2, "crps": 5.0}]
    card = scorecard(settled(*rows))
    assert (figure(card.crps).value, figure(card.crps).games) == (4.0, 2)
    assert card.games == 3
    assert scorecard(settled({"crps": math.nan})).crps is None


_PROBABILITIES = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=30)


def calibration_error(told: Sequence[tuple[float, bool]]) -> float:
    """Returns the calibration error of one forecast a game."""
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


@given(_PROBABILITIES, st.randoms(use_true_random=False))
def test_calibration_error_does_not_depend_on_the_order(told: list[tuple[float, bool]], random: Random) -> None:
    assert calibration_error(random.sample(told, len(told))) == pytest.approx(calibration_error(told))


@given(_PROBABILITIES, st.integers(2, 5))
def test_a_game_with_many_forecasts_weighs_as_one_with_one(told: list[tuple[float, bool]], times: int) -> None:
    once = [{"game": game, "probability": p, "home_led": led} for game, (p, led) in enumerate(told)]
    more = [*once, *(row for row in once if row["game"] == 0 for _ in range(times))]
    assert scorecard(settled(*more)).ece == pytest.approx(scorecard(settled(*once)).ece)


def test_the_leaders_brier_score_stands_beside_on_the_same_games() -> None:
    card = scorecard(settled({"brier": 0.16}, {"brier": 0.04, "leader_brier": 1.0}, {"game": 1, "leader_brier": 0.25}))
    assert figure(card.leader_brier).value == pytest.approx((0.5 + 0.25) / 2)
    assert figure(card.brier_difference).value == pytest.approx(((0.1 - 0.5) + (0.16 - 0.25)) / 2)


def bets(*told: tuple[float, float], orders: list[int] | None = None) -> SettledForecasts:
    places = list(range(len(told))) if orders is None else orders
    rows = [
        {"game": game, "stake": stake, "profit": profit, "expected_profit": 0.1 * stake, "order": order}
        for game, ((stake, profit), order) in enumerate(zip(told, places, strict=True))
    ]
    return settled(*rows)


def test_without_a_market_there_is_no_record_of_bets() -> None:
    assert scorecard(settled({})).market is None


def test_a_market_without_a_stake_is_counted_and_no_bet() -> None:
    record = scorecard(bets((0.0, 0.0))).market
    assert record is not None
    assert (record.markets, record.bets, record.roi, record.sharpe) == (1, 0, None, None)
    assert (record.staked, record.profit, record.total_return, record.max_drawdown) == (0.0, 0.0, 0.0, 0.0)


def test_bets_are_added_up_and_compounded() -> None:
    profits = [0.05, -0.05, -0.04, 0.02]
    record = scorecard(bets(*((abs(profit), profit) for profit in profits), (0.01, 0.0), (0.0, 0.0))).market
    assert record is not None
    assert (record.bets, record.markets) == (5, 6)
    assert (record.won, record.lost, record.pushed) == (2, 2, 1)
    assert record.staked == pytest.approx(0.17)
    assert record.profit == pytest.approx(-0.02)
    assert record.roi == pytest.approx(-0.02 / 0.17)
    assert record.total_return == pytest.approx(1.05 * 0.95 * 0.96 * 1.02 - 1.0)
    assert record.sharpe == pytest.approx(mean([*profits, 0.0]) / stdev([*profits, 0.0]))
    assert record.max_drawdown == pytest.approx(1.0 - 0.95 * 0.96)


def test_bets_of_a_game_are_open_together_and_one_profit() -> None:
    told = [(0, 0.05, 0.05), (0, 0.05, 0.04), (1, 0.05, -0.05), (1, 0.05, -0.05), (1, 0.02, 0.01), (2, 0.05, 0.03)]
    rows = [
        {"game": game, "minute": 6 + place, "stake": stake, "profit": profit, "order": game}
        for place, (game, stake, profit) in enumerate(told)
    ]
    record = scorecard(settled(*rows)).market
    assert record is not None
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
    record = scorecard(settled(*rows)).market
    assert record is not None
    roi = 0.02 / 0.17
    assert record.roi == pytest.approx(roi)
    # Jackknife of the same ratio, in first order: residuals profit − roi · stake.
    residuals = [profit - roi * stake for stake, profit in ((0.1, 0.04), (0.05, -0.05), (0.02, 0.03))]
    assert sum(residuals) == pytest.approx(0.0)
    half = student_quantile(2) * math.sqrt(3.0) * stdev(residuals) / 0.17
    assert record.roi_lower == pytest.approx(max(roi - half, -1.0))
    assert record.roi_upper == pytest.approx(roi + half)
    assert (record.games, record.won, record.lost, record.pushed) == (3, 2, 2, 0)
    assert record.expected_profit == pytest.approx(0.017)


def test_a_bankroll_that_is_lost_stays_lost() -> None:
    rows = [{"game": 0, "minute": minute, "stake": 0.05, "profit": -0.05, "order": 0} for minute in range(1, 31)]
    record = scorecard(settled(*rows, {"game": 1, "stake": 0.05, "profit": 0.1, "order": 1})).market
    assert record is not None
    assert (record.total_return, record.max_drawdown) == (-1.0, 1.0)


def test_a_bankroll_runs_in_the_order_of_outcomes() -> None:
    lost_last = scorecard(bets((0.5, -0.5), (0.5, 0.5), orders=[2, 1])).market
    lost_first = scorecard(bets((0.5, -0.5), (0.5, 0.5), orders=[1, 2])).market
    assert lost_last is not None
    assert lost_first is not None
    assert lost_last.total_return == lost_first.total_return == pytest.approx(-0.25)
    assert lost_last.max_drawdown == lost_first.max_drawdown == 0.5
    rising = scorecard(bets((0.1, -0.1), (0.2, -0.2), (0.5, 0.5), orders=[1, 3, 2])).market
    assert rising is not None
    assert rising.max_drawdown == pytest.approx(0.2)


def test_equal_profits_have_no_sharpe_ratio() -> None:
    for told in ([(0.1, 0.1)], [(0.1, 0.1)] * 3):
        record = scorecard(bets(*told)).market
        assert record is not None
        assert record.sharpe is None


@given(st.lists(st.integers(-20, 40).map(lambda percent: percent / 100), min_size=1, max_size=20))
def test_a_drawdown_is_a_share_and_none_where_nothing_was_lost(profits: list[float]) -> None:
    record = scorecard(bets(*((0.2, profit) for profit in profits))).market
    assert record is not None
    assert 0.0 <= record.max_drawdown < 1.0
    assert (record.max_drawdown == 0.0) == all(profit >= 0.0 for profit in profits)
    assert record.total_return == pytest.approx(math.prod(1.0 + profit for profit in profits) - 1.0, abs=1e-12)


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
    return replace(BARE, games=games, mae=told, crps=told, brier=told, mae_difference=told)


def test_the_least_value_is_first_and_equal_ones_share_a_rank() -> None:
    cards = {"d": card(4.0), "c": card(2.0), "a": card(2.0), "b": card(1.0)}
    told = [(each.rank, each.model_version, each.value) for each in leaderboard(cards, CRPS, 100)]
    assert told == [(1, "b", 1.0), (2, "a", 2.0), (2, "c", 2.0), (4, "d", 4.0)]


@pytest.mark.parametrize("metric", [CRPS, MAE, LeaderboardMetric.BRIER, LeaderboardMetric.MAE_DIFFERENCE])
def test_a_version_whose_figure_is_of_too_few_games_is_not_listed(metric: LeaderboardMetric) -> None:
    cards = {"few": card(1.0, 99), "enough": card(2.0, 100), "none": BARE}
    assert [each.model_version for each in leaderboard(cards, metric, 100)] == ["enough"]
    # Few of many games have a CRPS.
    cards["enough"] = replace(cards["enough"], games=1000, crps=ScoreEstimate(2.0, 99))
    assert bool(leaderboard(cards, metric, 100)) == (metric is not CRPS)


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


def test_the_normal_quantile_is_the_limit_of_students() -> None:
    assert student_quantile(10**9) == pytest.approx(NormalDist().inv_cdf(0.975))
