"""Fits the ratings: estimates the settings of the filter, and carries ratings from game to game."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.ratings import RatingFilter, frozen_margins
from dejavu_models.team_filter import RatingSettings
from dejavu_models.types import MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import Advance
from dejavu_trainer.training.schedule import margin_terms
from dejavu_trainer.training.team_settings import carried, fit_settings


class RatedGames(NamedTuple):
    """Games with their expected margins.

    Attributes:
        games: n games.
        margins: (n,), expected final differentials before tip-off, in points; NaN if unknown.
    """

    games: Games
    margins: Floats

    def select(self, which: NDArray[np.bool_]) -> RatedGames:
        """Select games by a mask (n,)."""
        return RatedGames(self.games.select(which), self.margins[which])

    def of_seasons(self, seasons: Sequence[int]) -> RatedGames:
        """Select the games of some seasons."""
        return self.select(np.isin(self.games.season, seasons))


def margins_in_mode(mode: MarginSource, margins: Floats) -> Floats:
    """Return the margins that the models get for a margin source, (n,): as given, or NaN for UNKNOWN."""
    return np.full_like(margins, np.nan) if mode is MarginSource.UNKNOWN else margins


def carry(start: RatingFilter, games: Games) -> tuple[RatedGames, RatingFilter]:
    """Update ratings game by game; the games must be later than those already in `start`.

    Schedule terms such as rest days are derived from the earlier games of the season, so `games` should contain all of
    them.

    Returns:
        The games with the margins expected before each of them, and the state after the last one.
    """
    margins, _, after = carried(start, games, games.final.astype(np.float64), margin_terms(games))
    return RatedGames(games, margins), after


def fit_ratings(games: Games, steps: int, advance: Advance, *, with_terms: bool = True) -> RatingSettings:
    """Estimate the settings of the filter of margins by maximum likelihood; see `fit_settings`.

    Args:
        games: training games.
        steps: maximum number of likelihood evaluations.
        advance: called with the number of steps done, `steps` in total.
        with_terms: whether schedule, playoffs and altitude enter the expected margins.
    """
    start = RatingFilter.start(RatingSettings(), with_terms=with_terms)
    return fit_settings(start, games, games.final.astype(np.float64), margin_terms(games), steps, advance)


def margins_with_frozen_ratings(before: RatingFilter, games: Games, *, update: bool = True) -> Floats:
    """Compute expected margins with ratings frozen at the start of each season, like those of a bundle.

    Only the ratings are frozen: the schedule, playoff and altitude terms are those of the day of each game, because a
    server knows them too.

    Args:
        before: state before the first of the games, updated with at least one game.
        games: n games, later than those in the state.
        update: whether the state learns each season's results before the next one; if not, it only regresses to the
            mean at the start of each season.

    Returns:
        (n,), expected margins in points.
    """
    margins, state, terms = np.empty(len(games)), before, margin_terms(games)
    for season in np.unique(games.season).tolist():
        which = games.season == season
        of_season, frozen = games.select(which), state.predict(season)
        terms_of_season = [terms[game] for game in np.flatnonzero(which)]
        margins[which] = frozen_margins(frozen.ratings(), of_season.home, of_season.away, terms_of_season)
        state = carry(state, of_season)[1] if update else frozen
    return margins


def rating_errors(past: Games, before: RatingFilter, new: RatedGames) -> dict[str, tuple[float, float]]:
    """Compute errors of the expected margins of games.

    Args:
        past: training games.
        before: state of the ratings after the training games.
        new: later games, with margins from carried ratings.

    Returns:
        Mean absolute and root mean square error in points, by source of the margins: carried; frozen, the ratings after
        training, shrunk to the mean once for each season since; constant, the home advantage in the training games;
        line, the line of a market, on the games that have one, if there are any.
    """
    games = new.games
    frozen = margins_with_frozen_ratings(before, games, update=False)
    sources = {"carried": new.margins, "frozen": frozen, "constant": np.full(len(games), past.final.mean())}
    errors = {name: margins - games.final for name, margins in sources.items()}
    known = ~np.isnan(games.line)
    if known.any():
        errors["line"] = (games.line.astype(float) - games.final)[known]
    return {
        name: (float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))) for name, error in errors.items()
    }
