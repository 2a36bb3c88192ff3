"""Replays a walk-forward day by day with static intervals and with the factor of the season.

A fold holds the forecasts of a season's games by models that were trained before it. The replay goes through the games
in order: a day's forecasts use the trackers updated with earlier days, then the day's outcomes update the trackers, as
on a server that receives outcomes. Every season starts with fresh trackers, like a new bundle.

A fold stores the ends of three intervals. Static intervals end exactly there, so their metrics need no interpolation.
Adapted quantiles and scores between these ends are interpolated linearly in the standard-normal score; beyond them they
are extrapolated in proportion to the score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.errors import DataError
from dejavu_models import metrics
from dejavu_models.arrays import Floats, Singles
from dejavu_models.live_ratings import KNOWN_GAMES
from dejavu_models.types import CASES, HORIZONS
from dejavu_models.uncertainty.adaptive import (
    QUARTER_MIDPOINTS,
    Tracker,
    radius_of_alpha,
)
from dejavu_models.uncertainty.score_map import MAX_SCORE
from dejavu_models.uncertainty.season_scale import pooled
from dejavu_trainer.evaluation.scoring.fold_scores import STATIC as STATIC_NAMES
from dejavu_trainer.evaluation.scoring.fold_scores import FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS

COLUMNS: Final = tuple(column for column, (_, minute) in enumerate(CASES) if minute in QUARTER_MIDPOINTS)
"""Columns of a fold that are replayed: the midpoint of each quarter, both horizons."""

_COLUMNS_OF: Final = {
    horizon: [place for place, column in enumerate(COLUMNS) if CASES[column][0] == horizon]
    for horizon in range(len(HORIZONS))
}
"""Indices of COLUMNS by horizon, whose forecasts share the factor of the season."""

STATIC, SEASON = "static", "season"
ARMS: Final = (STATIC, SEASON)
RATINGS: Final = ("frozen", "carried")
"""Frozen: as of the start of the season. Carried: updated after every game, as on a server that receives outcomes."""

MIN_MONTH_GAMES: Final = 100
"""Minimum number of games of a month whose coverage is compared with the nominal one."""

_RADII: Final = np.array([radius_of_alpha(alpha) for alpha in ALPHAS])
_KNOTS: Final = np.concatenate((-_RADII, _RADII[::-1]))


class QuantileGrid:
    """Predictive distributions of any number of forecasts, given by the ends of their intervals.

    Args:
        lower, upper: (…, alphas), ends of the intervals at ALPHAS, in points.

    Raises:
        DataError: if an end is missing (NaN).
    """

    def __init__(self, lower: Floats | Singles, upper: Floats | Singles) -> None:
        self._ends = np.concatenate((lower, upper[..., ::-1]), axis=-1).astype(np.float64)
        if np.isnan(self._ends).any():
            raise DataError("a fold was calibrated on too few games for intervals at 95 %")
        inner = len(ALPHAS) - 1
        self._middle = (self._ends[..., inner] + self._ends[..., inner + 1]) / 2

    def values_at(self, score: Floats) -> Floats:
        """Return the differential at a standard-normal score, one per forecast, in points."""
        knot = np.clip(np.searchsorted(_KNOTS, score), 1, len(_KNOTS) - 1)
        left, right = (np.take_along_axis(self._ends, each[..., None], -1)[..., 0] for each in (knot - 1, knot))
        within = left + (right - left) * (score - _KNOTS[knot - 1]) / (_KNOTS[knot] - _KNOTS[knot - 1])
        end = np.where(score < 0, self._ends[..., 0], self._ends[..., -1])
        beyond = self._middle + (end - self._middle) * np.abs(score) / _RADII[0]
        result: Floats = np.where(np.abs(score) > _RADII[0], beyond, within)
        return result

    def scores_of(self, outcome: Floats) -> Floats:
        """Return the standard-normal score of an outcome, one per forecast, within ±MAX_SCORE."""
        ends = self._ends
        knot = np.clip((ends < outcome[..., None]).sum(axis=-1), 1, len(_KNOTS) - 1)
        left, right = (np.take_along_axis(ends, each[..., None], -1)[..., 0] for each in (knot - 1, knot))
        share = (outcome - left) / np.maximum(right - left, 1e-9)
        within = _KNOTS[knot - 1] + (_KNOTS[knot] - _KNOTS[knot - 1]) * share
        above = outcome > ends[..., -1]
        spread = np.where(above, ends[..., -1], ends[..., 0]) - self._middle
        beyond = np.where(above, 1.0, -1.0) * _RADII[0] * (outcome - self._middle) / np.where(spread, spread, 1e-9)
        outside = above | (outcome < ends[..., 0])
        result: Floats = np.clip(np.where(outside, beyond, within), -MAX_SCORE, MAX_SCORE)
        return result


@dataclass(frozen=True)
class ReplayedFold:
    """A season replayed with one kind of ratings.

    Attributes:
        season: year in which the season ends.
        ratings: one of RATINGS.
        month: (n,), month of each game.
        covered: by arm, (n, forecasts, alphas), whether the interval contains the outcome.
        width: by arm, (n, forecasts, alphas), interval widths in points.
        winkler: by arm, (n, forecasts), Winkler scores of the intervals at 95 %, in points.
    """

    season: int
    ratings: str
    month: NDArray[np.datetime64]
    covered: dict[str, NDArray[np.bool_]]
    width: dict[str, Floats]
    winkler: dict[str, Floats]


def replay_fold(fold: FoldScores, ratings: str) -> ReplayedFold:
    """Replay the season of a fold.

    Raises:
        DataError: if the fold was calibrated on too few games.
    """
    lower, upper = _ends(fold, ratings)
    grid = QuantileGrid(lower, upper)
    outcomes = np.stack([fold.outcomes[:, CASES[column][0]] for column in COLUMNS], axis=1).astype(np.float64)
    radii = _interval_radii(fold.date, grid.scores_of(outcomes))
    covered, width, winkler = {}, {}, {}
    for arm in ARMS:
        ends = [
            np.stack([grid.values_at(side * radii[arm][..., index]) for index in range(len(ALPHAS))], axis=-1)
            for side in (-1.0, 1.0)
        ]
        covered[arm] = metrics.covered(ends[0], ends[1], outcomes[..., None])
        width[arm] = ends[1] - ends[0]
        winkler[arm] = metrics.winkler(ends[0][..., 0], ends[1][..., 0], outcomes, ALPHAS[0])
    month = fold.date.astype("datetime64[M]")
    return ReplayedFold(int(fold.season[0]), ratings, month, covered, width, winkler)


def _ends(fold: FoldScores, ratings: str) -> tuple[Singles, Singles]:
    """Return the ends of the static intervals, (n, forecasts, alphas) each, in points."""
    frozen, carried = (fold.forecasts[STATIC_NAMES[name]] for name in ("frozen", "served"))
    if frozen.point is None or frozen.lower is None or frozen.upper is None:
        raise DataError("a fold has no intervals with frozen ratings")
    if carried.point is None or carried.lower is None or carried.upper is None:
        raise DataError("a fold has no intervals with carried ratings")
    columns = list(COLUMNS)
    if ratings == "frozen":
        return frozen.lower[:, columns], frozen.upper[:, columns]
    # Until both teams are known: point forecast from carried ratings, interval around it from frozen ratings.
    moved = (carried.point - frozen.point)[:, columns, None]
    known = _known(fold)[:, None, None]
    return (
        np.where(known, carried.lower[:, columns], frozen.lower[:, columns] + moved),
        np.where(known, carried.upper[:, columns], frozen.upper[:, columns] + moved),
    )


def _known(fold: FoldScores) -> NDArray[np.bool_]:
    """Return (n,), whether both teams had played at least KNOWN_GAMES games of the season on earlier days."""
    played: Counter[str] = Counter()
    result = np.zeros(len(fold), dtype=np.bool_)
    for rows in _days(fold.date):
        for row in rows:
            result[row] = min(played[str(fold.home[row])], played[str(fold.away[row])]) >= KNOWN_GAMES
        played.update(map(str, [*fold.home[rows], *fold.away[rows]]))
    return result


def _days(date: NDArray[np.datetime64]) -> Iterator[NDArray[np.intp]]:
    """Yield the row indices of each day's games, in date order."""
    for day in np.unique(date):
        yield np.flatnonzero(date == day)


def _interval_radii(date: NDArray[np.datetime64], scores: Floats) -> dict[str, Floats]:
    """Return the radii of the intervals: static, and by the factor of the season.

    Args:
        date: (n,), date of each game.
        scores: (n, forecasts), standard-normal scores of the outcomes.

    Returns:
        By arm, (n, forecasts, alphas), radii as standard-normal scores.
    """
    result = {arm: np.broadcast_to(_RADII, (*scores.shape, len(ALPHAS))).copy() for arm in ARMS}
    trackers = [Tracker()] * scores.shape[1]
    for rows in _days(date):
        for columns in _COLUMNS_OF.values():
            factor = pooled(trackers[column].season for column in columns).factor
            for column in columns:
                result[SEASON][rows, column] = factor * _RADII
        for row in rows:
            trackers = [each.after(float(score)) for each, score in zip(trackers, scores[row], strict=True)]
    return result
