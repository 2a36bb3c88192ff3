"""Reference forecasts of total points: pace × time, the season's mean, and the line's rate.

They forecast the points still to come; the distribution around this forecast is that of its residuals in all earlier
seasons.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.types import CASES, HORIZONS, Horizon
from dejavu_trainer.evaluation.totals.scores import TotalForecasts
from dejavu_trainer.training.totals import TotalGames

FORMER_GAMES: Final = 50
"""A season's mean starts as if this many games with the previous season's mean had been played.

Otherwise it would be mostly noise on the first evenings, and this baseline weaker than necessary."""


def pace_baseline(past: TotalGames, games: TotalGames) -> TotalForecasts:
    """Forecast that points continue at the rate so far: t points after m minutes, t / m a minute.

    Args:
        past: games of all earlier seasons, at least one.
        games: n games.
    """
    return _around(_pace(past), _pace(games), past, games)


def season_mean_baseline(past: TotalGames, games: TotalGames) -> TotalForecasts:
    """Forecast that as many points are still to come as came on average in the games of the season so far.

    Args:
        past: games of all earlier seasons, at least one.
        games: n games of the seasons after them.
    """
    columns: list[tuple[Any, Any]] = list(zip(past, games, strict=True))
    means = _season_means(TotalGames(*(np.concatenate(column) for column in columns)))
    return _around(means[: len(past.season)], means[len(past.season) :], past, games)


def line_baseline(past: TotalGames, games: TotalGames) -> TotalForecasts:
    """Forecast that the rest of the game brings its share, by time, of the expected total: of the line.

    Args:
        past: games of earlier seasons with a line, at least one.
        games: n games.
    """
    return _around(_rest_of_line(past), _rest_of_line(games), past, games)


def to_come(games: TotalGames) -> Floats:
    """Return the points that came after each minute until each horizon, (n, cases)."""
    return np.stack([games.outcomes[:, index] - games.points[:, minute - 1] for index, minute in CASES], axis=1)


def _pace(games: TotalGames) -> Floats:
    lengths = np.array([HORIZONS[index].minutes / minute - 1 for index, minute in CASES])
    points: Floats = games.points[:, [minute - 1 for _, minute in CASES]] * lengths
    return points


def _rest_of_line(games: TotalGames) -> Floats:
    lengths = np.array([HORIZONS[index].minutes - minute for index, minute in CASES]) / Horizon.FINAL.minutes
    points: Floats = games.expected[:, None] * lengths
    return points


def _season_means(games: TotalGames) -> Floats:
    """Return the mean of `to_come` over the season's games of earlier days, (n, cases).

    FORMER_GAMES games with the previous season's mean are counted in.
    """
    came, result = to_come(games), np.empty((len(games.season), len(CASES)))
    former: Floats | None = None
    for season in np.unique(games.season):
        rows = np.flatnonzero(games.season == season)
        of_season, days = came[rows], games.date[rows]
        # The first season starts with its own mean: its games are not tested, they only give residuals.
        before = of_season.mean(axis=0) if former is None else former
        sums = np.vstack([np.zeros(len(CASES)), np.cumsum(of_season, axis=0)])
        earlier = np.searchsorted(days, days)  # games of the season on earlier days
        result[rows] = (sums[earlier] + FORMER_GAMES * before) / (earlier + FORMER_GAMES)[:, None]
        former = of_season.mean(axis=0)
    return result


def _around(of_past: Floats, expected: Floats, past: TotalGames, games: TotalGames) -> TotalForecasts:
    """Score forecasts `expected` of the points still to come, one per (horizon, minute) in CASES.

    The distribution around them is that of the residuals of past games.
    """
    residuals, errors = to_come(past) - of_past, to_come(games) - expected
    zeros = np.zeros(len(errors))
    crps = np.stack([metrics.crps(zeros, residuals[:, row], errors[:, row]) for row in range(len(CASES))], axis=1)
    points = games.points[:, [minute - 1 for _, minute in CASES]] + expected
    return TotalForecasts(points.astype(np.float32), crps.astype(np.float32))
