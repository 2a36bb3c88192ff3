"""Fits a recipe to games: ratings, models, and the predictive distributions of the models' residuals.

A training run, each fold of a backtest and the holdout test of a bundle all use `fit_recipe` and `CalibratedModels`, so
that what is tested is what is published.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.manifest import MetricRecord
from dejavu_models.point.ensemble import PointEnsemble
from dejavu_models.ratings import RatingFilter
from dejavu_models.types import CASES, HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.conformal import PredictiveDistribution
from dejavu_models.uncertainty.conformal_cells import MIN_CELL, min_cell_size
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import Progress
from dejavu_trainer.training.ratings import RatedGames, carry, fit_ratings, margins_with_frozen_ratings
from dejavu_trainer.training.recipe import TrainedModels, TrainingConfig, train_models

_SHOWN = ((Horizon.HALFTIME, 6), (Horizon.HALFTIME, 18), (Horizon.FINAL, 18), (Horizon.FINAL, 36))
"""Situations whose point forecast errors are recorded in the bundle."""


@dataclass(frozen=True)
class CalibratedModels:
    """Trained models with their predictive distributions, and the games behind both.

    Attributes:
        recipe: the training configuration.
        trained: the trained models and the selected settings.
        train: the training games, with margins from carried ratings.
        before: state of the ratings after the training games.
        calibration: the predictive distributions.
        calibrate: the games that they were fitted to, with margins from carried ratings.
        after: state of the ratings after the calibration games.
    """

    recipe: TrainingConfig
    trained: TrainedModels
    train: RatedGames
    before: RatingFilter
    calibration: Calibration
    calibrate: RatedGames
    after: RatingFilter

    @property
    def models(self) -> PointEnsemble:
        """The point models."""
        return self.trained.models

    def calibrated_on(self, games: Games) -> CalibratedModels:
        """Returns the same models with distributions fitted to other games, later than the training games."""
        return _calibrated(self.recipe, self.trained, self.train, self.before, games)


def fit_recipe(
    train: Games,
    calibrate: Games,
    recipe: TrainingConfig,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int | None = None,
) -> CalibratedModels:
    """Fits ratings and models to the training games, and predictive distributions to later games.

    Args:
        train: the training games.
        calibrate: the calibration games, later than those.
        recipe: the training configuration.
        seed: random seed, at least 0.
        progress: receives progress updates.
        workers: number of threads, by default one per core; does not change the result.

    Raises:
        DataError: if there are too few games.
        FitError: if the LSTM can't be fitted.
    """
    progress = progress or Progress()
    with progress.step("Fit the ratings", recipe.rating_steps) as advance:
        start = RatingFilter.start(fit_ratings(train, recipe.rating_steps, advance))
    rated, before = carry(start, train)
    trained = train_models(rated, recipe, seed, progress, workers)
    with progress.step("Calibrate", 1) as advance:
        result = _calibrated(recipe, trained, rated, before, calibrate)
        advance(1)
    return result


def _calibrated(
    recipe: TrainingConfig, trained: TrainedModels, train: RatedGames, before: RatingFilter, games: Games
) -> CalibratedModels:
    rated, after = carry(before, games)
    frozen = margins_with_frozen_ratings(before, games)
    calibration = calibrate(trained.models, rated, frozen, recipe.min_cell)
    return CalibratedModels(recipe, trained, train, before, calibration, rated, after)


def point_forecasts(models: PointEnsemble, rated: RatedGames) -> dict[str, Floats]:
    """Computes the point forecasts of each model for n games after every minute.

    Returns:
        By model, and "persistence", (n, 47 minutes, 2 horizons), in points; meaningless for a horizon that has passed.

    Raises:
        KeyError: if the models lack a minute.
    """
    leads = rated.games.levels
    result = {name: np.empty((*leads.shape, len(HORIZONS))) for name in ("ensemble", "dejavu", "lstm", "linear")}
    residuals = models.lstm.residuals(leads, rated.margins)
    for minute in Horizon.FINAL.forecast_minutes:
        predictions = models.predict_from_residuals(leads[:, :minute], rated.margins, residuals[:, minute - 1])
        for name, points in result.items():
            points[:, minute - 1] = getattr(predictions, name)
    return {**result, "persistence": np.repeat(leads[:, :, None], len(HORIZONS), axis=2)}


def fit_distributions(points: Floats, games: Games, scales: Floats, min_cell: int) -> list[PredictiveDistribution]:
    """Fits predictive distributions to the residuals of point forecasts, one for each of CASES.

    Args:
        points: (n, 47 minutes, 2 horizons), forecasts of the games, in points.
        games: n games unseen by the model.
        scales: (2 horizons, 48 minutes, 4), see `LinearModels.scales`.
        min_cell: minimum number of games of a cell by lead; see `conformal_cells.min_cell_size`.
    """
    leads, outcomes = games.levels, games.outcomes
    return [
        PredictiveDistribution.fit(
            HORIZONS[index],
            points[:, minute - 1, index],
            leads[:, minute - 1],
            outcomes[:, index],
            scales=scales[index, minute].tolist(),
            min_cell=min_cell_size(HORIZONS[index], minute, min_cell),
        )
        for index, minute in CASES
    ]


def calibrate(
    models: PointEnsemble, rated: RatedGames, frozen_margins: Floats, min_cell: int = MIN_CELL
) -> Calibration:
    """Fits the ensemble's predictive distributions, for every horizon, minute and margin source.

    Args:
        models: the models of the bundle.
        rated: n games unseen by the models, with margins from carried ratings.
        frozen_margins: (n,), margins with ratings frozen during a season, like those of a bundle, in points.
        min_cell: minimum number of games of a cell by lead; see `conformal_cells.min_cell_size`.

    Returns:
        The calibration, rounded as it is stored in a bundle.
    """
    games, margins = rated
    margins_by_source = {
        MarginSource.UNKNOWN: np.full_like(margins, np.nan),
        MarginSource.KNOWN: margins,
        MarginSource.RATED: frozen_margins,
    }
    distributions: dict[Situation, PredictiveDistribution] = {}
    for source, source_margins in margins_by_source.items():
        points = point_forecasts(models, RatedGames(games, source_margins))["ensemble"]
        scales = models.linear.scales[:, :, min(source, MarginSource.KNOWN)]
        fitted = fit_distributions(points, games, scales, min_cell)
        distributions |= {
            Situation(HORIZONS[index], minute, source): distribution
            for (index, minute), distribution in zip(CASES, fitted, strict=True)
        }
    return Calibration(distributions).rounded()


def measure(models: PointEnsemble, rated: RatedGames, seed: int) -> list[MetricRecord]:
    """Computes errors of the point forecasts with known teams, on games unseen by the models.

    The errors are out-of-sample for the point forecasts, but not for the intervals, which are calibrated on these
    games. To evaluate intervals, use a backtest or `dejavu-trainer evaluate` on a later season. The seed is that of the
    bootstrap over games.
    """
    bootstrap = metrics.GameBootstrap(len(rated.games), seed=seed)
    forecasts, outcomes = point_forecasts(models, rated), rated.games.outcomes
    records = []
    for horizon, minute in _SHOWN:
        index = HORIZONS.index(horizon)
        name = f"calibration.{horizon.value}.minute_{minute}"
        errors = {
            model: metrics.absolute_error(points[:, minute - 1, index], outcomes[:, index])
            for model, points in forecasts.items()
        }
        estimates = {f"{model}.mae": bootstrap.mean(error) for model, error in errors.items()}
        estimates["ensemble.mae_over_persistence"] = bootstrap.ratio(errors["ensemble"], errors["persistence"])
        records += [MetricRecord(name=f"{name}.{of}", **each._asdict()) for of, each in estimates.items()]
    return records
