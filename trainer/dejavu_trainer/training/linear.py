"""Fits the linear models by least squares: one per horizon, minute and margin source, and one correction for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.components.linear import (
    CORRECTION_TERMS,
    CUBE,
    INTERCEPT,
    LEAD_REACH,
    MARGIN_REACH,
    MARGIN_SLOPE,
    SLOPE,
    LinearModels,
    correction_terms,
    cube_of,
)
from dejavu_models.types import HORIZONS, LINEAR_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.ratings import RatedGames

PARTS_OF_A_SEASON = 5
"""Number of parts, by date, into which a single season is divided; each is forecast without its own games."""

LEAST_LINES: Final = 1000
"""Minimum number of games with a line for separate models of the line."""

_LEAST_SPREAD: Final = 0.1
"""Lower bound of the spread of residuals, in points, as in small data sets."""


_WITHOUT_MARGIN: Final = (0, 2)
"""Terms of the correction that have no margin."""


def fit_linear(games: Games, margins: Floats, *, curved: bool = False) -> LinearModels:
    """Fit the least-squares coefficients.

    If coefficients are not identified (before tip-off every lead is 0), the minimum-norm solution is used.

    Args:
        games: games to fit on; at least one. With fewer than LEAST_LINES lines, the line is treated as a margin from
            ratings.
        margins: (n,), expected margins before tip-off from ratings, in points; finite.
        curved: whether the final margin also depends on the cube of the lead and on the correction.
    """
    sources = len(LINEAR_SOURCES)
    coefficients = np.full((len(HORIZONS), MAX_SLOTS + 1, sources, CUBE + 1), np.nan)
    corrections, spreads = np.zeros((sources, CORRECTION_TERMS)), np.zeros((sources, MAX_SLOTS + 1))
    rated, lined = RatedGames(games, margins), have_line(games)
    of_line = RatedGames(games.select(lined), games.line[lined].astype(np.float64))
    by_source = {
        MarginSource.UNKNOWN: RatedGames(games, np.full(len(games), np.nan)),
        MarginSource.KNOWN: rated,
        MarginSource.LINE: of_line if lined.sum() >= LEAST_LINES else rated,
    }
    for number, source in enumerate(LINEAR_SOURCES):
        coefficients[:, :, number] = _coefficients(by_source[source], curved)
    models = LinearModels(coefficients, corrections, spreads)
    if not curved:
        return models
    for number, source in enumerate(LINEAR_SOURCES):
        points = linear_points(models, by_source[source], line=source is MarginSource.LINE)
        corrections[number], spreads[number, 1:] = _correction(by_source[source], points)
    return LinearModels(coefficients, corrections, spreads)


def _correction(rated: RatedGames, points: Floats) -> tuple[Floats, Floats]:
    """Fit the correction of the final margin to the residuals of all minutes at once.

    Args:
        rated: n games; their margins are NaN if unknown.
        points: (n, 47, 2), forecasts without the correction.

    Returns:
        The coefficients, (CORRECTION_TERMS,), and the standard deviations of the residuals by minute, (47,).
    """
    residuals = (rated.games.outcomes[:, None, :] - points)[:, :, HORIZONS.index(Horizon.FINAL)]
    spreads = np.maximum(residuals.std(axis=0), _LEAST_SPREAD)
    left = 1 - np.arange(1, MAX_SLOTS + 1) / Horizon.FINAL.minutes
    terms = correction_terms(
        np.clip(rated.games.levels / spreads, -LEAD_REACH, LEAD_REACH),
        np.clip(np.nan_to_num(rated.margins)[:, None] * left / spreads, -MARGIN_REACH, MARGIN_REACH),
    )
    used = [*(_WITHOUT_MARGIN if np.isnan(rated.margins).any() else range(CORRECTION_TERMS))]
    coefficients = np.zeros(CORRECTION_TERMS)
    inputs = terms.reshape(CORRECTION_TERMS, -1)[used].T
    coefficients[used] = np.linalg.lstsq(inputs, (residuals / spreads).ravel())[0]
    return coefficients, spreads


def have_line(games: Games) -> NDArray[np.bool_]:
    """Return which games have a closing line, (n,)."""
    return np.isfinite(games.line)


def _coefficients(rated: RatedGames, curved: bool) -> Floats:
    """Return the coefficients by horizon and minute, (2, 48, 4), with or without an expected margin."""
    games, margins = rated.games, np.nan_to_num(rated.margins)
    result = np.full((len(HORIZONS), MAX_SLOTS + 1, CUBE + 1), np.nan)
    leads = np.concatenate([np.zeros((len(games), 1)), games.levels], axis=1)  # after minutes 0 (tip-off) to 47
    terms = [INTERCEPT, SLOPE] if np.isnan(rated.margins).any() else [INTERCEPT, SLOPE, MARGIN_SLOPE]
    for minute in range(MAX_SLOTS + 1):
        lead = leads[:, minute]
        inputs = np.stack([np.ones(len(games)), lead, margins, cube_of(lead, minute)], axis=1)
        increments = games.outcomes - lead[:, None]
        for index, horizon in enumerate(HORIZONS):
            if minute <= horizon.last_slot:
                used = [*terms, CUBE] if curved and horizon is Horizon.FINAL else terms
                result[index, minute] = 0.0
                result[index, minute, used] = np.linalg.lstsq(inputs[:, used], increments)[0][:, index]
    return result


def linear_points(linear: LinearModels, rated: RatedGames, *, line: bool = False) -> Floats:
    """Forecast games by linear models after every minute.

    Args:
        linear: the models.
        rated: n games; their margins may be NaN.
        line: whether margins are lines.

    Returns:
        (n, 47 minutes, 2 horizons), in points; NaN for a horizon that has passed.
    """
    leads = rated.games.levels
    increments = linear.increments(slice(1, MAX_SLOTS + 1), leads, rated.margins, line=line)
    points: Floats = leads[:, :, None] + increments
    return points


def season_parts(season: NDArray[np.integer]) -> Iterator[NDArray[np.bool_]]:
    """Yield a mask for each part that is forecast by models fitted on the other parts: seasons, or parts of one."""
    several = season[0] != season[-1]
    parts = season if several else np.arange(len(season)) * PARTS_OF_A_SEASON // len(season)
    for part in np.unique(parts):
        yield parts == part


def out_of_season_points(
    rated: RatedGames, by_source: Mapping[MarginSource, Floats], *, curved: bool = True
) -> dict[MarginSource, Floats]:
    """Forecast the games of each season by linear models that are fitted on the other seasons.

    Args:
        rated: n games, with margins from carried ratings, on which the models are fitted.
        by_source: margins to forecast with, (n,) each, in points; NaN if unknown. Those of MarginSource.LINE are lines.
        curved: see `fit_linear`.

    Returns:
        By source, (n, 47 minutes, 2 horizons), in points; NaN for a horizon that has passed.
    """
    result = {source: np.empty((len(rated.games), MAX_SLOTS, len(HORIZONS))) for source in by_source}
    for which in season_parts(rated.games.season):
        rest, games = rated.select(~which), rated.games.select(which)
        models = fit_linear(*(rest if len(rest.games) else rated), curved=curved)
        for source, margins in by_source.items():
            of_part = RatedGames(games, margins[which])
            result[source][which] = linear_points(models, of_part, line=source is MarginSource.LINE)
    return result
