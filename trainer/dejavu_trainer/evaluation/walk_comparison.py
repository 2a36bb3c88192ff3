"""Compares the forecasts of two walk-forwards, game by game, on the games that both have tested.

Scores of one game depend on each other, so its mean is one observation; intervals are those of Student's t over games.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats
from dejavu_models.metrics import LEVEL, Estimate
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.backtest import read_fold
from dejavu_trainer.evaluation.metrics import losses
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores

COMPARED: Final = ("crps", "mae", "brier", "coverage_95")
"""Metrics that are compared; coverage is no score, its difference says which intervals hold more often."""

ALL: Final = "all"
"""Name of all seasons together."""


@dataclass(frozen=True, slots=True)
class PairedMetric:
    """A metric of two forecasters on the same games, and of persistence; some have only probabilities, scored by Brier.

    Attributes:
        season: the season, or ALL.
        horizon: of the forecasts, those of all minutes.
        metric: one of COMPARED.
        games: number of games.
        value, against, persistence: means over games.
        difference: mean of value − against, with its confidence interval.
    """

    season: str
    horizon: Horizon
    metric: str
    games: int
    value: float
    against: float
    persistence: float
    difference: Estimate


def read_walk(folder: Path) -> dict[int, FoldScores]:
    """Read the folds of a walk-forward, by season.

    Raises:
        DataError: if there are none, several of one season, or one that can't be read.
    """
    folds = dict[int, FoldScores]()
    for path in sorted(folder.glob("fold-*.npz")):
        fold = read_fold(path)
        season = int(fold.season[0])
        if season in folds:
            raise DataError(f"{folder}: has several folds of {season}; expected those of one recipe")
        folds[season] = fold
    if not folds:
        raise DataError(f"{folder}: has no folds of a walk-forward")
    return folds


def compare_walks(
    walk: dict[int, FoldScores], against: dict[int, FoldScores], forecaster: str, other: str, looks: int = 1
) -> list[PairedMetric]:
    """Compare a forecaster of one walk-forward with one of another, by season and over all.

    Args:
        walk: folds of the first by season.
        against: folds of the second.
        forecaster: that of the first.
        other: that of the second.
        looks: see `mean_difference`.

    Raises:
        DataError: if no season is in both; if fewer than two games of one are in both, an outcome differs, or a fold
            lacks its forecaster.
    """
    seasons = sorted(walk.keys() & against.keys())
    if not seasons:
        ours, theirs = (", ".join(map(str, sorted(each))) for each in (walk, against))
        raise DataError(f"no season is in both: {ours} and {theirs}")
    groups = {str(season): _paired(walk[season], against[season], forecaster, other) for season in seasons}
    if len(groups) > 1:
        groups = {ALL: _joined(list(groups.values())), **groups}
    return [_metric(name, *case, scores, looks) for name, of_name in groups.items() for case, scores in of_name.items()]


def _metric(name: str, horizon: Horizon, metric: str, scores: Floats, looks: int) -> PairedMetric:
    value, against, persistence = scores.mean(axis=1).tolist()
    difference = mean_difference(scores[0] - scores[1], looks)
    return PairedMetric(name, horizon, metric, scores.shape[1], value, against, persistence, difference)


_Scores = dict[tuple[Horizon, str], Floats]
"""Means over minutes by horizon and metric, (3, n games): of the first forecaster, the second, and persistence."""


def _paired(fold: FoldScores, against: FoldScores, forecaster: str, other: str) -> _Scores:
    """Return the metrics that both forecasters have, of the games in both folds."""
    season = int(fold.season[0])
    for name, each in ((forecaster, fold), (other, against)):
        if name not in each.forecasts:
            known = ", ".join(sorted(each.forecasts))
            raise DataError(f"season {season}: has no forecaster {name!r}; expected one of {known}")
    common, left, right = np.intersect1d(fold.game_id, against.game_id, return_indices=True)
    if len(common) < 2:
        raise DataError(f"season {season}: fewer than two games are in both")
    differ = (fold.outcomes[left] != against.outcomes[right]).any(axis=1)
    if differ.any():
        raise DataError(f"season {season}: game {common[differ][0]} has another result in the other data")
    sides = ((fold, forecaster, left), (against, other, right), (fold, "persistence", left))
    result: _Scores = {}
    for horizon in HORIZONS:
        found = [(losses(each, name, horizon), games) for each, name, games in sides]
        for metric in COMPARED:
            if all(metric in of_side for of_side, _ in found):
                result[horizon, metric] = np.stack([of_side[metric][games].mean(axis=1) for of_side, games in found])
    return result


def _joined(seasons: Sequence[_Scores]) -> _Scores:
    """Join the games of seasons, for the metrics that all have."""
    cases = [case for case in seasons[0] if all(case in each for each in seasons)]
    return {case: np.concatenate([each[case] for each in seasons], axis=1) for case in cases}


def mean_difference(differences: Floats, looks: int = 1) -> Estimate:
    """Estimate the mean of paired differences of n games, (n,), by Student's t.

    Args:
        differences: one per game.
        looks: number of comparisons of which this is one. Their intervals hold together with the confidence of one
            (Bonferroni): each has level 1 − 0.05 / looks.
    """
    from scipy import special  # imported late: it takes a second

    mean, games = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1)) / sqrt(games)
    half = error * float(special.stdtrit(games - 1, 1 - (1 - LEVEL) / 2 / looks))
    return Estimate(mean, mean - half, mean + half)
