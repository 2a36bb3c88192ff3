"""What the models leave unexplained on games that none of them saw: the source of intervals and probabilities."""

from __future__ import annotations

from dejavu_models import scores
from dejavu_models.arrays import Floats
from dejavu_models.conformal import ConformalScores
from dejavu_models.manifest import MetricRecord
from dejavu_models.stage import PointModels, Stage


def calibrate(models: PointModels, patterns: Floats, outcomes: Floats, seed: int) -> tuple[Stage, list[MetricRecord]]:
    """Completes a stage with the ensemble's residuals, and measures the point forecasts on the same games.

    These games are new to the models, so the figures are honest ones of the point forecasts. They say nothing of the
    intervals, which are made from them: `dejavu-trainer evaluate` on a later season does.

    Args:
        models: the very ones that ship; what they are asked with decides how far they are off.
        patterns: (n, slots) of games that the models have not seen, in points.
        outcomes: (n,) differentials at the horizon, in points.
        seed: of the bootstrap over games.
    """
    predictions = models.predict(patterns)
    errors = {
        "ensemble": scores.absolute_error(predictions.ensemble, outcomes),
        "dejavu": scores.absolute_error(predictions.dejavu, outcomes),
        "lstm": scores.absolute_error(predictions.lstm, outcomes),
        "persistence": scores.absolute_error(predictions.persistence, outcomes),
    }
    bootstrap = scores.GameBootstrap(len(outcomes), seed=seed)
    figures = {f"calibration.{name}.mae": bootstrap.mean(error) for name, error in errors.items()}
    figures["calibration.ensemble.mae_over_persistence"] = bootstrap.ratio(errors["ensemble"], errors["persistence"])
    metrics = [MetricRecord(name=name, value=it.value, lower=it.lower, upper=it.upper) for name, it in figures.items()]
    return Stage(models, ConformalScores.of(outcomes, predictions.ensemble)), metrics
