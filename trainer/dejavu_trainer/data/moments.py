"""States of games before the half, before the end and in overtime: after the last play of each second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.horizon import Horizon
from dejavu_feed.pattern import OVERTIME_SECONDS, Score
from dejavu_models.arrays import Singles

COLUMNS: Final = ("elapsed_s", "differential", "total_points", "side", "shot_in_air")
"""Columns of a game's states: seconds of play since tip-off, home − away and points of both after the play, the side
with the ball (1 home, −1 away, 0 unknown), and whether a shot of it is in the air (1, else 0)."""

WINDOWS: Final = {Horizon.HALFTIME: 180, Horizon.FINAL: 360}
"""Seconds before a horizon from which the states are kept; for the final, also all of overtime."""

_ENDS: Final = {horizon: 60 * horizon.minutes for horizon in Horizon}


def no_moments(count: int) -> NDArray[np.object_]:
    """Return the states of games that have none, (n,)."""
    result = np.empty(count, np.object_)
    for row in range(count):
        result[row] = np.empty((0, len(COLUMNS)), np.float32)
    return result


def moments_of(scores: Sequence[Score], balls: Sequence[tuple[float, str, bool]], home: str) -> Singles:
    """Return the states of a game, (k, COLUMNS), in order of time; none if its scores are out of order.

    A state at the end of a period is left out: the next period starts from the score alone.

    Args:
        scores: the score after each play.
        balls: time of each event, the team that has the ball after it, and whether a shot of that team is in the air.
        home: NBA code of the home team.
    """
    times = np.array([0.0, *(score.elapsed for score in scores)])
    if (np.diff(times) < 0).any():
        return np.empty((0, len(COLUMNS)), np.float32)
    points = np.array([(0, 0), *((score.home, score.away) for score in scores)], np.float32)
    ball_times = np.array([elapsed for elapsed, _, _ in balls])
    if not (times % 1).any():  # the plays have whole seconds since tip-off, rounded up: so that both agree
        ball_times = np.ceil(np.round(ball_times, 2))
    sides = np.array([0 if not team else 1 if team == home else -1 for _, team, _ in balls], np.float32)
    in_air = np.array([shot_in_air for _, _, shot_in_air in balls], np.float32)
    starts = [_ENDS[horizon] - seconds for horizon, seconds in WINDOWS.items()]
    at = np.unique(np.concatenate([times, ball_times, starts]))
    at = at[_in_windows(at) & (at <= times[-1])]
    row = np.searchsorted(times, at, side="right") - 1
    result = np.zeros((len(at), len(COLUMNS)), np.float32)
    result[:, 0], result[:, 1], result[:, 2] = at, points[row, 0] - points[row, 1], points[row].sum(axis=1)
    if len(ball_times) and (np.diff(ball_times) >= 0).all():
        ball = np.searchsorted(ball_times, at, side="right") - 1
        known = (ball >= 0) & (_period(ball_times[ball]) == _period(at))
        result[:, 3], result[:, 4] = np.where(known, sides[ball], 0.0), np.where(known, in_air[ball], 0.0)
    return result


def states_at(moments: Singles, times: NDArray[np.float64]) -> Singles:
    """Return the states of a game at some times, (times, COLUMNS): of the last play; NaN before the first one."""
    result = np.full((len(times), len(COLUMNS)), np.nan, np.float32)
    row = np.searchsorted(moments[:, 0], times, side="right") - 1
    result[row >= 0] = moments[row[row >= 0]]
    return result


def moments_to_array(moments: NDArray[np.object_]) -> Singles:
    """Return the states of n games as rows, (states, 1 + COLUMNS), the game's index first."""
    rows = [np.insert(of_game, 0, game, axis=1) for game, of_game in enumerate(moments) if len(of_game)]
    return np.concatenate(rows) if rows else np.empty((0, 1 + len(COLUMNS)), np.float32)


def moments_from_array(rows: Singles, count: int) -> NDArray[np.object_]:
    """Return the states of n games, (n,), from the output of `moments_to_array`.

    Raises:
        ValueError: if a row is of none of the games, or they are out of order.
    """
    games, result = rows[:, 0].astype(np.int64), no_moments(count)
    if ((games < 0) | (games >= count)).any() or (np.diff(games) < 0).any():
        raise ValueError(f"the states are not those of {count} games, in order")
    numbers, starts = np.unique(games, return_index=True)
    for game, of_game in zip(numbers.tolist(), np.split(rows[:, 1:], starts[1:]), strict=True) if len(rows) else ():
        result[game] = of_game.astype(np.float32)
    return result


def _in_windows(at: NDArray[np.float64]) -> NDArray[np.bool_]:
    half, end = _ENDS[Horizon.HALFTIME], _ENDS[Horizon.FINAL]
    before_half = (at >= half - WINDOWS[Horizon.HALFTIME]) & (at < half)
    late = (at >= end - WINDOWS[Horizon.FINAL]) & (np.where(at < end, 1.0, (at - end) % OVERTIME_SECONDS) > 0)
    return before_half | late


def _period(at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the number of the period, as quarters before the end of regulation and overtimes after it."""
    end = _ENDS[Horizon.FINAL]
    return np.where(at <= end, np.ceil(at / 720), 4 + np.ceil((at - end) / OVERTIME_SECONDS))
