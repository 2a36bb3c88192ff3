"""States of games before the half, before the end and in overtime: after each play that changes one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from dejavu_feed.events import Event, free_throws_to_come
from dejavu_feed.horizon import Horizon
from dejavu_feed.pattern import OVERTIME_SECONDS, Score
from dejavu_models.arrays import Singles

COLUMNS: Final = ("elapsed_s", "differential", "total_points", "side", "shot_in_air", "free_throws")
"""Columns of a game's states: seconds of play since tip-off, home − away and points of both after the play, the side
with the ball (1 home, −1 away, 0 unknown), whether a shot of it is in the air (1, else 0), and how many free throws it
has before the clock runs again."""

WINDOWS: Final = {Horizon.HALFTIME: 180, Horizon.FINAL: 360}
"""Seconds before a horizon from which the states are kept; for the final, also all of overtime."""


def no_moments(count: int) -> NDArray[np.object_]:
    """Return the states of games that have none, (n,)."""
    result = np.empty(count, np.object_)
    for row in range(count):
        result[row] = np.empty((0, len(COLUMNS)), np.float32)
    return result


def moments_of(scores: Sequence[Score], events: Sequence[Event], home: str) -> Singles:
    """Return the states of a game, (k, COLUMNS), in order of time; none if its scores are out of order.

    A state at the end of a period is left out: the next period starts from the score alone. So is one before free
    throws of which it is not clear who has the ball after them. Without events in order that lead to the same final
    score, the states are those after the scores, and who has the ball is unknown.

    Args:
        scores: the score after each play.
        events: events of the second quarter, the fourth and overtimes, in order, with the possession after each.
        home: NBA code of the home team.
    """
    if any(after.elapsed < before.elapsed for before, after in pairwise(scores)):
        return np.empty((0, len(COLUMNS)), np.float32)
    rows = [(score.elapsed, score.home, score.away, 0, 0, 0) for score in scores]
    if _are_in_order(events) and (events[-1].home, events[-1].away) == scores[-1][1:]:
        rows = [
            (
                event.elapsed, event.home, event.away,
                0 if not event.possession else 1 if event.possession == home else -1, event.shot_in_air, coming,
            )
            for event, coming in zip(events, free_throws_to_come(events), strict=True)
            if coming is not None
        ]  # fmt: skip
    at, home_points, away_points, *ball = np.array(rows, dtype=np.float64).T
    result = np.stack([at, home_points - away_points, home_points + away_points, *ball], axis=1)
    result = result[_in_windows(at)].astype(np.float32)
    changed: NDArray[np.bool_] = (np.diff(result, axis=0, prepend=np.nan) != 0).any(axis=1)
    return result[changed]


def _are_in_order(events: Sequence[Event]) -> bool:
    return bool(events) and all(after.elapsed >= before.elapsed for before, after in pairwise(events))


def moments_to_array(moments: NDArray[np.object_]) -> Singles:
    """Return the states of n games as rows, (states, 1 + COLUMNS), the game's index first."""
    rows = [np.insert(of_game, 0, game, axis=1) for game, of_game in enumerate(moments) if len(of_game)]
    return np.concatenate(rows) if rows else np.empty((0, 1 + len(COLUMNS)), np.float32)


def _in_windows(at: NDArray[np.float64]) -> NDArray[np.bool_]:
    half, end = Horizon.HALFTIME.seconds, Horizon.FINAL.seconds
    before_half = (at >= half - WINDOWS[Horizon.HALFTIME]) & (at < half)
    late = (at >= end - WINDOWS[Horizon.FINAL]) & (np.where(at < end, 1.0, (at - end) % OVERTIME_SECONDS) > 0)
    return before_half | late
