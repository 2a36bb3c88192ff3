"""From the course of a score to the slots of a pattern: the one definition, for training and for live games."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

QUARTER_SECONDS = 720
OVERTIME_SECONDS = 300
HALFTIME_MINUTES = 24
REGULATION_MINUTES = 48


class Score(NamedTuple):
    """The score from a moment of the game on."""

    elapsed: float
    """Game seconds since tip-off."""
    home: int
    away: int


def slots(scores: Iterable[Score], minutes: int) -> tuple[int, ...]:
    """Differentials (home − away, in points) at the end of each of the first `minutes` minutes.

    Slot m is that of the last of `scores`, in their order, whose moment is not after the end of minute m: a score is
    carried forward when nobody scored, and a later row wins where two disagree, so that corrections count. Before the
    first row the score is 0–0.
    """
    # For each minute the last row, in the order given, that falls into it.
    last: list[tuple[int, int] | None] = [None] * minutes
    for order, (elapsed, home, away) in enumerate(scores):
        minute = max(0, -int(-elapsed // 60) - 1)
        if minute < minutes:
            last[minute] = (order, home - away)
    result = []
    newest = (-1, 0)
    for entry in last:
        if entry is not None and entry > newest:
            newest = entry
        result.append(newest[1])
    return tuple(result)


def period_of(elapsed: float) -> int:
    """The period (1–4, overtimes from 5 on) of a moment: one ends with its last moment; tip-off is in the first."""
    regulation = 4 * QUARTER_SECONDS
    if elapsed <= regulation:
        return max(1, -int(-elapsed // QUARTER_SECONDS))
    return 4 - int(-(elapsed - regulation) // OVERTIME_SECONDS)


def elapsed_seconds(period: int, clock_seconds: float) -> float:
    """Game seconds since tip-off when `clock_seconds` are left in a period (1–4 the quarters, 5 and on overtime)."""
    if period <= 4:
        return period * QUARTER_SECONDS - clock_seconds
    return 4 * QUARTER_SECONDS + (period - 4) * OVERTIME_SECONDS - clock_seconds
