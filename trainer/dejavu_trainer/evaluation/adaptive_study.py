"""What adaptation would have done: a walk-forward lived through day by day, its intervals static, and by each method.

A fold holds what was forecast of each game of a season by models that were made before it. Here its games are gone
through in order: the forecasts of a day are made with what the outcomes of earlier days have taught, then the day's
outcomes are learned from, as a server does whose ledger is told of them. Every season begins anew, as a bundle does.

A fold keeps the ends of three intervals. Between them an outcome's score, and how far out an adapted interval reaches,
are taken as linear in the standard-normal score, and beyond them as in proportion to it. So static figures are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models import metrics
from dejavu_models.arrays import Floats, Singles
from dejavu_models.online_state import KNOWN_GAMES
from dejavu_models.types import HORIZONS
from dejavu_models.uncertainty.adaptive import (
    MAX_SCORE,
    QUARTER_MIDPOINTS,
    TARGETS,
    AdaptationMethod,
    Tracker,
    score_of,
)
from dejavu_trainer.data.plays import DataError
from dejavu_trainer.evaluation.fold_scores import ALPHAS, CASES, FoldScores

COLUMNS: Final = tuple(
    column
    for column, (place, minute) in enumerate(CASES)
    if minute in QUARTER_MIDPOINTS and minute <= HORIZONS[place].last_slot
)
"""The forecasts that are followed, of all that a fold holds: at the middle of each stage of the game, both horizons."""

STATIC: Final = "static"
ARMS: Final = (STATIC, AdaptationMethod.ACI.value, AdaptationMethod.PID.value)
RATINGS: Final = ("frozen", "carried")
"""As they stood before the season; or carried from game to game, as a server does that outcomes are reported to."""

LEAST_MONTH: Final = 100
"""Games of a month whose coverage is held against what was promised."""

_REACH: Final = np.array([score_of(alpha) for alpha in ALPHAS])
_KNOTS: Final = np.concatenate((-_REACH, _REACH[::-1]))
_PLACES: Final = tuple(TARGETS.index(alpha) for alpha in ALPHAS)


class QuantileGrid:
    """Predictive distributions of any number of forecasts, known by the ends of their intervals.

    Args:
        lower, upper: (…, alphas), ends of intervals at ALPHAS, in points.

    Raises:
        DataError: if one is missing.
    """

    def __init__(self, lower: Floats | Singles, upper: Floats | Singles) -> None:
        self._ends = np.concatenate((lower, upper[..., ::-1]), axis=-1).astype(np.float64)
        if np.isnan(self._ends).any():
            raise DataError("a fold was calibrated on too few games to have intervals at 95 %")
        inner = len(ALPHAS) - 1
        self._middle = (self._ends[..., inner] + self._ends[..., inner + 1]) / 2

    def at(self, score: Floats) -> Floats:
        """The differential at a standard-normal score, one for each forecast, in points."""
        place = np.clip(np.searchsorted(_KNOTS, score), 1, len(_KNOTS) - 1)
        left, right = (np.take_along_axis(self._ends, each[..., None], -1)[..., 0] for each in (place - 1, place))
        within = left + (right - left) * (score - _KNOTS[place - 1]) / (_KNOTS[place] - _KNOTS[place - 1])
        end = np.where(score < 0, self._ends[..., 0], self._ends[..., -1])
        beyond = self._middle + (end - self._middle) * np.abs(score) / _REACH[0]
        result: Floats = np.where(np.abs(score) > _REACH[0], beyond, within)
        return result

    def score(self, outcome: Floats) -> Floats:
        """The standard-normal score of an outcome, one for each forecast, within ±WIDEST."""
        ends = self._ends
        place = np.clip((ends < outcome[..., None]).sum(axis=-1), 1, len(_KNOTS) - 1)
        left, right = (np.take_along_axis(ends, each[..., None], -1)[..., 0] for each in (place - 1, place))
        share = (outcome - left) / np.maximum(right - left, 1e-9)
        within = _KNOTS[place - 1] + (_KNOTS[place] - _KNOTS[place - 1]) * share
        above = outcome > ends[..., -1]
        spread = np.where(above, ends[..., -1], ends[..., 0]) - self._middle
        beyond = np.where(above, 1.0, -1.0) * _REACH[0] * (outcome - self._middle) / np.where(spread, spread, 1e-9)
        outside = above | (outcome < ends[..., 0])
        result: Floats = np.clip(np.where(outside, beyond, within), -MAX_SCORE, MAX_SCORE)
        return result


@dataclass(frozen=True)
class ReplayedFold:
    """A season that was lived through with one kind of ratings.

    Attributes:
        season: the year in which it ends.
        ratings: one of RATINGS.
        month: (n,), of each game.
        covered: by arm, (n, forecasts, alphas), whether intervals held.
        width: by arm, (n, forecasts, alphas), in points.
        winkler: by arm, (n, forecasts), of the intervals at 95 %, in points.
    """

    season: int
    ratings: str
    month: NDArray[np.datetime64]
    covered: dict[str, NDArray[np.bool_]]
    width: dict[str, Floats]
    winkler: dict[str, Floats]


def replay_fold(fold: FoldScores, ratings: str) -> ReplayedFold:
    """Goes through the season of a fold.

    Raises:
        DataError: if the fold was calibrated on too few games.
    """
    lower, upper = _ends(fold, ratings)
    ruler = QuantileGrid(lower, upper)
    outcomes = np.stack([fold.outcomes[:, CASES[column][0]] for column in COLUMNS], axis=1).astype(np.float64)
    radii = _follow(fold.date, ruler.score(outcomes))
    covered, width, winkler = {}, {}, {}
    for arm in ARMS:
        ends = [
            np.stack([ruler.at(side * radii[arm][..., place]) for place in range(len(ALPHAS))], axis=-1)
            for side in (-1.0, 1.0)
        ]
        covered[arm] = metrics.covered(ends[0], ends[1], outcomes[..., None])
        width[arm] = ends[1] - ends[0]
        winkler[arm] = metrics.winkler(ends[0][..., 0], ends[1][..., 0], outcomes, ALPHAS[0])
    month = fold.date.astype("datetime64[M]")
    return ReplayedFold(int(fold.season[0]), ratings, month, covered, width, winkler)


def _ends(fold: FoldScores, ratings: str) -> tuple[Singles, Singles]:
    """Ends of the static intervals, (n, forecasts, alphas) each, in points."""
    frozen, carried = fold.forecasts["frozen"], fold.forecasts["ensemble"]
    if frozen.point is None or frozen.lower is None or frozen.upper is None:
        raise DataError("a fold holds no intervals of frozen ratings")
    if carried.point is None or carried.lower is None or carried.upper is None:
        raise DataError("a fold holds no intervals of carried ratings")
    columns = list(COLUMNS)
    if ratings == "frozen":
        return frozen.lower[:, columns], frozen.upper[:, columns]
    # Until both teams are known, the point forecast is by carried ratings, the interval around it by frozen ones.
    moved = (carried.point - frozen.point)[:, columns, None]
    known = _known(fold)[:, None, None]
    return (
        np.where(known, carried.lower[:, columns], frozen.lower[:, columns] + moved),
        np.where(known, carried.upper[:, columns], frozen.upper[:, columns] + moved),
    )


def _known(fold: FoldScores) -> NDArray[np.bool_]:
    """(n,), whether both teams of a game had KNOWN_GAMES games of the season on earlier days."""
    played: Counter[str] = Counter()
    result = np.zeros(len(fold), dtype=np.bool_)
    for rows in _days(fold.date):
        for row in rows:
            result[row] = min(played[str(fold.home[row])], played[str(fold.away[row])]) >= KNOWN_GAMES
        played.update(map(str, [*fold.home[rows], *fold.away[rows]]))
    return result


def _days(date: NDArray[np.datetime64]) -> Iterator[NDArray[np.intp]]:
    """The games of each day, in order."""
    for day in np.unique(date):
        yield np.flatnonzero(date == day)


def _follow(date: NDArray[np.datetime64], found: Floats) -> dict[str, Floats]:
    """How far out intervals reach.

    Args:
        date: (n,), of each game.
        found: (n, forecasts), the outcomes' scores.

    Returns:
        By arm, (n, forecasts, alphas), standard-normal scores.
    """
    result = {arm: np.broadcast_to(_REACH, (*found.shape, len(ALPHAS))).copy() for arm in ARMS}
    trackers = [Tracker()] * found.shape[1]
    for rows in _days(date):
        for column, tracker in enumerate(trackers):
            for method in AdaptationMethod:
                radii = tracker.radii(method)
                result[method.value][rows, column] = [radii[place] for place in _PLACES]
        for row in rows:
            trackers = [each.after(float(score)) for each, score in zip(trackers, found[row], strict=True)]
    return result
