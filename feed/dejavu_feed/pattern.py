"""Computes the slots of a pattern, and its live inputs, from a score timeline.

This is the single definition for training and live games.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from dejavu_feed.live_inputs import LastScore, LiveInputs, Side

QUARTER_MINUTES = 12
HALFTIME_MINUTES = 2 * QUARTER_MINUTES
REGULATION_MINUTES = 4 * QUARTER_MINUTES
QUARTER_SECONDS = 60 * QUARTER_MINUTES
OVERTIME_SECONDS = 300

LARGEST_MARGIN = 80
"""Largest plausible final margin, in points; the record is 73 (Memphis on 2 December 2021)."""


class Score(NamedTuple):
    """The score from a point in game time on."""

    elapsed: float
    """Game seconds since tip-off."""
    home: int
    away: int


def slots(scores: Iterable[tuple[float, int, int]], minutes: int) -> tuple[int, ...]:
    """Return the differentials (home − away, in points) at the end of each of the first `minutes` minutes.

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
        if max(0, minute) < minutes:
            last[max(0, minute)] = (order, home - away)
    result = []
    newest = (-1, 0)
    for entry in last:
        if entry is not None and entry > newest:
            newest = entry
        result.append(newest[1])
    return tuple(result)


def inputs_from_scores(scores: Iterable[tuple[float, int, int]], minutes: int) -> tuple[LiveInputs, ...]:
    """Return the live inputs at the end of each of the first `minutes` minutes.

    Args:
        scores: the score after each play and its time, as for `slots`.
        minutes: number of minutes.

    Uses the same rows as `slots`: for minute m the rows whose time is not after its end, in the given order. Points
    that a later row takes back do not count as a last score. If one row adds points for both teams, the home team's
    count as the last.
    """
    rows = [Score(*row) for row in scores]
    if all(before.elapsed <= after.elapsed for before, after in pairwise(rows)):
        return _inputs_from_scores(rows, range(1, minutes + 1))
    # A row with a wrong clock belongs to only some minutes, which are not necessarily the later ones.
    return tuple(
        _inputs_from_scores([row for row in rows if row.elapsed <= 60 * minute], range(minute, minute + 1))[0]
        for minute in range(1, minutes + 1)
    )


def _inputs_from_scores(rows: list[Score], minutes: range) -> tuple[LiveInputs, ...]:
    """Compute live inputs at the ends of minutes; each uses the rows before the first one after that minute's end."""
    home: list[tuple[int, float]] = []  # one entry per point: number and time of the row that scored it
    away: list[tuple[int, float]] = []
    result = []
    index = 0
    for minute in minutes:
        while index < len(rows) and rows[index].elapsed <= 60 * minute:
            row = rows[index]
            for points, score in ((home, row.home), (away, row.away)):
                del points[score:]
                points.extend([(index, row.elapsed)] * (score - len(points)))
            index += 1
        result.append(LiveInputs(len(home) + len(away), _last_score(home, away, 60 * minute)))
    return tuple(result)


def _last_score(home: list[tuple[int, float]], away: list[tuple[int, float]], end: int) -> LastScore | None:
    if not home and not away:
        return None
    by_home = not away or bool(home and home[-1] >= away[-1])
    _, elapsed = (home if by_home else away)[-1]
    return LastScore(Side.HOME if by_home else Side.AWAY, int(end - elapsed))


def period_of(elapsed: float) -> int:
    """Return the period (1–4, overtimes from 5) of a game time. A period includes its end; tip-off is in the first."""
    regulation = 4 * QUARTER_SECONDS
    if elapsed <= regulation:
        return max(1, -int(-elapsed // QUARTER_SECONDS))
    return 4 - int(-(elapsed - regulation) // OVERTIME_SECONDS)


def period_seconds(period: int) -> int:
    """Return the length of a period (1–4 quarters, from 5 overtimes) in seconds of play."""
    return QUARTER_SECONDS if period <= 4 else OVERTIME_SECONDS


def elapsed_seconds(period: int, clock_seconds: float) -> float:
    """Return game seconds since tip-off when `clock_seconds` are left in a period."""
    return min(period, 4) * QUARTER_SECONDS + max(period - 4, 0) * OVERTIME_SECONDS - clock_seconds
