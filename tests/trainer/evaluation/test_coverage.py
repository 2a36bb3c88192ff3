"""Coverage, overall and by group, with the chance of test and calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.folds import two_folds
from tests.support.harness.present import present

from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_models.uncertainty.lead_groups import lead_groups
from dejavu_trainer.evaluation.coverage import (
    MIN_GAMES,
    EmpiricalCoverage,
    conformal_region,
    coverage,
    coverage_groups,
    detected_rate,
)
from dejavu_trainer.evaluation.figures import ALL, LEADS
from dejavu_trainer.evaluation.scoring.fold_scores import SERVED
from dejavu_trainer.evaluation.table import Table, pool
from dejavu_trainer.evaluation.verdict import groups_check

FINAL = Horizon.FINAL.value


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
        case = CASES.index((HORIZONS.index(horizon), group.minute))
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
