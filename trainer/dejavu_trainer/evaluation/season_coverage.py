"""Coverage by season, and whether seasons differ by more than chance.

A pooled coverage is also right if intervals are too narrow in one season and too wide in another. Here each season is
compared with its own interval, and the standard deviation between the seasons with that of chance alone.

The sampling error has known parts. To first order, the coverage of season s deviates from the expected one by
e(s) − Σ w(c) e(c). e(s) is the sampling error of its own games; e(c) is that of a calibration season c, whose share of
the calibration games is w(c): intervals from residuals that are large by chance are too wide. So neighbouring folds,
which share a calibration season, are dependent, and a tested season that is later a calibration season enters with the
opposite sign: seasons spread more than independent ones would. The simulated bound includes all of this.

Intervals that follow a season (`uncertainty/season_scale.py`) compensate part of its own sampling error. The simulation
ignores this, so their bound is too wide, by about two thirds (`bench/lifecycle/season_chance.py` of
commit 9b54f31d).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.metrics import Estimate
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.coverage import LEVEL, coverage_of, covered_shares
from dejavu_trainer.evaluation.metrics import LEVELS
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores, served

DRAWS: Final = 20_000
"""Number of simulated walk-forwards."""


@dataclass(frozen=True, slots=True)
class SeasonCoverage:
    """Coverage over all of a horizon's minutes in each season of a walk-forward.

    Attributes:
        forecaster: one of `served`.
        horizon: name of the horizon.
        level: nominal coverage, in %.
        seasons: by season, the coverage with its interval at LEVEL, which includes the sampling errors of test and
            calibration.
        excluded: seasons whose interval does not contain the expected coverage.
        spread: standard deviation of the coverage between the seasons.
        chance: root mean square of that standard deviation if seasons differ by chance alone.
        bound: largest spread that agrees with chance; if seasons differ by chance alone, then with probability LEVEL no
            spread of the walk-forward exceeds its bound.
    """

    forecaster: str
    horizon: str
    level: int
    seasons: dict[str, Estimate]
    excluded: tuple[str, ...]
    spread: float
    chance: float
    bound: float

    @property
    def agrees(self) -> bool:
        """Whether the spread is within its bound."""
        return self.spread <= self.bound


def season_coverages(folds: Sequence[FoldScores], seed: int = 0) -> list[SeasonCoverage]:
    """Compute the coverage by season, for each forecaster, horizon and level.

    Args:
        folds: folds of one season each.
        seed: random seed of the simulation.

    Returns:
        The coverages, without those for which a calibration is too small; empty if there are fewer than two folds.
    """
    if len(folds) < 2:
        return []
    keys, of_keys, deviations = [], [], []
    for forecaster, horizon, level in product(served(folds), HORIZONS, LEVELS):
        by_fold = [covered_shares(fold, forecaster, horizon, horizon.forecast_minutes, level) for fold in folds]
        found = [each for each in by_fold if each is not None]
        if len(found) == len(folds):
            keys.append((forecaster, horizon, level))
            of_keys.append(found)
            deviations.append([float((covered - expected).mean()) for covered, expected in found])
    if not keys:
        return []
    # (games, keys) by fold
    by_fold_and_key = [np.stack([covered for covered, _ in of_fold], axis=1) for of_fold in zip(*of_keys, strict=True)]
    chance, bound = spread_by_chance(by_fold_and_key, chance_shares(folds), seed)
    return [
        SeasonCoverage(
            forecaster, horizon.value, level, *_by_season(folds, of_key, forecaster, horizon, level), *spread
        )
        for (forecaster, horizon, level), of_key, *spread in zip(
            keys, of_keys, np.std(deviations, axis=1, ddof=1).tolist(), chance.tolist(), bound.tolist(), strict=True
        )
    ]


def chance_shares(folds: Sequence[FoldScores]) -> tuple[Floats, Floats]:
    """Return the weights of each season's sampling error in the coverage of each fold.

    Returns:
        Shares, (folds, seasons): 1 for the tested season, −w(c) for a calibration season. And the number of games of
        each season, (seasons,); for a season that is not tested, the calibration games of a fold that are not from
        tested seasons, divided evenly among such seasons.
    """
    games = {int(fold.season[0]): float(len(fold)) for fold in folds}
    for fold in folds:
        rest = [season for season in fold.calibration_seasons if season not in games]
        left = fold.calibration_games - sum(games.get(season, 0.0) for season in fold.calibration_seasons)
        games |= {season: max(left / len(rest), 1.0) for season in rest}
    seasons = sorted(games)
    shares = np.zeros((len(folds), len(seasons)))
    for row, fold in enumerate(folds):
        total = sum(games[season] for season in fold.calibration_seasons)
        for season in fold.calibration_seasons:
            shares[row, seasons.index(season)] -= games[season] / total
        shares[row, seasons.index(int(fold.season[0]))] += 1.0
    return shares, np.array([games[season] for season in seasons])


def spread_by_chance(
    covered: Sequence[Floats], shares_and_games: tuple[Floats, Floats], seed: int = 0, level: float = LEVEL
) -> tuple[Floats, Floats]:
    """Simulate the standard deviation between seasons that differ by chance alone.

    Args:
        covered: by fold, (games, keys): the share of a game's minutes that was covered.
        shares_and_games: see `chance_shares`.
        seed: random seed.
        level: probability that no key exceeds its bound.

    Returns:
        Root mean square of the standard deviation, and its bound, by key, (keys,) each. All bounds are the same
        multiple of the root mean square.
    """
    shares, games = shares_and_games
    within = np.concatenate([each - each.mean(axis=0) for each in covered])
    covariance = within.T @ within / (len(within) - len(covered))
    # Games in which all minutes of a key are covered or none leave no variance: the ridge keeps the root real.
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(len(covariance)))
    centred = shares - shares.mean(axis=0)
    variance = np.diag(covariance) * np.square(centred / np.sqrt(games)).sum() / (len(covered) - 1)
    chance = np.sqrt(np.maximum(variance, 1e-12))
    draws = np.random.default_rng(seed).standard_normal((DRAWS, len(games), len(chance))) @ root.T
    spreads = np.std(np.einsum("fs,dsk->dfk", shares / np.sqrt(games), draws, optimize=True), axis=1, ddof=1)
    return chance, chance * float(np.quantile((spreads / chance).max(axis=1), level))


def _by_season(
    folds: Sequence[FoldScores],
    by_fold: Sequence[tuple[Floats, Floats]],
    forecaster: str,
    horizon: Horizon,
    level: int,
) -> tuple[dict[str, Estimate], tuple[str, ...]]:
    checks = {
        str(fold.season[0]): coverage_of([fold], [found], forecaster, horizon, level)
        for fold, found in zip(folds, by_fold, strict=True)
    }
    return (
        {season: check.found for season, check in checks.items()},
        tuple(season for season, check in checks.items() if not check.agrees),
    )
