"""Forecast at the newest play where none of a minute can follow: in the last minute of a half, and in overtime.

It is a what-if that the table shows until the next play; nothing is recorded. While it is not known how many free
throws are to come, no forecast is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.watched_game import WatchedGame
from dejavu_client.requests import FEED_HORIZONS
from dejavu_feed.live_inputs import Possession, Side
from dejavu_feed.moment import Moment, moment_faults
from dejavu_feed.nba.game_progress import known_minutes
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play
from dejavu_feed.pattern import elapsed_seconds, slots

_MOST_BETWEEN_PLAYS: Final = 30.0
"""Seconds of play without a play, which are more than a shot clock."""


@dataclass(frozen=True, slots=True)
class DueMoment:
    """A forecast at a moment to request now.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        pattern: differentials of the complete minutes (home − away, points).
        moment: the state after the newest play.
        possession: who has the ball then; None if not known.
    """

    horizon: Horizon.ValueType
    pattern: tuple[int, ...]
    moment: Moment
    possession: Possession | None


def due_moment(game: WatchedGame, plays: Sequence[Play]) -> DueMoment | None:
    """Return the forecast at the newest play of a live game, if any.

    There is none while minutes are forecast, if the game is over, before free throws whose number is not known, and if
    the scoreboard shows that plays are missing.
    """
    if not plays or game.state.status is not GameStatus.LIVE:
        return None
    if plays[-1].free_throws is None or _is_stale(plays[-1], game.state):
        return None
    last, known = plays[-1], known_minutes(plays)
    moment = Moment(last.period, last.clock, last.home - last.away, last.free_throws or 0)
    for watched in game.horizons.values():
        horizon = FEED_HORIZONS[watched.horizon]
        if known < horizon.last_slot:
            continue
        pattern = slots((play.score for play in plays), horizon.last_slot)
        if next(moment_faults(moment, pattern, horizon), None) is None:
            side = Side.HOME if last.possession == game.state.home else Side.AWAY
            ball = Possession(side, last.shot_in_air) if last.possession else None
            return DueMoment(watched.horizon, pattern, moment, ball)
    return None


def _is_stale(newest: Play, state: GameState) -> bool:
    """Return whether the scoreboard is ahead of the plays: by another score, or by more time than passes without."""
    if state.clock is None:
        return False
    ahead = elapsed_seconds(state.period, state.clock) - newest.elapsed
    differs = (state.home_score, state.away_score) != (newest.home, newest.away)
    return ahead > _MOST_BETWEEN_PLAYS or (ahead > 0 and differs)
