"""Forecasts between the ends of minutes: at the newest play, every half minute, and after each play at the end.

Before the last minutes, there is one after every `pace` seconds of play without a forecast; then, and in overtime, one
of each new state since the last read: score, possession or free throws to come. While it is not known how many free
throws are to come, no forecast is made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.requests import FEED_HORIZONS
from dejavu_feed.live_inputs import Possession, Side
from dejavu_feed.moment import Moment, moment_fault, moment_of
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.nba.plays import Play, known_minutes, periods_over
from dejavu_feed.pattern import OVERTIME_SECONDS, elapsed_seconds, slots
from dejavu_poller.watched_game import DueMoment, WatchedGame

DEFAULT_PACE: Final = 30.0
"""Seconds of play between two forecasts before the last minutes."""

_MOST_BETWEEN_READS: Final = 30.0
"""Seconds of play before the newest moment from which states are still forecast."""

_MOST_PLAYS: Final = 100
"""Plays before the newest after which states are forecast; half a minute of play has fewer than thirty."""

_MOST_BETWEEN_PLAYS: Final = 30.0
"""Seconds of play without a play, which are more than a shot clock."""


def newest_moments(game: WatchedGame, plays: Sequence[Play]) -> tuple[DueMoment, ...]:
    """Return the moment after the newest play of a live game, for each horizon that it can be forecast for.

    There is none if the game is over, before free throws whose number is not known, at the end of a period, which is
    the beginning of the next one, unless free throws are to come, and if the scoreboard shows that plays are missing.
    """
    if not _is_current(game, plays):
        return ()
    last = plays[-1]
    # An overtime is known some minutes before it begins: once its free throws were made and the feed ends the period.
    is_level = not last.clock and last.home == last.away and last.free_throws == 0
    if is_level and last.period >= 4 and periods_over(plays) >= last.period:
        return _moments(game, plays, Moment(last.period + 1, OVERTIME_SECONDS, 0), None)
    return _moments_after(game, plays)


def _moments_after(game: WatchedGame, plays: Sequence[Play]) -> tuple[DueMoment, ...]:
    """Return the moment after the last of some plays; see `newest_moments`."""
    last = plays[-1]
    if last.free_throws is None or not (last.clock or last.free_throws):
        return ()
    moment = moment_of(last.period, last.clock, last.home - last.away, last.free_throws)
    sides = {game.state.home: Side.HOME, game.state.away: Side.AWAY}
    ball = Possession(sides[last.possession], last.shot_in_air) if last.possession in sides else None
    return () if ball is None and last.free_throws else _moments(game, plays, moment, ball)


def _moments(
    game: WatchedGame, plays: Sequence[Play], moment: Moment, ball: Possession | None
) -> tuple[DueMoment, ...]:
    """Return the requests of a moment, for each horizon that it can be forecast for."""
    known = known_minutes(plays)
    pattern = slots((play.score for play in plays), moment.slots)
    return tuple(
        DueMoment(watched.horizon, pattern, moment, ball)
        for watched in game.horizons.values()
        if watched.minutes.start <= moment.slots <= known
        and moment_fault(moment, pattern, FEED_HORIZONS[watched.horizon]) is None
    )


def due_moments(
    game: WatchedGame, plays: Sequence[Play], newest: Sequence[DueMoment], pace: float
) -> tuple[DueMoment, ...]:
    """Return the moments to forecast now, in the order of play.

    Args:
        game: the game.
        plays: its plays.
        newest: the moments after the newest play.
        pace: seconds of play between two forecasts before the last minutes.
    """
    due = [each for each in newest if _is_due(game, each, pace)]
    if _is_current(game, plays):
        earlier = [each for before in game.moments.values() for each in _since(game, plays, before)]
        keys = {_key(each) for each in newest}
        due += {_key(each): each for each in earlier if _key(each) not in keys}.values()
    return tuple(sorted(due, key=lambda each: each.moment.elapsed))


def _since(game: WatchedGame, plays: Sequence[Play], before: DueMoment) -> list[DueMoment]:
    """Return the moments to forecast between the last one forecast and the newest play, in the order of play.

    Several plays can come in one read. What is more than _MOST_BETWEEN_READS before the newest is not forecast.
    """
    newest = plays[-1]
    if not Moment(newest.period, newest.clock, newest.home - newest.away).is_late(FEED_HORIZONS[before.horizon]):
        return []
    since = max(before.moment.elapsed, newest.elapsed - _MOST_BETWEEN_READS)
    found = list[DueMoment]()
    for number in range(len(plays) - 1, max(0, len(plays) - _MOST_PLAYS), -1):
        if plays[number - 1].elapsed < since:
            break
        after = [each for each in _moments_after(game, plays[:number]) if each.horizon == before.horizon]
        if before in after:
            break
        found += (each for each in after if _is_due(game, each, math.inf))
    return found[::-1]


def _is_due(game: WatchedGame, newest: DueMoment, pace: float) -> bool:
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


def _key(due: DueMoment) -> tuple[Horizon.ValueType, float, int]:
    """Return what tells the forecasts of moments apart: a later one within the same second is a revision."""
    return due.horizon, due.moment.elapsed, due.moment.free_throws


def _is_current(game: WatchedGame, plays: Sequence[Play]) -> bool:
    return bool(plays) and game.state.status is GameStatus.LIVE and not _is_stale(plays[-1], game.state)


def _is_stale(newest: Play, state: GameState) -> bool:
    """Return whether the scoreboard is ahead of the plays: by another score, or by more time than passes without."""
    if state.clock is None:
        return False
    ahead = elapsed_seconds(state.period, state.clock) - newest.elapsed
    differs = (state.home_score, state.away_score) != (newest.home, newest.away)
    return ahead > _MOST_BETWEEN_PLAYS or (ahead > 0 and differs)
