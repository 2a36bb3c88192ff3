"""Fits the linear models on lead and expected margin by least squares, one per horizon, minute and margin source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.components.linear import CUBE, INTERCEPT, MARGIN_SLOPE, SLOPE, LinearModels, cube_of
from dejavu_models.types import HORIZONS, LINEAR_SOURCES, MARGIN_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.training.ratings import RatedGames, margins_in_mode

PARTS_OF_A_SEASON = 5
"""Number of parts, by date, into which a single season is divided; each is forecast without its own games."""

LEAST_LINES: Final = 1000
"""Minimum number of games with a line for separate models of the line."""


def fit_linear(games: Games, margins: Floats, *, cube: bool = False) -> LinearModels:
    """Fit the least-squares coefficients.

    If coefficients are not identified (before tip-off every lead is 0), the minimum-norm solution is used.

    Args:
        games: games to fit on; at least one. With fewer than LEAST_LINES lines, the line is treated as a margin from
            ratings.
        margins: (n,), expected margins before tip-off from ratings, in points; finite.
        cube: whether the final margin also depends on the cube of the lead.
    """
    coefficients = np.full((len(HORIZONS), MAX_SLOTS + 1, len(LINEAR_SOURCES), CUBE + 1), np.nan)
    coefficients[:, :, LINEAR_SOURCES.index(MarginSource.UNKNOWN)] = _coefficients(games, None, cube)
    coefficients[:, :, LINEAR_SOURCES.index(MarginSource.KNOWN)] = of_ratings = _coefficients(games, margins, cube)
    lined = have_line(games)
    enough = lined.sum() >= LEAST_LINES
    of_line = _coefficients(games.select(lined), games.line[lined].astype(np.float64), cube) if enough else of_ratings
    coefficients[:, :, LINEAR_SOURCES.index(MarginSource.LINE)] = of_line
    return LinearModels(coefficients)


def have_line(games: Games) -> NDArray[np.bool_]:
    """Return which games have a closing line, (n,)."""
    return np.isfinite(games.line)


def _coefficients(games: Games, margins: Floats | None, cube: bool) -> Floats:
    """Return the coefficients by horizon and minute, (2, 48, 4), with or without an expected margin."""
    result = np.full((len(HORIZONS), MAX_SLOTS + 1, CUBE + 1), np.nan)
    leads = np.concatenate([np.zeros((len(games), 1)), games.levels], axis=1)  # after minutes 0 (tip-off) to 47
    terms = [INTERCEPT, SLOPE] if margins is None else [INTERCEPT, SLOPE, MARGIN_SLOPE]
    margins = np.zeros(len(games)) if margins is None else margins
    for minute in range(MAX_SLOTS + 1):
        lead = leads[:, minute]
        inputs = np.stack([np.ones(len(games)), lead, margins, cube_of(lead, minute)], axis=1)
        increments = games.outcomes - lead[:, None]
        for index, horizon in enumerate(HORIZONS):
            if minute <= horizon.last_slot:
                used = [*terms, CUBE] if cube and horizon is Horizon.FINAL else terms
                result[index, minute] = 0.0
                result[index, minute, used] = np.linalg.lstsq(inputs[:, used], increments)[0][:, index]
    return result


def linear_residuals(linear: LinearModels, games: Games, margins: Floats) -> Floats:
    """Compute the residuals of the linear models, without and with an expected margin.

    Args:
        linear: the models.
        games: n games.
        margins: (n,), expected margins before tip-off, in points; finite.

    Returns:
        (n, 47 minutes, 2 margin sources, 2 horizons), in points, from minute 1 on; 0 for a horizon that has passed.
    """
    levels = games.levels
    increments = games.outcomes[:, None, :] - levels[:, :, None]
    residuals = [
        increments - linear.increments(slice(1, MAX_SLOTS + 1), levels, margins_in_mode(mode, margins))
        for mode in MARGIN_SOURCES
    ]
    return np.nan_to_num(np.stack(residuals, axis=2))


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
    rated: RatedGames, by_source: Mapping[MarginSource, Floats], *, cube: bool = True
) -> dict[MarginSource, Floats]:
    """Forecast the games of each season by linear models that are fitted on the other seasons.

    Args:
        rated: n games, with margins from carried ratings, on which the models are fitted.
        by_source: margins to forecast with, (n,) each, in points; NaN if unknown. Those of MarginSource.LINE are lines.
        cube: whether the final margin also depends on the cube of the lead.

    Returns:
        By source, (n, 47 minutes, 2 horizons), in points; NaN for a horizon that has passed.
    """
    result = {source: np.empty((len(rated.games), MAX_SLOTS, len(HORIZONS))) for source in by_source}
    for which in season_parts(rated.games.season):
        rest, games = rated.select(~which), rated.games.select(which)
        models = fit_linear(*(rest if len(rest.games) else rated), cube=cube)
        for source, margins in by_source.items():
            of_part = RatedGames(games, margins[which])
            result[source][which] = linear_points(models, of_part, line=source is MarginSource.LINE)
    return result
