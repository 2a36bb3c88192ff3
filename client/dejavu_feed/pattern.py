"""Computes the slots of a pattern from a score timeline: the single definition for training and live games."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

QUARTER_MINUTES = 12
HALFTIME_MINUTES = 2 * QUARTER_MINUTES
REGULATION_MINUTES = 4 * QUARTER_MINUTES
QUARTER_SECONDS = 60 * QUARTER_MINUTES
OVERTIME_SECONDS = 300


class Score(NamedTuple):
    """The score from a point in game time on."""

    elapsed: float
    """Game seconds since tip-off."""
    home: int
    away: int


def slots(scores: Iterable[tuple[float, int, int]], minutes: int) -> tuple[int, ...]:
    """Returns the differentials (home − away, in points) at the end of each of the first `minutes` minutes.

    Args:
        scores: the score (home, away) after each play and its time, as `Score` or as a plain tuple.
        minutes: number of slots.

    Slot m is the differential of the last of `scores`, in the given order, whose time is not after the end of minute m.
    Scores are carried forward through minutes without points, and a later row overrides an earlier one, so corrections
    count. Before the first row the score is 0–0.
    """
    # For each minute, the last row in the given order that falls into it.
    last: list[tuple[int, int] | None] = [None] * minutes
    for order, (elapsed, home, away) in enumerate(scores):
        minute = -int(-elapsed // 60) - 1
        if minute < minutes:
            last[max(0, minute)] = (order, home - away)
    result = []
    newest = (-1, 0)
    for entry in last:
        if entry is not None and entry > newest:
            newest = entry
        result.append(newest[1])
    return tuple(result)


def period_of(elapsed: float) -> int:
    """Returns the period (1–4, overtimes from 5) of a game time. A period includes its end; tip-off is in the first."""
    regulation = 4 * QUARTER_SECONDS
    if elapsed <= regulation:
        return max(1, -int(-elapsed // QUARTER_SECONDS))
    return 4 - int(-(elapsed - regulation) // OVERTIME_SECONDS)


def period_seconds(period: int) -> int:
    """Returns the length of a period (1–4 quarters, from 5 overtimes) in seconds of play."""
    return QUARTER_SECONDS if period <= 4 else OVERTIME_SECONDS


def elapsed_seconds(period: int, clock_seconds: float) -> float:
    """Returns game seconds since tip-off when `clock_seconds` are left in a period."""
    return min(period, 4) * QUARTER_SECONDS + max(period - 4, 0) * OVERTIME_SECONDS - clock_seconds
