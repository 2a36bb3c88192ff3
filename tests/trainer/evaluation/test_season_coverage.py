from __future__ import annotations

import numpy as np
import pytest
from tests.support.builders.folds import two_folds

from dejavu_models.types import Horizon
from dejavu_trainer.evaluation.coverage import covered_shares
from dejavu_trainer.evaluation.scoring.fold_scores import SERVED
from dejavu_trainer.evaluation.season_coverage import chance_shares, season_coverages, spread_by_chance

ALPHAS = (0.05, 0.2, 0.5)
GAMES, SEASONS = 400, 7
SHARES = np.array([[-0.5 * (s - 2 <= c < s) + (c == s) for c in range(SEASONS)] for s in range(2, SEASONS)])
"""Each season is calibrated on the two before it, as in a walk-forward."""


def walk_forward(generator: np.random.Generator, scales: np.ndarray) -> list[np.ndarray]:
    """Return the coverage of conformal intervals by fold, (games, levels) each, for residuals with given scales."""
    residuals = generator.standard_normal((SEASONS, GAMES)) * scales[:, None]
    folds = []
    for season in range(2, SEASONS):
        known = np.sort(residuals[season - 2 : season].ravel())
        ranks = [int((len(known) + 1) * alpha / 2) for alpha in ALPHAS]
        ends = [(known[rank - 1], known[-rank]) for rank in ranks]
        folds.append(np.stack([(low <= residuals[season]) & (residuals[season] <= high) for low, high in ends], axis=1))
    return [fold.astype(float) for fold in folds]


def alarms(runs: int, spread_of_scales: float) -> float:
    """Return the share of walk-forwards in which some level differs between seasons by more than its bound."""
    generator = np.random.default_rng(3)
    found = 0
    games = np.full(SEASONS, float(GAMES))
    chance, bound = spread_by_chance(walk_forward(generator, np.ones(SEASONS)), (SHARES, games))
    for _ in range(runs):
        folds = walk_forward(generator, np.exp(generator.normal(0, spread_of_scales, SEASONS)))
        spread = np.std([fold.mean(axis=0) for fold in folds], axis=0, ddof=1)
        found += bool((spread > bound).any())
    assert (chance < bound).all()
    return found / runs


@pytest.mark.nightly
def test_seasons_that_are_alike_rarely_raise_an_alarm() -> None:
    """Conformal intervals on residuals of one law: the stated rate is one alarm in 100 walk-forwards."""
    assert alarms(2000, 0.0) == pytest.approx(0.01, abs=0.008)


def test_seasons_whose_errors_differ_in_size_raise_it() -> None:
    assert alarms(100, 0.15) > 0.8


@pytest.mark.nightly
def test_the_chance_told_is_that_of_the_walk_forward() -> None:
    generator = np.random.default_rng(4)
    games = np.full(SEASONS, float(GAMES))
    runs = [walk_forward(generator, np.ones(SEASONS)) for _ in range(1000)]
    squares = [np.var([fold.mean(axis=0) for fold in folds], axis=0, ddof=1) for folds in runs]
    chance = np.mean([spread_by_chance(folds, (SHARES, games), 0)[0] for folds in runs[:5]], axis=0)
    assert np.sqrt(np.mean(squares, axis=0)) == pytest.approx(chance, rel=0.08)


def test_a_season_counts_for_its_own_fold_and_against_those_calibrated_on_it() -> None:
    shares, games = chance_shares(two_folds())
    assert shares.tolist() == [[-1, 1, 0], [0, -1, 1]]
    assert games.tolist() == [300, 300, 300]


def test_every_coverage_of_every_season_has_its_interval() -> None:
    folds = two_folds()
    found = season_coverages(folds)
    assert len(found) == len(SERVED) * 2 * len(ALPHAS)
    for each in found:
        assert set(each.seasons) == {"2033", "2034"}
        horizon = Horizon(each.horizon)
        of_folds = [
            covered_shares(fold, each.forecaster, horizon, horizon.forecast_minutes, each.level) for fold in folds
        ]
        expected = [of_fold[1].mean() for of_fold in of_folds if of_fold is not None]
        values = np.array([season.value for season in each.seasons.values()])
        assert each.spread == pytest.approx(np.std(values - expected, ddof=1))
        assert each.bound / each.chance == pytest.approx(found[0].bound / found[0].chance)
        for season in each.seasons.values():
            assert season.lower < season.value < season.upper


def test_a_single_season_has_no_spread() -> None:
    assert season_coverages(two_folds()[:1]) == []
