"""Plays of a game, damaged rows among them, and the progress of the game: scores, completed minutes, results.

The progress is recomputed from all plays at each read, because the feed edits and inserts plays afterwards.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise, zip_longest
from typing import Final

from dejavu_feed.events import possessions
from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.pattern import (
    QUARTER_MINUTES,
    QUARTER_SECONDS,
    REGULATION_MINUTES,
    Score,
    inputs_from_scores,
)

_LEEWAY: Final = 2.0
"""Seconds by which the clock of a play may differ from the clocks of the plays around it. In recorded games of the feed
the clocks never run back."""

_NEAR: Final = 6
"""Maximum points of a team in a plausible step of the score over two plays."""

_TAKEN_BACK: Final = 6
"""Maximum points of a team that one play can take back. In 5,108 games of the live feed (2021 to 2024) it is 2."""

_POINTS: Final = {"2pt": 2, "3pt": 3, "freethrow": 1}
"""Points of a made shot by the feed's `actionType`."""


@dataclass(frozen=True, slots=True)
class Play:
    """An event of a game, with the score after it.

    Attributes:
        order: sort key among the game's plays (`orderNumber`); edits do not change it.
        elapsed: game seconds since tip-off.
        clock: seconds left in the period.
        action, detail: the feed's `actionType` and `subType`, for example "period" and "end".
        scoring: whether a shot or a free throw was made.
        actual: time of the play by the feed's wall clock, aware; not monotone; None if not reported.
        edited: time of the last edit, aware; None if not reported.
        after_gap: whether the score changed since the previous play in a play that could not be read, or is not listed.
        possession, shot_in_air: see `dejavu_feed.events.Event`.
        free_throws: free throws that the team with the ball has next (`dejavu_feed.events.free_throws_to_come`).
        team: NBA code of the acting team; empty if there is none, or the feed does not say.
    """

    order: int
    period: int
    clock: float
    elapsed: float
    home: int
    away: int
    action: str
    detail: str = ""
    scoring: bool = False
    actual: datetime | None = None
    edited: datetime | None = None
    after_gap: bool = False
    possession: str = ""
    shot_in_air: bool = False
    free_throws: int | None = 0
    team: str = ""

    @property
    def score(self) -> Score:
        """The score from this play on."""
        return Score(self.elapsed, self.home, self.away)


def plausible_plays(plays: Mapping[int, Play]) -> dict[int, Play]:
    """Return the plays without those that contradict the plays around them.

    A play contradicts them if its clock differs from the clocks before and after it, which agree with each other. It
    also does if its own points do not explain its score, nor the points of the next play the score after it, while the
    scores before and after it are close. The last play does if two shots do not explain the step to its score.

    Args:
        plays: plays in order, by their place in the feed's list.
    """
    kept: dict[int, Play] = {}
    before: Play | None = None
    for (place, play), after in zip_longest(plays.items(), list(plays.values())[1:]):
        if not _contradicts(before, play, after):
            kept[place] = before = play
    return kept


def _contradicts(before: Play | None, play: Play, after: Play | None) -> bool:
    earliest = before.elapsed if before else 0.0
    latest = after.elapsed if after else math.inf
    if earliest <= latest + _LEEWAY and not earliest - _LEEWAY <= play.elapsed <= latest + _LEEWAY:
        return True
    if after is None:
        return not _is_near(_score(before), play.score)
    explained = is_explained(_score(before), play) or is_explained(play.score, after)
    return not explained and _is_near(_score(before), after.score)


def _score(play: Play | None) -> Score:
    return Score(0.0, 0, 0) if play is None else play.score


def fallen_score(plays: Iterable[Play]) -> str:
    """Return where the score falls by more than a correction takes back, as when a feed starts again at 0; "" if not.

    It is not known then which scores are true.

    Args:
        plays: plausible plays, in order.
    """
    for before, play in pairwise(plays):
        if max(before.home - play.home, before.away - play.away) > _TAKEN_BACK:
            return f"the score falls from {before.away}–{before.home} to {play.away}–{play.home} in play {play.order}"
    return ""


def is_explained(before: Score, play: Play) -> bool:
    """Return whether a play's own points explain the step to its score."""
    return sorted((play.home - before.home, play.away - before.away)) == [0, own_points(play)]


def own_points(play: Play) -> int:
    """Return the points that a play scores."""
    return _POINTS.get(play.action, 0) if play.scoring else 0


def _is_near(now: Score, then: Score) -> bool:
    return max(abs(then.home - now.home), abs(then.away - now.away)) <= _NEAR


def mark_gaps(plays: Mapping[int, Play], places: Collection[int]) -> tuple[Play, ...]:
    """Return plays, marked if the score changed before them in a play that could not be read, or is not listed.

    Args:
        plays: plays in order, by their place in the feed's list.
        places: places of the plays that could not be read.
    """
    marked = []
    before, place_before = Score(0.0, 0, 0), -1
    missing = [*sorted(places), math.inf]
    for place, play in plays.items():
        is_unread = missing[bisect_right(missing, place_before)] < place or not _is_near(before, play.score)
        gap = is_unread and not is_explained(before, play)
        marked.append(replace(play, after_gap=True) if gap else play)
        before, place_before = play.score, place
    return tuple(marked)


def completed_minutes(plays: Sequence[Play]) -> int:
    """Return the number of completed minutes of play, 0 … 48; overtime adds none.

    A minute is complete once the last play is *strictly later* than its end: another free throw may follow at the same
    second, and a play with a wrong clock is followed by plays with a correct one. The scoreboard's clock is not used
    because it may run ahead of the plays. The last minute of a quarter is complete when the plays show the quarter's
    end, so that during the break the forecast is not that of the minute before: the feed enters the end after the free
    throws at the buzzer. If the end is withdrawn, or a play is inserted before it, the forecast is revised as after any
    other correction.
    """
    elapsed = plays[-1].elapsed if plays else 0.0
    quarter, left = divmod(elapsed, QUARTER_SECONDS)
    if not left and periods_over(plays) >= quarter:
        return min(REGULATION_MINUTES, int(quarter) * QUARTER_MINUTES)
    return min(REGULATION_MINUTES, max(0, -int(-elapsed // 60) - 1))


def known_minutes(plays: Sequence[Play]) -> int:
    """Return the number of completed minutes whose differentials are known.

    A minute is not known if its end lies in a gap: between a play and the next one that could be read. No pattern
    contains it until the feed corrects the play.
    """
    before = 0.0
    for play in plays:
        minute = max(1, -int(-before // 60))
        if play.after_gap and 60 * minute < play.elapsed:
            return min(minute - 1, completed_minutes(plays))
        before = play.elapsed
    return completed_minutes(plays)


def inputs_from_plays(plays: Sequence[Play], minutes: int, home: str) -> tuple[LiveInputs, ...]:
    """Return the live inputs at the end of each of the first `minutes` minutes, as far as they are known.

    After a gap it is not known when the last points were scored, until the next play with points.

    Args:
        plays: the plays, in order.
        minutes: number of minutes.
        home: NBA code of the home team.
    """
    inputs = list(inputs_from_scores((play.score for play in plays), minutes))
    balls = possessions(((play.elapsed, play.possession, play.shot_in_air) for play in plays), minutes, home)
    inputs = [replace(known, possession=ball) for known, ball in zip(inputs, balls, strict=True)]
    since: float | None = None
    for before, play in pairwise(plays):
        if play.after_gap:
            since = before.elapsed
        elif since is not None and play.score[1:] != before.score[1:]:
            _forget_last_score(inputs, since, play.elapsed)
            since = None
    if since is not None:
        _forget_last_score(inputs, since, math.inf)
    return tuple(inputs)


def _forget_last_score(inputs: list[LiveInputs], start: float, end: float) -> None:
    for minute, known in enumerate(inputs, start=1):
        if start <= 60 * minute < end:
            inputs[minute - 1] = replace(known, last_score=None)


def completed_at(plays: Iterable[Play], minutes: int) -> datetime | None:
    """Return the feed's wall-clock time of the play that completes a minute; None if it is not reported.

    This is the first play after the end of the minute, or the end of the quarter.
    """
    end = 60 * minutes
    for play in plays:
        if play.elapsed > end or (play.elapsed == end and not end % QUARTER_SECONDS and _ends_period(play)):
            return play.actual
    return None


def last_change(plays: Sequence[Play], now: datetime) -> datetime | None:
    """Return the feed's wall-clock time of the newest play or edit; None if it is not reported.

    Ignores times after `now`, which are data entry errors that would remain the newest forever.
    """
    newest: datetime | None = None
    for play in reversed(plays):  # the newest play is usually last
        for time in (play.edited, play.actual):
            if time is not None and (newest is None or time > newest) and time <= now:
                newest = time
    return newest


def earliest_end(plays: Iterable[Play], now: datetime, minutes: int) -> datetime | None:
    """Return the earliest time, by the feed's wall clock, at which a minute of play can be over; None if unknown.

    The game clock is never faster than real time: if a play has 90 s left, the minute ends at least 90 s after it.
    Ignores plays after `now`.

    Args:
        plays: plays of a game that has not reached the end of that minute.
        now: current time, aware.
        minutes: number of the minute, for example 24 for the half.
    """
    timed = ((play.actual, play.elapsed) for play in plays if play.actual and play.actual <= now)
    return max((actual + timedelta(seconds=60 * minutes - elapsed) for actual, elapsed in timed), default=None)


def periods_over(plays: Iterable[Play]) -> int:
    """Return the number of periods that have ended: the plays contain their end or a play of a later period."""
    over = 0
    for play in plays:
        if play.period > over:
            over = play.period if _ends_period(play) else play.period - 1
    return over


def ended_at(plays: Iterable[Play], period: int) -> datetime | None:
    """Return the feed's wall-clock time of a period's end, or else of the next play; None if it is not reported."""
    return next(
        (play.actual for play in plays if play.period > period or (play.period == period and _ends_period(play))), None
    )


def halftime_score(plays: Sequence[Play]) -> Score | None:
    """Return the score at the half, or None until the half is over.

    Uses the last play of the first two quarters: a technical foul during the break belongs to the third quarter. The
    differential equals slot 24 of the game's pattern. The score is None if a play at the break could not be read.
    """
    after = next((play for play in plays if play.period > 2), None)
    if periods_over(plays) < 2 or (after is not None and after.after_gap):
        return None
    last = next((play for play in reversed(plays) if play.period <= 2), None)
    return Score(0.0, 0, 0) if last is None else last.score


def final_score(plays: Sequence[Play]) -> Score | None:
    """Return the final score, overtime included, or None until the game is over.

    The game is over once its last period, the fourth or later, has ended and the score is not tied.
    """
    if not plays or plays[-1].home == plays[-1].away:
        return None
    if periods_over(plays) < max(4, *(play.period for play in plays)):
        return None
    return plays[-1].score


def _ends_period(play: Play) -> bool:
    return play.action == "period" and play.detail == "end"
