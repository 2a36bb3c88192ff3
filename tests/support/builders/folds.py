"""Folds of synthetic games: random walks between teams of known strength."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
from tests.support.builders.made_once import computed_once
from tests.support.builders.random_walks import random_walks, scoring_for

from dejavu_models.components.ensemble import Ensemble
from dejavu_models.components.linear import LinearModels
from dejavu_models.metrics import Estimate
from dejavu_models.types import MarginSource
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration
from dejavu_trainer.evaluation.figures import Figures
from dejavu_trainer.evaluation.result import BacktestResult, RunProvenance, result_of
from dejavu_trainer.evaluation.scoring.fold_scores import SERVED, STATIC, score_fold
from dejavu_trainer.evaluation.table import ALPHAS, LEVELS, MARGINS, Columns, Table
from dejavu_trainer.training.calibrate import conformalized, fit_tables
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.ratings import RatedGames


def rated_walks(games_a_season: int, seasons: range, seed: int) -> RatedGames:
    """Return walks with known expected margins, whose standard deviation is 12 points."""
    games = random_walks(games_a_season, seasons, seed)
    margins = np.random.default_rng(seed + 1).normal(0, 12.0, len(games))
    drift = np.round(margins[:, None] * np.arange(1, 49) / 48).astype(np.int16)
    final = games.final + drift[:, -1]
    final[final == 0] = 1
    differentials = games.differentials + drift
    scoring = scoring_for(differentials, final)
    return RatedGames(replace(games, differentials=differentials, final=final, **scoring), margins)


def walk_fold(season: int = 2033, games: int = 300, seed: int = 0, *, scale: float = 1.0) -> Table:
    """Score the linear models on walks: fitted on two seasons, calibrated on one, tested on the next.

    Each fold is computed once a run. Tables with live inputs need 500 games a season or more.

    Args:
        season: test season.
        games: number of games per season.
        seed: seed of the walks.
        scale: factor of the widths of the models' intervals.
    """

    def score() -> Table:
        rated = rated_walks(games, range(season - 3, season + 1), seed)
        earlier = rated.select(rated.games.season < season)
        calibrate, test = rated.of_seasons([season - 1]), rated.of_seasons([season])
        models, calibration = walk_models(season, games, seed)
        return score_fold(
            models,
            calibration,
            earlier=earlier,
            calibrate=calibrate,
            test=test,
            frozen_margins=test.margins / 2,
        )

    fold = computed_once(f"fold-{season}-{games}-{seed}", score)
    return fold if scale == 1.0 else Table(fold.columns | _scaled(fold, scale))


def walk_models(season: int, games: int, seed: int) -> tuple[Ensemble, LatticeCalibration]:
    """Return the models and calibration that `walk_fold` scores. Fitted once a run."""

    def fit() -> tuple[LinearModels, LatticeCalibration]:
        rated = rated_walks(games, range(season - 3, season + 1), seed)
        train, calibrate = rated.select(rated.games.season < season - 1), rated.of_seasons([season - 1])
        linear = fit_linear(*train)
        return linear, walk_calibration(Ensemble(linear), train, calibrate)

    linear, calibration = computed_once(f"models-{season}-{games}-{seed}", fit)
    return Ensemble(linear), calibration


def walk_calibration(models: Ensemble, train: RatedGames, calibrate: RatedGames) -> LatticeCalibration:
    """Fit tables on earlier walks and calibrate them on later ones; frozen ratings give half the margin."""
    return conformalized(fit_tables(train, train.margins / 2), models, calibrate, calibrate.margins / 2)


def _scaled(fold: Table, scale: float) -> Columns:
    from scipy import special  # imported late: it takes a second

    result: Columns = {}
    for target, name in product(MARGINS.values(), (*SERVED, STATIC)):
        point, reach = fold.of(target, f"{name}.point"), np.abs(special.ndtri(fold.of(target, f"{name}.pit")))
        for level, alpha in zip(LEVELS, ALPHAS, strict=True):
            for end in ("lower", "upper"):
                column = f"{name}.{end}_{level}"
                result[f"{target}.{column}"] = point + scale * (fold.of(target, column) - point)
            result[f"{target}.{name}.held_{level}"] = reach <= scale * special.ndtri(1 - alpha / 2)
    return result


RUN = RunProvenance(recipe="0123456789abcdef", seed=0, data="f" * 64)
"""Provenance of `result_of_two_folds`."""


def two_folds() -> list[Table]:
    """Return two seasons of 300 walks each."""
    return [walk_fold(2033), walk_fold(2034, seed=8)]


@cache
def result_of_two_folds() -> BacktestResult:
    """Return the result of `two_folds` from 50 resamples."""
    return result_of(two_folds(), RUN, resamples=50)


def linear_points(models: Ensemble, rated: RatedGames, mode: MarginSource, minute: int) -> np.ndarray:
    """Return the point forecasts of the linear models: (n, 2), in points."""
    lead = rated.games.levels[:, minute - 1]
    margins = {
        MarginSource.KNOWN: rated.margins,
        MarginSource.RATED: rated.margins / 2,
        MarginSource.UNKNOWN: np.full(len(lead), np.nan),
    }[mode]
    points: np.ndarray = lead[:, None] + models.linear.increments(minute, lead, margins)
    return points


def figure(
    figures: Figures, target: str, forecaster: str, metric: str, reference: str = "", **options: str
) -> Estimate:
    """Return a figure that must be there; arguments of `Figures.get`."""
    found = figures.get(target, forecaster, metric, reference, **options)  # type: ignore[arg-type]
    assert found is not None
    return found
