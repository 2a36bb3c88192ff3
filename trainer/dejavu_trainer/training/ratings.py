"""Fits the ratings: estimates the settings of the filter, and carries ratings from game to game.

The settings maximize the likelihood of the training games' margins, each predicted from earlier games: prediction error
decomposition (Schweppe 1965; Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989, section
3.4), maximized by the simplex search of Nelder & Mead (1965).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu_models.arrays import Floats
from dejavu_models.ratings import RatingFilter, RatingSettings, carried_margins, frozen_margins
from dejavu_models.schedule import GameTerms
from dejavu_models.types import MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.execution import Advance
from dejavu_trainer.training.schedule import margin_terms

BURN_IN = 0.5
"""Share of the first season's games left out of the likelihood; they depend on the initial state of equal teams."""

_START = RatingSettings()


class RatedGames(NamedTuple):
    """Games with their expected margins.

    Attributes:
        games: n games.
        margins: (n,), expected final differentials before tip-off, in points; NaN if unknown.
    """

    games: Games
    margins: Floats

    def select(self, which: NDArray[np.bool_]) -> RatedGames:
        """Selects games by a mask (n,)."""
        return RatedGames(self.games.select(which), self.margins[which])

    def of_seasons(self, seasons: Sequence[int]) -> RatedGames:
        """Selects the games of some seasons."""
        return self.select(np.isin(self.games.season, seasons))


def margins_in_mode(mode: MarginSource, margins: Floats) -> Floats:
    """Returns the margins that the models get in a mode, (n,): as given, or NaN if the teams are unknown."""
    return np.full_like(margins, np.nan) if mode is MarginSource.UNKNOWN else margins


def carry(start: RatingFilter, games: Games) -> tuple[RatedGames, RatingFilter]:
    """Updates ratings game by game; the games must be later than those already in `start`.

    The schedule of each game is from the games before it in its season, all of which should be among these.

    Returns:
        The games with the margins expected before each of them, and the state after the last one.
    """
    margins, _, after = _carried(start, games, margin_terms(games))
    return RatedGames(games, margins), after


def _carried(start: RatingFilter, games: Games, terms: Sequence[GameTerms]) -> tuple[Floats, Floats, RatingFilter]:
    return carried_margins(start, games.season, games.date, games.home, games.away, games.final, terms)


def fit_ratings(games: Games, steps: int, advance: Advance, *, with_terms: bool = True) -> RatingSettings:
    """Estimates the settings by maximum likelihood.

    Args:
        games: training games. The settings between seasons are only estimated from several seasons; with a single one,
            their defaults are kept.
        steps: maximum number of likelihood evaluations; each runs over all games once.
        advance: called as steps are done, `steps` in total.
        with_terms: whether schedule, playoffs and altitude enter the expected margins.
    """
    from scipy.optimize import minimize  # imported late: it takes a second, and all of the trainer imports this module

    several = len(np.unique(games.season)) > 1
    # Do not spend a short search on settings that the games do not identify.
    free = [field.name for field in fields(RatingSettings) if several or field.name not in {"carry", "seasonal"}]
    start = [_to_free(name, getattr(_START, name)) for name in free]
    terms = margin_terms(games)
    evaluations = 0

    def objective(values: Floats) -> float:
        nonlocal evaluations
        if evaluations < steps:
            advance(1)
        evaluations += 1
        return mean_nll(_settings(free, values), games, terms, with_terms=with_terms)

    simplex = np.array([start] + [[*start[:axis], start[axis] + 0.7, *start[axis + 1 :]] for axis in range(len(start))])
    options = {"initial_simplex": simplex, "maxfev": steps, "xatol": 0.02, "fatol": 1e-5}
    optimum = minimize(objective, start, method="Nelder-Mead", options=options)
    advance(max(steps - evaluations, 0))
    return _settings(free, optimum.x)


def mean_nll(settings: RatingSettings, games: Games, terms: Sequence[GameTerms], *, with_terms: bool = True) -> float:
    """Returns the mean negative log-likelihood per game after the burn-in, up to a constant; `terms` are the games'."""
    margins, variance, _ = _carried(RatingFilter.start(settings, with_terms=with_terms), games, terms)
    burn_in = round(BURN_IN * int((games.season == games.season[0]).sum()))
    error = games.final - margins
    return float(np.mean(np.log(variance[burn_in:]) + np.square(error[burn_in:]) / variance[burn_in:])) / 2


def _to_free(name: str, value: float) -> float:
    """Maps a setting to the real line: a share by its logit, a variance by its logarithm."""
    return float(np.log(value / (1 - value)) if name == "carry" else np.log(value))


def _settings(names: Sequence[str], values: Floats) -> RatingSettings:
    chosen = {
        name: float(1 / (1 + np.exp(-value)) if name == "carry" else np.exp(value))
        for name, value in zip(names, values, strict=True)
    }
    return replace(_START, **chosen)


def margins_with_frozen_ratings(before: RatingFilter, games: Games, *, update: bool = True) -> Floats:
    """Computes expected margins with ratings frozen at the start of each season, like those of a bundle.

    Only ratings are frozen: each game has the terms of its day, which a server knows too.

    Args:
        before: state before the first of the games, updated with at least one game.
        games: n games, later than those in the state.
        update: whether to update the state between seasons; if not, it only regresses to the mean in each.

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
    """Computes errors of the expected margins of games.

    Args:
        past: training games.
        before: state of the ratings after the training games.
        new: later games, with margins from carried ratings.

    Returns:
        Mean absolute and root mean square error in points, by source of the margins: carried; frozen, the ratings after
        training, shrunk to the mean once for each season since; constant, the home advantage in the training games.
    """
    games = new.games
    frozen = margins_with_frozen_ratings(before, games, update=False)
    sources = {"carried": new.margins, "frozen": frozen, "constant": np.full(len(games), past.final.mean())}
    errors = {name: margins - games.final for name, margins in sources.items()}
    return {
        name: (float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))) for name, error in errors.items()
    }
