"""Scores one season: the served forecasts of total points and their references, by game and minute.

The references, pace × time, the season's mean and the line's rate, forecast the points still to come; the distribution
around this forecast is that of its residuals in all earlier seasons.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from dejavu_models import metrics
from dejavu_models.arrays import Floats
from dejavu_models.totals import TotalModel, Totals
from dejavu_models.types import CASES, HORIZONS, Horizon, MarginSource
from dejavu_models.uncertainty.lattice.distribution import WholeNumberDistribution
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.figures import TOTALS, Columns, case_columns, choose, whole_number_scores
from dejavu_trainer.evaluation.fold_scores import LEAST_SHARE, LINE, SERVED
from dejavu_trainer.training.totals import TotalGames, carry_totals, frozen_totals, have_points, total_games

SEED: Final = 19
"""Seed of the random places within whole numbers; see `figures.scored`."""


def lattice_totals(model: TotalModel, games: TotalGames) -> Columns:
    """Score the forecasts of games by the tables of one source of the expected total, (n, cases).

    Args:
        model: the tables.
        games: n games, later than all those that the tables are fitted on.
    """

    def forecast(index: int, minute: int) -> tuple[Floats, WholeNumberDistribution]:
        horizon, inputs = HORIZONS[index], games.at(minute)
        made = model.distribution(horizon, minute, inputs)
        return inputs.points + model.to_come(horizon, minute, inputs), made

    return whole_number_scores(forecast, games.outcomes, SEED)


FORMER_GAMES: Final = 50
"""A season's mean starts as if this many games with the previous season's mean had been played.

Otherwise it would be mostly noise on the first evenings, and this baseline weaker than necessary."""


def pace_baseline(past: TotalGames, games: TotalGames) -> Columns:
    """Forecast that points continue at the rate so far: t points after m minutes, t / m a minute.

    Args:
        past: games of all earlier seasons, at least one.
        games: n games.
    """
    return _around(_pace(past), _pace(games), past, games)


def season_mean_baseline(past: TotalGames, games: TotalGames) -> Columns:
    """Forecast that as many points are still to come as came on average in the games of the season so far.

    Args:
        past: games of all earlier seasons, at least one.
        games: n games of the seasons after them.
    """
    columns: list[tuple[Any, Any]] = list(zip(past, games, strict=True))
    means = _season_means(TotalGames(*(np.concatenate(column) for column in columns)))
    return _around(means[: len(past.season)], means[len(past.season) :], past, games)


def line_baseline(past: TotalGames, games: TotalGames) -> Columns:
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


def _around(of_past: Floats, expected: Floats, past: TotalGames, games: TotalGames) -> Columns:
    """Score forecasts `expected` of the points still to come, one per (horizon, minute) in CASES.

    The distribution around them is that of the residuals of past games.
    """
    residuals, errors = to_come(past) - of_past, to_come(games) - expected
    zeros = np.zeros(len(errors))
    crps = np.stack([metrics.crps(zeros, residuals[:, row], errors[:, row]) for row in range(len(CASES))], axis=1)
    points = games.points[:, [minute - 1 for _, minute in CASES]] + expected
    return {"point": points.astype(np.float32), "crps": crps.astype(np.float32)}


RIVALS: Final = ("pace", "season_mean")
"""Pace × time, and the season's mean."""

LINE_RATE: Final = "line_rate"
"""Reference that knows the same line; see `line_baseline`.

It and `line`, totals with the closing total of a betting market as the expected total, are scored if the totals have
tables for the line, and at least half of the games have a line. Forecasts of games without one are those without the
line: of `served`, of `pace`."""


def score_totals(totals: Totals, earlier: Games, games: Games) -> Columns:
    """Score forecasts of the totals of games.

    Args:
        totals: fitted on earlier games, with ratings after them.
        earlier: all games before those forecast; the rivals are fitted on them.
        games: games of one season.

    Returns:
        Columns of a table, with the games that have total points; empty if no game has them.
    """
    known, before = have_points(games), have_points(earlier)
    if not known.any():
        return {}
    with_points, past = games.select(known), earlier.select(before)
    expected = {
        MarginSource.KNOWN: carry_totals(totals.ratings, games)[0][known],
        MarginSource.RATED: frozen_totals(totals.ratings, games)[known],
        MarginSource.UNKNOWN: np.full(int(known.sum()), np.nan),
    }
    forecasts = {
        name: lattice_totals(totals.models[source], total_games(with_points, of_source))
        for name, (source, of_source) in zip(SERVED, expected.items(), strict=True)
    }
    of_past, of_games = (total_games(each, np.zeros(len(each))) for each in (past, with_points))
    forecasts |= {"pace": pace_baseline(of_past, of_games), "season_mean": season_mean_baseline(of_past, of_games)}
    lined = np.isfinite(with_points.total_line)
    if MarginSource.LINE in totals.models and lined.mean() >= LEAST_SHARE:
        lines = past.select(np.isfinite(past.total_line))
        then, now = (total_games(each, each.total_line.astype(np.float64)) for each in (lines, with_points))
        of_line = lattice_totals(totals.models[MarginSource.LINE], now)
        forecasts[LINE] = choose(lined, of_line, forecasts[SERVED[0]])
        forecasts[LINE_RATE] = choose(lined, line_baseline(then, now), forecasts[RIVALS[0]])
    rows = case_columns(TOTALS, forecasts, np.flatnonzero(known), of_games.outcomes)
    return {"fold.total_games": np.array([totals.models[MarginSource.KNOWN].games]), **rows}
