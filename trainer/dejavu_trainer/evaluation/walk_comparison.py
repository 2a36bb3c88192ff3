"""Compares the forecasts of two walk-forwards, game by game, on the games that both have tested.

Scores of one game depend on each other, so its mean is one observation; intervals are those of Student's t over games.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

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
    walk: dict[int, FoldScores], against: dict[int, FoldScores], forecaster: str, other: str
) -> list[PairedMetric]:
    """Compare a forecaster of one walk-forward with one of another, by season and over all.

    Raises:
        DataError: if no season is in both, or see `PairedFolds`.
    """
    seasons = sorted(walk.keys() & against.keys())
    if not seasons:
        raise DataError(f"no season is in both: {_listed(walk)} and {_listed(against)}")
    pairs = [PairedFolds(walk[season], against[season], forecaster, other) for season in seasons]
    result = []
    for name, of_name in ((ALL, pairs), *((str(season), [pair]) for season, pair in zip(seasons, pairs, strict=True))):
        if name == ALL and len(pairs) == 1:
            continue
        rows = (_pooled(name, horizon, metric, of_name) for horizon in HORIZONS for metric in COMPARED)
        result += [row for row in rows if not np.isnan(row.difference.value)]
    return result


class PairedFolds:
    """Forecasts of two folds for the same games.

    Args:
        fold: of the first forecaster, and of persistence.
        against: of the second.
        forecaster, other: names of the forecasters in them.

    Raises:
        DataError: if fewer than two games are in both, an outcome differs, or one lacks its forecaster.
    """

    def __init__(self, fold: FoldScores, against: FoldScores, forecaster: str, other: str) -> None:
        self.season = int(fold.season[0])
        for name, each in ((forecaster, fold), (other, against)):
            if name not in each.forecasts:
                known = ", ".join(sorted(each.forecasts))
                raise DataError(f"season {self.season}: has no forecaster {name!r}; expected one of {known}")
        common, left, right = np.intersect1d(fold.game_id, against.game_id, return_indices=True)
        if len(common) < 2:
            raise DataError(f"season {self.season}: fewer than two games are in both")
        differ = (fold.outcomes[left] != against.outcomes[right]).any(axis=1)
        if differ.any():
            raise DataError(f"season {self.season}: game {common[differ][0]} has another result in the other data")
        self._sides = ((fold, forecaster, left), (against, other, right), (fold, "persistence", left))

    def by_game(self, horizon: Horizon, metric: str) -> tuple[Floats, Floats, Floats]:
        """Return the means over minutes of a metric by game, (n,): of both forecasters and of persistence."""
        ours, theirs, persistence = (_by_game(*side, horizon, metric) for side in self._sides)
        return ours, theirs, persistence


def _by_game(fold: FoldScores, forecaster: str, games: NDArray[np.intp], horizon: Horizon, metric: str) -> Floats:
    of_metric = losses(fold, forecaster, horizon).get(metric)
    result: Floats = np.full(len(games), np.nan) if of_metric is None else of_metric[games].mean(axis=1)
    return result


def _pooled(name: str, horizon: Horizon, metric: str, pairs: Iterable[PairedFolds]) -> PairedMetric:
    parts = [pair.by_game(horizon, metric) for pair in pairs]
    ours, theirs, persistence = (np.concatenate(each) for each in zip(*parts, strict=True))
    return PairedMetric(
        name,
        horizon,
        metric,
        len(ours),
        float(ours.mean()),
        float(theirs.mean()),
        float(persistence.mean()),
        mean_difference(ours - theirs),
    )


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


def _listed(seasons: Iterable[int]) -> str:
    ordered: Sequence[int] = sorted(seasons)
    return ", ".join(map(str, ordered))
