"""Tables of scores, and their figures and coverages by group, with the game as the unit of chance."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.folds import figure, result_of_two_folds, two_folds, walk_fold
from tests.support.harness.present import present

from dejavu_feed.errors import DataError
from dejavu_models.metrics import ECE_BINS, probability_bin
from dejavu_models.types import HORIZONS, ROWS, Horizon
from dejavu_trainer.evaluation.coverage import (
    MIN_GAMES,
    EmpiricalCoverage,
    conformal_region,
    coverage,
    coverage_groups,
    detected_rate,
)
from dejavu_trainer.evaluation.figures import (
    ALL,
    BANDS,
    LEADS,
    METRICS,
    MOMENTS,
    OVERTIME,
    Figures,
    Table,
    groups,
    lead_groups,
    pool,
    read_table,
)
from dejavu_trainer.evaluation.fold_scores import SERVED
from dejavu_trainer.evaluation.verdict import groups_check


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[: len(content) // 2],
        lambda _: Table({"fold.season": np.arange(1), "game.season": np.arange(0)}).to_bytes(),
        lambda _: Table(small().columns | {"final.lead": small().columns["final.lead"][1:]}).to_bytes(),
    ],
    ids=["cut off", "no games", "leads"],
)
def test_files_that_are_no_table_are_refused_by_name(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "fold.npz"
    path.write_bytes(spoil(small().to_bytes()))
    with pytest.raises(DataError, match=r"fold\.npz: is not a valid walk-forward fold: .*delete it to recompute"):
        read_table(path)


def small() -> Table:
    """Return a fold with one forecaster."""
    table = walk_fold()
    return Table({name: each for name, each in table.columns.items() if name.count(".") == 1 or ".served." in name})


def test_pooled_tables_have_all_rows_and_the_forecasters_that_all_have() -> None:
    first, second = two_folds()
    lacking = Table({name: each for name, each in second.columns.items() if ".frozen." not in name})
    pooled = pool([first, lacking])
    assert pooled.columns["fold.season"].tolist() == [2033, 2034]
    assert len(pooled) == len(first) + len(second) == 600
    assert pooled.targets == first.targets
    for horizon in HORIZONS:
        target = horizon.value
        assert set(pooled.forecasters(target)) == set(first.forecasters(target)) - {"frozen"}
        crps, season = pooled.of(target, "served.crps"), pooled.columns["game.season"][pooled.of(target, "game")]
        assert len(crps) == 600 * horizon.last_slot
        for table in (first, second):
            assert np.array_equal(crps[season == table.columns["fold.season"][0]], table.of(target, "served.crps"))
    with pytest.raises(ValueError, match="no fold"):
        pool([])


FINAL, HALF = Horizon.FINAL.value, Horizon.HALFTIME.value


@pytest.fixture(scope="module")
def figures() -> Figures:
    return result_of_two_folds().figures


@pytest.mark.parametrize(("kind", "name"), [("season", "2034"), ("lead", "9-15"), ("late", "42–47")])
def test_figures_are_means_over_the_forecasts_of_a_group_within_their_intervals(
    figures: Figures, kind: str, name: str
) -> None:
    table = figures.table
    minute = table.of(FINAL, "second") / 60
    which = {
        "season": table.columns["game.season"][table.of(FINAL, "game")] == 2034,
        "lead": lead_groups(table.of(FINAL, "lead")) == 2,
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


@pytest.fixture(scope="module")
def good() -> Table:
    return pool(two_folds())


@given(st.integers(1, 60), st.integers(9, 60), st.sampled_from([0.5, 0.8, 0.95]), st.sampled_from([0.9, 0.99]))
def test_a_conformal_region_is_the_exact_central_one(trials: int, calibration: int, alpha: float, level: float) -> None:
    """The ranks of the residuals that bound the interval are the same for any order of calibration and test games."""
    first, last = conformal_region(((trials, calibration),), alpha, level)
    missed = 2 * math.floor((calibration + 1) * alpha / 2)
    held = calibration + 1 - missed

    def between(low: int, high: int) -> float:
        # Pólya urn: `held` gaps between calibration residuals inside the interval, `missed` gaps outside.
        ways = (
            math.comb(held + k - 1, k) * math.comb(missed + trials - k - 1, trials - k) for k in range(low, high + 1)
        )
        return sum(ways) / math.comb(calibration + trials, trials)

    tail = (1 - level) / 2
    assert between(0, first - 1) <= tail < between(0, first)
    assert between(last + 1, trials) <= tail < between(last, trials)


def test_several_tests_with_calibrations_of_their_own_have_the_region_of_their_sum() -> None:
    rng = np.random.default_rng(5)
    draws, held = 20000, np.zeros(20000)
    for trials, calibration in ((40, 99), (60, 199)):
        missed = 2 * math.floor((calibration + 1) * 0.2 / 2)
        rates = rng.beta(calibration + 1 - missed, missed, draws)
        held += rng.binomial(trials, rates)
    first, last = conformal_region(((40, 99), (60, 199)), 0.2, 0.9)
    outside = np.mean(held < first), np.mean(held > last)
    assert max(outside) <= 0.05 + 0.005
    assert np.mean(held <= first) > 0.05 - 0.005
    assert np.mean(held >= last) > 0.05 - 0.005


@given(st.data(), st.integers(1, 120), st.sampled_from([0.5, 0.8, 0.95]))
def test_a_region_excludes_the_rate_that_it_detects_with_the_stated_power(
    data: st.DataObject, trials: int, power: float
) -> None:
    first = data.draw(st.integers(0, trials))
    rate = detected_rate(trials, first, power)
    below = sum(math.comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(first))
    assert below == pytest.approx(power if first else 0)


def test_groups_are_counted_as_they_are(good: Table) -> None:
    groups = coverage_groups(good, SERVED)
    assert {group.forecaster for group in groups} == set(SERVED)
    smallest = min(group.games for group in groups)
    assert smallest >= MIN_GAMES
    assert f"at nominal 95 %, a group of {smallest} games passes if" in groups_check(groups).found
    corrected = 1 - 0.01 / len(groups)
    for group in groups[:: len(groups) // 25]:
        horizon = Horizon(group.target)
        case = ROWS[horizon, group.minute]
        lead = None if group.lead == ALL else LEADS.index(group.lead)
        pairs, held = [], 0
        for fold in two_folds():
            of_lead = lead_groups(fold.by_minute(horizon, "lead")[:, group.minute - 1])
            which = (of_lead == lead) | (lead is None)
            behind = fold.columns["fold.calibration_games" if lead is None else "fold.cell_games"][0]
            pairs.append((int(which.sum()), int(behind if lead is None else behind[case, lead])))
            covered = fold.by_minute(horizon, f"{group.forecaster}.held_{group.level}")
            held += int(covered[which, group.minute - 1].sum())
        assert (group.games, group.held) == (sum(games for games, _ in pairs), held)
        alpha = {95: 0.05, 80: 0.2, 50: 0.5}[group.level]
        assert (group.first, group.last) == conformal_region(tuple(pairs), alpha, corrected)
        assert group.agrees == (group.first <= held <= group.last)


def at(table: Table, target: str, minute: int, level: int) -> EmpiricalCoverage:
    rows = np.flatnonzero(table.of(target, "second") == 60 * minute)
    return present(coverage(table, target, "served", level, rows=rows))


def test_a_coverage_counts_the_chance_of_test_and_calibration() -> None:
    found = at(two_folds()[0], Horizon.HALFTIME.value, 18, 80).found
    rate = found.value
    assert (found.upper - found.lower) / 2 == pytest.approx(2.5758 * (rate * (1 - rate) * (2 / 300)) ** 0.5, rel=1e-3)


def test_what_is_due_is_what_the_number_of_calibration_games_allows(good: Table) -> None:
    """With 100 games and alpha 0.05, the 2nd smallest and largest ranks cover 97/101; more games approach 0.95."""
    of_100 = Table(good.columns | {"fold.calibration_games": np.array([100, 100])})
    assert at(of_100, FINAL, 24, 95).due == pytest.approx(97 / 101)
    for level in (95, 80, 50):
        assert level / 100 <= at(good, FINAL, 24, level).due <= level / 100 + 2 / 301
