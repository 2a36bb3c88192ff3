"""Fits the ratings of players, and the effect of line-ups on the expected margin of a game."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from dejavu_feed.box_score import MARKS, Lineups, lineups
from dejavu_models.arrays import Floats
from dejavu_models.player_ratings import SHAPE, LineupDifferences, LineupWeights, PlayerRatings, place_of
from dejavu_trainer.data.box_scores import SeenLine
from dejavu_trainer.data.games import Games

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
