"""Figures of a table: means over the forecasts of groups, paired differences, with the game as the unit of chance."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.folds import figure, result_of_two_folds
from tests.support.harness.present import present

from dejavu_models.metrics import ECE_BINS, probability_bin
from dejavu_models.types import Horizon
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.figures import BANDS, OVERTIME, Figures, groups
from dejavu_trainer.evaluation.table import METRICS, MOMENTS, Table

FINAL, HALF = Horizon.FINAL.value, Horizon.HALFTIME.value


@pytest.fixture(scope="module")
def figures() -> Figures:
    return result_of_two_folds().figures


@pytest.mark.parametrize(
    ("kind", "name"), [("all", "all"), ("season", "2034"), ("lead", "9-15"), ("minute", "30"), ("late", "42–47")]
)
def test_figures_are_means_over_the_forecasts_of_a_group_within_their_intervals(
    figures: Figures, kind: str, name: str
) -> None:
    table = figures.table
    minute = table.of(FINAL, "second") / 60
    which = {
        "all": minute > 0,
        "season": table.columns["game.season"][table.of(FINAL, "game")] == 2034,
        "lead": lead_groups(table.of(FINAL, "lead")) == 2,
        "minute": minute == 30,
        "late": minute >= 42,
    }[kind]
    for metric in METRICS[:-1]:
        losses = present(table.losses(FINAL, "frozen", metric))
        mean = losses[which].mean()
        estimate = figure(figures, FINAL, "frozen", metric, kind=kind, group=name)
        assert estimate.value == pytest.approx(mean**0.5 if metric == "rmse" else mean)
        assert estimate.lower <= estimate.value <= estimate.upper
    assert figures.get(FINAL, "logistic", "crps") is None


def test_calibration_errors_are_those_of_all_probabilities_together(figures: Figures) -> None:
    probability = figures.table.of(FINAL, "logistic.probability").astype(float)
    bins, gaps = probability_bin(probability), probability - (figures.table.of(FINAL, "outcome") > 0)
    expected = sum(abs(gaps[bins == number].sum()) for number in range(ECE_BINS)) / gaps.size
    assert figure(figures, FINAL, "logistic", "ece").value == pytest.approx(expected)


def test_differences_are_paired_and_relative_to_the_reference(figures: Figures) -> None:
    mine, theirs = (figure(figures, FINAL, name, "crps") for name in ("served", "persistence"))
    difference = figure(figures, FINAL, "served", "crps", "persistence", compare="difference")
    assert difference.value == pytest.approx(mine.value - theirs.value)
    assert difference.upper < 0
    assert difference.upper - difference.lower < mine.upper - mine.lower
    assert figure(figures, FINAL, "served", "crps", "persistence").value == pytest.approx(mine.value / theirs.value - 1)
    assert figures.get(FINAL, "served", "crps", "logistic") is None


def test_differences_by_season_have_students_interval_of_their_means(figures: Figures) -> None:
    from scipy import stats

    for kind, group in (("all", "all"), ("minute", "18")):
        table, rows = figures.table, figures.groups(FINAL, kind)[group]
        season = table.columns["game.season"][table.of(FINAL, "game")[rows]]
        own, other = (table.of(FINAL, f"{name}.crps")[rows].astype(float) for name in ("served", "linear"))
        shares = [own[season == each].mean() / other[season == each].mean() - 1 for each in (2033, 2034)]
        interval = stats.ttest_1samp(shares, 0).confidence_interval(0.95)
        by_season = figure(figures, FINAL, "served", "crps", "linear", kind=kind, group=group, compare="seasons")
        assert by_season == pytest.approx((np.mean(shares), interval.low, interval.high))
    assert figures.get(FINAL, "served", "crps", "linear", kind="season", group="2033", compare="seasons") is None


def test_references_that_can_be_perfect_have_no_relative_figure() -> None:
    rng = np.random.default_rng(1)
    scores = {"one.crps": rng.random(5), "none.crps": np.array([0.0, 0, 0, 0, 1])}
    zeros = np.zeros(5)
    rows = {"game": np.arange(5), "second": zeros, "outcome": zeros}
    of_target = {f"tip-off.{name}": each for name, each in (rows | scores).items()}
    made = Figures(Table({"game.season": zeros, **of_target}))
    assert made.get("tip-off", "one", "crps", "none") is None
    assert made.get("tip-off", "one", "crps", "none", compare="difference") is not None


def test_moments_are_grouped_by_time_left_and_count_as_one_a_game() -> None:
    target, second = MOMENTS[Horizon.FINAL], np.array([2640.0, 2760, 2820, 2850, 2879, 2880, 3179, 3180])
    game = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    crps = np.array([3.0, 1, 2, 9, 4, 6, 8, 7])
    columns = {"game": game, "second": second, "outcome": np.ones(8), "served.crps": crps}
    table = Table({"game.season": np.zeros(2), **{f"{target}.{name}": each for name, each in columns.items()}})
    assert {name: rows.tolist() for name, rows in groups(table, target, "band").items()} == {
        "44:00–48:00": [0, 1, 2, 3, 4], "44:00–46:00": [0], "46:00–47:00": [1],
        "last minute": [2, 3, 4], "last 30 s": [3, 4], "last 10 s": [4], OVERTIME: [5, 6, 7],
    }  # fmt: skip
    assert set(groups(table, target, "band")) == {*BANDS[Horizon.FINAL], OVERTIME}
    made = Figures(table, resamples=50)
    for group, mean in (("44:00–48:00", (2 + 6.5) / 2), ("last minute", (2 + 6.5) / 2), (OVERTIME, 7)):
        assert figure(made, target, "served", "crps", kind="band", group=group).value == pytest.approx(mean)
    assert made.games(target, "band", OVERTIME) == 1
