"""The rule that decides which recorded games are eligible, for both training and replays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from dejavu_feed.pattern import QUARTER_MINUTES, Score, elapsed_seconds, period_of, slots

QUARTERS = frozenset({1, 2, 3, 4})

LARGEST_CHANGE: Final = 18
"""Largest plausible change of the differential in one minute, in points; the largest of 14,151 real games is 12."""

LONGEST_END: Final = 240
"""Largest plausible number of seconds without a score at the end of a game; the largest of 14,151 real ones is 190."""


def exclusion_reason(away: str | None, scores: Sequence[Score]) -> str:
    """Return why a game is excluded; "" if it is eligible.

    Some sources list games that were never played (without an away team), truncate games, or mix up the rows of a game.
    A game is eligible if it has an away team, a row in each quarter (a row at tip-off counts for the first), a last row
    at most LONGEST_END seconds before the end, and a winner. Its differential must change by at most LARGEST_CHANGE in
    every minute but the last: an export of a ledger puts all points that were not followed live into the last minute.

    Args:
        away: the away team; None if it is missing in a row.
        scores: every change of the score in chronological order; at least one.
    """
    if away is None:
        return "away is missing"
    if empty := QUARTERS - {period_of(score.elapsed) for score in scores}:
        return f"quarter {min(empty)} has no row"
    last = scores[-1].elapsed
    if (left := elapsed_seconds(period_of(last), 0.0) - last) > LONGEST_END:
        return f"its scores end {left:.0f} s before the end of period {period_of(last)}"
    if scores[-1].home == scores[-1].away:
        return "it ends tied"
    levels = (0, *slots(scores, 4 * QUARTER_MINUTES - 1))
    largest, minute = max((abs(after - before), minute) for minute, (before, after) in enumerate(pairwise(levels), 1))
    if largest > LARGEST_CHANGE:
        return f"its differential changes by {largest} points in minute {minute}"
    return ""
