"""Scores of forecasts at moments by time left, with bootstrap intervals over games."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.metrics import ECE_BINS, Estimate, GameBootstrap
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.metrics import LEVELS
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.evaluation.scoring.moments import COLUMNS_SCORED, seconds_left

OVERTIME: Final = "overtime"

BANDS: Final = {
    Horizon.HALFTIME: {"22:00–24:00": (0, 120), "last minute": (0, 60), "last 10 s": (0, 10)},
    Horizon.FINAL: {
        "44:00–48:00": (0, 240),
        "44:00–46:00": (120, 240),
        "46:00–47:00": (60, 120),
        "last minute": (0, 60),
        "last 30 s": (0, 30),
        "last 10 s": (0, 10),
    },
}
"""Names and seconds left of groups of moments, by horizon: more than the first, at most the second number. Overtime is
another group."""

FORECASTERS: Final = ("served", "logistic", "leader")
"""Forecasters of the winner: the served one; a logistic regression on lead, seconds left and rating, fitted on all
earlier seasons; and the leader, whose team has probability 1 (½ if the game is tied)."""


@dataclass(frozen=True, slots=True)
class MomentBand:
    """Scores of a group of moments. A game counts as one: the mean of its moments.

    Attributes:
        games, moments: their numbers.
        brier: Brier score of the winner by FORECASTERS.
        log_loss: log loss of the winner by those that give no certainties.
        brier_difference, log_loss_difference: difference of the served score to the logistic regression's, relative.
        ece: calibration error of the served probability.
        crps: of the served distribution, in points.
        coverage: of its intervals, by nominal level in %.
    """

    games: int
    moments: int
    brier: dict[str, Estimate]
    log_loss: dict[str, Estimate]
    brier_difference: Estimate
    log_loss_difference: Estimate
    ece: float
    crps: Estimate
    coverage: dict[str, Estimate]


MomentFigures = dict[str, dict[str, MomentBand]]
"""By horizon and band."""


class _Moments(NamedTuple):
    """Columns of all folds; games are numbered through."""

    horizon: Floats
    game: NDArray[np.int64]
    elapsed: Floats
    leader: Floats
    served: Floats
    logistic: Floats
    happened: Floats
    crps: Floats
    pit: Floats

    def select(self, rows: NDArray[np.bool_]) -> _Moments:
        columns: list[Any] = [each[rows] for each in self]
        return _Moments(*columns)


def compute_moment_metrics(
    folds: Sequence[FoldScores], *, seed: int = 0, resamples: int = 2000
) -> MomentFigures | None:
    """Compute the scores of the folds' moments; None if they have none."""
    offsets = np.cumsum([0, *(len(fold) for fold in folds)])
    parts = [fold.moments.astype(np.float64) for fold in folds]
    for part, offset in zip(parts, offsets.tolist(), strict=False):
        part[:, COLUMNS_SCORED.index("game")] += offset
    columns = np.concatenate(parts).T
    moments = _Moments(columns[0], columns[1].astype(np.int64), *columns[2:])
    if not len(moments.game):
        return None
    result: MomentFigures = {}
    for index, horizon in enumerate(HORIZONS):
        of_horizon = moments.select(moments.horizon == index)
        left, overtime = seconds_left(of_horizon.elapsed, horizon), of_horizon.elapsed >= horizon.seconds
        bands = {
            name: of_horizon.select(~overtime & (left > first) & (left <= last))
            for name, (first, last) in BANDS[horizon].items()
        }
        if overtime.any():
            bands[OVERTIME] = of_horizon.select(overtime)
        result[horizon.value] = {name: _scored(band, seed, resamples) for name, band in bands.items() if len(band.game)}
    return result


def _scored(band: _Moments, seed: int, resamples: int) -> MomentBand:
    _, place, counts = np.unique(band.game, return_inverse=True, return_counts=True)
    bootstrap = GameBootstrap(len(counts), seed=seed, resamples=resamples)

    def by_game(values: Floats) -> Floats:
        return np.bincount(place, values) / counts

    brier = {name: by_game(metrics.brier(getattr(band, name), band.happened)) for name in FORECASTERS}
    losses = {name: by_game(metrics.log_loss(getattr(band, name), band.happened)) for name in FORECASTERS[:2]}
    held = {f"{level}": by_game((np.abs(band.pit - 0.5) <= level / 200).astype(np.float64)) for level in LEVELS}
    return MomentBand(
        games=len(counts),
        moments=len(band.game),
        brier={name: bootstrap.mean(each) for name, each in brier.items()},
        log_loss={name: bootstrap.mean(each) for name, each in losses.items()},
        brier_difference=_difference(bootstrap, brier),
        log_loss_difference=_difference(bootstrap, losses),
        ece=_calibration_error(band, 1.0 / counts[place]),
        crps=bootstrap.mean(by_game(band.crps)),
        coverage={level: bootstrap.mean(each) for level, each in held.items()},
    )


def _difference(bootstrap: GameBootstrap, scores: dict[str, Floats]) -> Estimate:
    ratio = bootstrap.ratio(scores["served"], scores["logistic"])
    return Estimate(ratio.value - 1, ratio.lower - 1, ratio.upper - 1)


def _calibration_error(band: _Moments, weights: Floats) -> float:
    bins = metrics.probability_bin(band.served)
    gaps = np.bincount(bins, weights * (band.served - band.happened), minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / weights.sum())
