"""Compares the sides of a game: home and away on the scoreboard, in its game code and in the plays.

A feed can exchange home and away, in its scores or in its teams. A forecast from it has the wrong sign, however certain
it is. In 5,108 games of the live feed (2021 to 2024) no scoring play raises the score of the other team.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dejavu_feed.nba.live_payloads import GameState
from dejavu_feed.nba.plays import Play, is_explained, own_points, periods_over
from dejavu_feed.pattern import Score
from dejavu_feed.score_changes import Points, exchanged_sides
from dejavu_feed.teams import TEAMS

_RECENT: Final = 5
"""Newest scoring plays, of which one at most may contradict the sides."""

_CLOSER: Final = 12
"""Points by which the score of the plays must fit the scoreboard better once it is exchanged: a scoreboard may be a
minute or two ahead of the plays, or behind."""


def contradiction(state: GameState, plays: Sequence[Play]) -> str:
    """Return what contradicts the sides of a game; "" if nothing does.

    Args:
        state: the game on the scoreboard, or in its box score.
        plays: its plays so far, in order.
    """
    home, away = state.home, state.away
    if state.code_teams == (away, home):
        return f"home and away are in doubt: {away} @ {home} on the scoreboard, but {home} @ {away} in the game code"
    found = _of_teams(state, plays) or _of_periods(state, plays) or _of_score(state, plays)
    return found and f"home and away are in doubt: {found}"


def _of_teams(state: GameState, plays: Sequence[Play]) -> str:
    """Return how the teams of scoring plays contradict the sides whose scores they raise."""
    if not {state.home, state.away} <= TEAMS.keys():
        return ""
    points, before = list[Points](), Score(0.0, 0, 0)
    for play in plays:
        if play.team and own_points(play) and is_explained(before, play):
            points.append(Points(play.team, play.home > before.home))
        before = play.score
    return exchanged_sides(points, state.home, state.away, _RECENT)


def _of_periods(state: GameState, plays: Sequence[Play]) -> str:
    """Return how the points of the periods that are over contradict those of the plays, if they fit the other sides."""
    shown = list(zip(state.home_periods, state.away_periods, strict=False))
    before, over = Score(0.0, 0, 0), periods_over(plays)
    exchanged = ""
    for period in range(1, min(over, len(shown)) + 1):
        last = next((play.score for play in reversed(plays) if play.period <= period), before)
        points = last.home - before.home, last.away - before.away
        before = last
        if points == shown[period - 1]:
            return ""
        if points == shown[period - 1][::-1]:
            exchanged = exchanged or (
                f"the scoreboard has {shown[period - 1][1]}–{shown[period - 1][0]} in period {period}, "
                f"the plays have {points[1]}–{points[0]}"
            )
    return exchanged


def _of_score(state: GameState, plays: Sequence[Play]) -> str:
    """Return how the score contradicts that of the plays, if it fits the other sides much better."""
    if not plays:
        return ""
    home, away = plays[-1].home, plays[-1].away
    straight = abs(home - state.home_score) + abs(away - state.away_score)
    exchanged = abs(away - state.home_score) + abs(home - state.away_score)
    if straight <= exchanged + _CLOSER:
        return ""
    return f"the scoreboard has {state.away_score}–{state.home_score}, the plays have {away}–{home}"
