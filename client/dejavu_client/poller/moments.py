"""Forecasts between the ends of minutes: at the newest play, every half minute, and after each play at the end.

Before the last minutes, there is one after every `pace` seconds of play without a forecast; then, and in overtime, one
of each new state: score, possession or free throws to come. While it is not known how many free throws are to come, no
forecast is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dejavu_client.poller.watched_game import DueMoment, WatchedGame
from dejavu_client.requests import FEED_HORIZONS
from dejavu_feed.live_inputs import Possession, Side
from dejavu_feed.moment import Moment, moment_fault
from dejavu_feed.nba.game_progress import known_minutes
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play
from dejavu_feed.pattern import elapsed_seconds, slots

DEFAULT_PACE: Final = 30.0
"""Seconds of play between two forecasts before the last minutes."""

_MOST_BETWEEN_PLAYS: Final = 30.0
"""Seconds of play without a play, which are more than a shot clock."""


def newest_moments(game: WatchedGame, plays: Sequence[Play]) -> tuple[DueMoment, ...]:
    """Return the moment after the newest play of a live game, for each horizon that it can be forecast for.

    There is none if the game is over, before free throws whose number is not known, at the end of a period, which is
    the beginning of the next one, and if the scoreboard shows that plays are missing.
    """
    if not plays or game.state.status is not GameStatus.LIVE or not plays[-1].clock:
        return ()
    last, known = plays[-1], known_minutes(plays)
    if last.free_throws is None or _is_stale(last, game.state):
        return ()
    moment = Moment(last.period, last.clock, last.home - last.away, last.free_throws)
    sides = {game.state.home: Side.HOME, game.state.away: Side.AWAY}
    ball = Possession(sides[last.possession], last.shot_in_air) if last.possession in sides else None
    if ball is None and last.free_throws:
        return ()
    pattern = slots((play.score for play in plays), moment.slots)
    return tuple(
        DueMoment(watched.horizon, pattern, moment, ball)
        for watched in game.horizons.values()
        if watched.minutes.start <= moment.slots <= known
        and moment_fault(moment, pattern, FEED_HORIZONS[watched.horizon]) is None
    )


def is_due(game: WatchedGame, newest: DueMoment, pace: float) -> bool:
    """Return whether a moment is to be forecast now: it is in its turn, and not the one that was forecast last.

    Args:
        game: the game.
        newest: the moment.
        pace: seconds of play between two forecasts before the last minutes.
    """
    moment, before = newest.moment, game.moments.get(newest.horizon)
    if newest == before:
        return False
    if newest.is_last:
        return True
    if moment.is_late(FEED_HORIZONS[newest.horizon]):
        return not moment.is_end_of_minute  # which has the forecast of its minute
    since = max(60.0 * moment.slots, 0.0 if before is None else before.moment.elapsed)
    return moment.elapsed - since >= pace


def _is_stale(newest: Play, state: GameState) -> bool:
    """Return whether the scoreboard is ahead of the plays: by another score, or by more time than passes without."""
    if state.clock is None:
        return False
    ahead = elapsed_seconds(state.period, state.clock) - newest.elapsed
    differs = (state.home_score, state.away_score) != (newest.home, newest.away)
    return ahead > _MOST_BETWEEN_PLAYS or (ahead > 0 and differs)
