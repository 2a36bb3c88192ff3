"""What a game's plays say at a moment: its scores, which minutes are complete, and how the half and the game ended.

Everything is computed anew from all plays at each read, since the feed edits and inserts plays after the fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from dejavu_feed.nba.live import Play
from dejavu_feed.pattern import REGULATION_MINUTES, Score, slots


def scores(plays: Iterable[Play]) -> list[Score]:
    """The course of the score, in the order of the plays."""
    return [Score(play.elapsed, play.home, play.away) for play in plays]


def completed_minutes(plays: Sequence[Play]) -> int:
    """How many minutes of play are complete, 0 … 48; overtime adds none.

    A minute is complete once the last play is *strictly later* than its end: at the very second another free throw may
    follow, and a play with a slip in its clock is followed by others without. The scoreboard's clock says nothing here,
    since it may run ahead of the plays.
    """
    elapsed = plays[-1].elapsed if plays else 0.0
    return min(REGULATION_MINUTES, max(0, -int(-elapsed // 60) - 1))


def live_pattern(plays: Sequence[Play], minutes: int) -> tuple[int, ...] | None:
    """The slots of the first `minutes` minutes, or None while they are not complete (`completed_minutes`)."""
    return slots(scores(plays), minutes) if completed_minutes(plays) >= minutes else None


def completed_at(plays: Iterable[Play], minutes: int) -> datetime | None:
    """When, by the feed's wall clock, the first play past the end of a minute happened; None if it does not tell."""
    return next((play.actual for play in plays if play.elapsed > 60 * minutes), None)


def last_change(plays: Iterable[Play], now: datetime) -> datetime | None:
    """When, by the feed's wall clock, the newest of the plays happened or was edited; None if it does not tell.

    A moment after `now` is a slip of the pen and does not count: it would stand for ever as the newest.
    """
    moments = (moment for play in plays for moment in (play.actual, play.edited))
    return max((moment for moment in moments if moment and moment <= now), default=None)


def earliest_end(plays: Iterable[Play], now: datetime, minutes: int) -> datetime | None:
    """Before when, by the feed's wall clock, a minute of play cannot be over; None if it does not tell.

    The game's clock runs no faster than time: with 90 s left at a play, the minute ends 90 s after it at the earliest.
    A play after `now` does not count.

    Args:
        plays: of a game that has not reached the end of that minute.
        now: aware.
        minutes: which minute, for instance 24 for the half.
    """
    told = ((play.actual, play.elapsed) for play in plays if play.actual and play.actual <= now)
    return max((actual + timedelta(seconds=60 * minutes - elapsed) for actual, elapsed in told), default=None)


def period_is_over(plays: Iterable[Play], period: int) -> bool:
    """Whether a period has ended: its end is among the plays, or a play of a later period."""
    return any(play.period > period or (play.period == period and _ends_period(play)) for play in plays)


def ended_at(plays: Iterable[Play], period: int) -> datetime | None:
    """When a period ended by the feed's wall clock: that of its end, or of the next play; None if it does not tell."""
    return next((play.actual for play in plays if period_is_over([play], period)), None)


def halftime_score(plays: Sequence[Play]) -> Score | None:
    """The score at the half, or None while the half is not over.

    Only plays of the first two quarters count, the last of them wins: a technical foul during the break belongs to the
    third. Its differential is slot 24 of the game's pattern.
    """
    if not period_is_over(plays, 2):
        return None
    of_half = scores(play for play in plays if play.period <= 2)
    return of_half[-1] if of_half else Score(0.0, 0, 0)


def final_score(plays: Sequence[Play]) -> Score | None:
    """The score at the end of the game, overtime included, or None while it is not over.

    It is over once its last period, the fourth or a later one, has ended and nobody is level.
    """
    if not plays:
        return None
    last = max(play.period for play in plays)
    end = scores(plays)[-1]
    return end if last >= 4 and period_is_over(plays, last) and end.home != end.away else None


def _ends_period(play: Play) -> bool:
    return play.action == "period" and play.detail == "end"
