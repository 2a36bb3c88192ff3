"""What a game's plays say at a moment: its scores, whether minutes are complete, and how the half ended.

Everything is computed anew from all plays at each read, since the feed edits and inserts plays after the fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from dejavu_feed.live import Play
from dejavu_feed.pattern import HALFTIME_MINUTES, Score, slots


def scores(plays: Iterable[Play]) -> list[Score]:
    """The course of the score, in the order of the plays."""
    return [Score(play.elapsed, play.home, play.away) for play in plays]


def live_pattern(plays: Sequence[Play], minutes: int) -> tuple[int, ...] | None:
    """The slots of the first `minutes` minutes, or None while they are not complete.

    They are complete once the last play is *strictly later* than their end: at the very second another free throw may
    follow, and a play with a slip in its clock is followed by others without. The scoreboard's clock says nothing here,
    since it may run ahead of the plays.
    """
    if not plays or plays[-1].elapsed <= 60 * minutes:
        return None
    return slots(scores(plays), minutes)


def last_change(plays: Iterable[Play], now: datetime) -> datetime | None:
    """When, by the feed's wall clock, the newest of the plays happened or was edited; None if it does not tell.

    A moment after `now` is a slip of the pen and does not count: it would stand for ever as the newest.
    """
    moments = (moment for play in plays for moment in (play.actual, play.edited))
    return max((moment for moment in moments if moment and moment <= now), default=None)


def earliest_half(plays: Iterable[Play], now: datetime) -> datetime | None:
    """Before when, by the feed's wall clock, the half cannot be over; None if it does not tell.

    The game's clock runs no faster than time: with 90 s left at a play, the half ends 90 s after it at the earliest.
    A play after `now` does not count.
    """
    left = 60 * HALFTIME_MINUTES
    told = ((play.actual, play.elapsed) for play in plays if play.actual and play.actual <= now)
    return max((actual + timedelta(seconds=left - elapsed) for actual, elapsed in told), default=None)


def half_is_over(plays: Iterable[Play]) -> bool:
    """Whether the second quarter has ended: its end is among the plays, or a play of a later period."""
    return any(play.period > 2 or (play.period == 2 and _ends_period(play)) for play in plays)


def halftime_score(plays: Sequence[Play]) -> Score | None:
    """The score at the half, or None while the half is not over.

    Only plays of the first two quarters count, the last of them wins: a technical foul during the break belongs to the
    third. Its differential is slot 24 of the game's pattern.
    """
    if not half_is_over(plays):
        return None
    of_half = scores(play for play in plays if play.period <= 2)
    return of_half[-1] if of_half else Score(0.0, 0, 0)


def _ends_period(play: Play) -> bool:
    return play.action == "period" and play.detail == "end"
