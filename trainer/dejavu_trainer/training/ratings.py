"""Fits the ratings of teams and players: settings, terms of the schedule, and ratings carried from game to game.

The settings maximize the likelihood of the training games' outcomes, each predicted from earlier games: prediction
error decomposition (Schweppe 1965; Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989,
section 3.4), maximized by the simplex search of Nelder & Mead (1965). The schedule of a game is from the games before
it; its terms equal those of a server.

The ratings of players are fitted with the effect of line-ups on the expected margin of a game.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.box_score import MARKS, Lineups, lineups
from dejavu_feed.game_ids import PLAYOFF_PHASES
from dejavu_models.arrays import Floats
from dejavu_models.components.component import Advance
from dejavu_models.player_ratings import SHAPE, LineupDifferences, LineupWeights, PlayerRatings, place_of
from dejavu_models.ratings import FilterT, RatingFilter, RatingSettings, TeamFilter, carried_expectations
from dejavu_models.schedule import GameTerms, ScheduleHistory, TotalTerms, game_terms, total_terms
from dejavu_trainer.data.events import SeenLine
from dejavu_trainer.data.games import Games

TermsT = TypeVar("TermsT", GameTerms, TotalTerms)


def margin_terms(games: Games) -> list[GameTerms]:
    """Return the terms by which the schedule and the phase of each game enter its expected margin.

    Args:
        games: games, from the first of each season on: missing ones count as not played.
    """
    return _terms(games, game_terms)


def totals_terms(games: Games) -> list[TotalTerms]:
    """Return the terms by which schedule and phase of each game enter its expected total; see `margin_terms`."""
    return _terms(games, total_terms)


def _terms(games: Games, terms_of: Callable[..., TermsT]) -> list[TermsT]:
    history, terms = ScheduleHistory(), list[TermsT]()
    columns = (games.date.tolist(), games.home.tolist(), games.away.tolist(), games.neutral, games.phase.tolist())
    for day, home, away, neutral, phase in zip(*columns, strict=True):
        schedule = history.before(day, home, away, neutral_site=neutral)
        terms.append(terms_of(schedule, home, is_playoffs=phase in PLAYOFF_PHASES))
        history = history.after(day, home, away)
    return terms


BURN_IN = 0.5
"""Share of the first season's games left out of the likelihood; they depend on the initial state of equal teams."""


def carried(
    start: FilterT, games: Games, outcomes: Floats, terms: Sequence[Sequence[float]]
) -> tuple[Floats, Floats, FilterT]:
    """Carry a filter from game to game; see `carried_expectations`."""
    return carried_expectations(start, games.season, games.date, games.home, games.away, outcomes, terms)


def fit_settings(
    start: TeamFilter, games: Games, outcomes: Floats, terms: Sequence[Sequence[float]], steps: int, advance: Advance
) -> RatingSettings:
    """Estimate the settings of a filter by maximum likelihood.

    Args:
        start: the state before the first game, with the settings from which the search starts.
        games: n training games. `carry` and `seasonal` are estimated only if there are several seasons; otherwise they
            stay unchanged.
        outcomes: (n,), the filter's target of each game, in points.
        terms: (n, k), regressors of each game's outcome; a filter without terms uses only the first.
        steps: maximum number of likelihood evaluations; each runs over all games once.
        advance: called with the number of steps done, `steps` in total.
    """
    from scipy.optimize import minimize  # imported late: it takes a second, and all of the trainer imports this module

    several = len(np.unique(games.season)) > 1
    # Do not spend a short search on settings that the games do not identify.
    free = [field.name for field in fields(RatingSettings) if several or field.name not in {"carry", "seasonal"}]
    first = [_to_free(name, getattr(start.settings, name)) for name in free]
    evaluations = 0

    def objective(values: Floats) -> float:
        nonlocal evaluations
        if evaluations < steps:
            advance(1)
        evaluations += 1
        return mean_nll(replace(start, settings=_settings(start.settings, free, values)), games, outcomes, terms)

    simplex = np.array([first] + [[*first[:axis], first[axis] + 0.7, *first[axis + 1 :]] for axis in range(len(first))])
    options = {"initial_simplex": simplex, "maxfev": steps, "xatol": 0.02, "fatol": 1e-5}
    optimum = minimize(objective, first, method="Nelder-Mead", options=options)
    advance(max(steps - evaluations, 0))
    return _settings(start.settings, free, optimum.x)


def mean_nll(start: TeamFilter, games: Games, outcomes: Floats, terms: Sequence[Sequence[float]]) -> float:
    """Return the mean negative log-likelihood per game after the burn-in, up to a constant.

    Args:
        start: the state before the first game, with the settings in question.
        games: n games.
        outcomes: (n,), the filter's target of each game, in points.
        terms: (n, k), regressors of each game's outcome; a filter without terms uses only the first.
    """
    expected, variance, _ = carried(start, games, outcomes, terms)
    burn_in = round(BURN_IN * int((games.season == games.season[0]).sum()))
    error = outcomes - expected
    return float(np.mean(np.log(variance[burn_in:]) + np.square(error[burn_in:]) / variance[burn_in:])) / 2


def _to_free(name: str, value: float) -> float:
    """Map a setting to the real line: a share by its logit, a variance by its logarithm."""
    return float(np.log(value / (1 - value)) if name == "carry" else np.log(value))


def _settings(base: RatingSettings, names: Sequence[str], values: Floats) -> RatingSettings:
    chosen = {
        name: float(1 / (1 + np.exp(-value)) if name == "carry" else np.exp(value))
        for name, value in zip(names, values, strict=True)
    }
    return replace(base, **chosen)


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


def carry(start: RatingFilter, games: Games) -> tuple[RatedGames, RatingFilter]:
    """Update ratings game by game; the games must be later than those already in `start`.

    The terms of the schedule are derived from the earlier games of the season, so `games` should contain all of
    them.

    Returns:
        The games with the margins expected before each of them, and the state after the last one.
    """
    margins, _, after = carried(start, games, games.final.astype(np.float64), margin_terms(games))
    return RatedGames(games, margins), after


def fit_ratings(games: Games, steps: int, advance: Advance) -> RatingSettings:
    """Estimate the settings of the filter of margins by maximum likelihood; see `fit_settings`.

    Args:
        games: training games.
        steps: maximum number of likelihood evaluations.
        advance: called with the number of steps done, `steps` in total.
    """
    return fit_settings(
        RatingFilter.start(), games, games.final.astype(np.float64), margin_terms(games), steps, advance
    )


def frozen(before: TeamFilter, games: Games, terms: Sequence[Sequence[float]]) -> Floats:
    """Return the expected outcomes of games of one season, (n,) in points, with ratings as they stand before it."""
    state = before.predict(int(games.season[0]))
    columns = zip(games.home.tolist(), games.away.tolist(), terms, strict=True)
    return np.array([state.expected(home, away, of_game)[0] for home, away, of_game in columns])


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
        of_season = games.select(which)
        margins[which] = frozen(state, of_season, [terms[game] for game in np.flatnonzero(which)])
        state = carry(state, of_season)[1] if update else state.predict(season)
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


LEAST_GAMES: Final = 1000
"""Minimum number of games with known line-ups for a model that uses them."""


@dataclass(frozen=True)
class LineupGames:
    """Values of the line-ups of n games, home − away in points; NaN where they are not known.

    Attributes:
        missing: (n, 4), expected line-ups minus usual ones, by mark.
        usual: (n,), usual line-ups.
    """

    missing: Floats
    usual: Floats

    def added(self, weights: LineupWeights, margins: Floats) -> Floats:
        """Return the effect of line-ups on margins, (n, 4) by mark in points; 0 where they are not known.

        Args:
            weights: the coefficients.
            margins: (n,), expected margins without them, in points.
        """
        points = weights.points(LineupDifferences(self.missing, self.usual[:, None]), margins[:, None])
        return np.nan_to_num(points.missing + points.usual)


def fit_players(games: Games, margins: Floats) -> PlayerRatings | None:
    """Rate the players of games, and fit the coefficients of line-ups to their finals.

    Args:
        games: n games.
        margins: (n,), expected margins from carried ratings, in points; finite.

    Returns:
        The ratings after the last game; None with fewer than LEAST_GAMES games whose line-ups are known.
    """
    of_games, state = rate_players(PlayerRatings(), games)
    known = np.isfinite(of_games.usual)
    if known.sum() < LEAST_GAMES:
        return None
    surprise = (games.final - margins)[known]
    inputs = [
        np.stack([of_games.missing[known, mark], of_games.usual[known], margins[known]], axis=1)
        for mark in range(len(MARKS))
    ]
    fitted = np.linalg.lstsq(np.concatenate(inputs), np.tile(surprise, len(MARKS)))[0]
    return replace(state, weights=LineupWeights(*fitted.tolist()))


def rate_players(start: PlayerRatings, games: Games) -> tuple[LineupGames, PlayerRatings]:
    """Carry ratings of players from game to game; games of one day do not influence each other's line-ups.

    The probabilities to play are those of the seasons before; games without a box score change nothing.

    Returns:
        The line-ups before each game, and the ratings after the last.
    """
    missing, usual = np.full((len(games), len(MARKS)), np.nan), np.full(len(games), np.nan)
    state, asked = start, np.zeros((2, *SHAPE))
    for day in np.unique(games.date):
        rows = np.flatnonzero(games.date == day).tolist()
        season = int(games.season[rows[0]])
        if season > state.season:
            state = replace(state.before(season), plays=_plays(asked) if asked.any() else state.plays)
        for row in rows:
            home, away, seen = str(games.home[row]), str(games.away[row]), games.box_scores[row]
            if not seen:
                continue
            so_far = [seen_until(seen, mark) for mark in MARKS]
            _count(asked, state, (home, away), so_far, seen)
            if state.knows(home, away, season):
                found = [state.differences(home, away, each) for each in so_far]
                missing[row], usual[row] = [each.missing for each in found], found[0].usual
        for row in rows:
            lines = [each.line for each in games.box_scores[row]]
            of_game = (str(games.home[row]), str(games.away[row]), season, float(games.final[row]))
            state = state.after(*of_game, lines)
    plays = _plays(asked) if asked.any() else state.plays
    return LineupGames(missing, usual), replace(state, plays=plays)


def seen_until(box_score: tuple[SeenLine, ...], minute: int) -> Lineups:
    """Return the players who were on court before the end of a minute of a game."""
    home, away = ([each for each in box_score if each.line.home is is_home] for is_home in (True, False))
    of_home, of_away = ([each.line.player for each in team if each.line.started] for team in (home, away))
    home_seen, away_seen = ([each.line.player for each in team if each.first < 60 * minute] for team in (home, away))
    return lineups(of_home, of_away, home_seen, away_seen, minute)


def _count(
    asked: Floats, state: PlayerRatings, teams: tuple[str, str], so_far: list[Lineups], box_score: tuple[SeenLine, ...]
) -> None:
    """Count, by place, usual players who were not seen, (1, …), and those of them who played later, (0, …)."""
    played = {each.line.player for each in box_score}
    for team in teams:
        for player, known in state.usual(team):
            for mark, lineup in enumerate(so_far):
                if player not in lineup.home_seen and player not in lineup.away_seen:
                    asked[(slice(None), mark, *place_of(known))] += player in played, 1


def _plays(asked: Floats) -> Floats:
    """Return the shares of players who played, by Laplace's rule of succession."""
    shares: Floats = (asked[0] + 1) / (asked[1] + 2)
    return shares
