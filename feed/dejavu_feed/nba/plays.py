"""A play of a game, and the detection of damaged rows: plays that contradict the plays around them."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import Final

from dejavu_feed.pattern import Score

_LEEWAY: Final = 2.0
"""Seconds by which the clock of a play may differ from the clocks of the plays around it. In recorded games of the feed
the clocks never run back."""

_NEAR: Final = 6
"""Maximum points of a team in a plausible step of the score over two plays."""

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
        after_gap: whether the score changed since the previous play in a play that could not be read.
        possession, shot_in_air: see `dejavu_feed.events.Event`.
        free_throws: free throws that the team with the ball has next (`dejavu_feed.events.free_throws_to_come`).
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
    explained = _is_explained(_score(before), play) or _is_explained(play.score, after)
    return not explained and _is_near(_score(before), after.score)


def _score(play: Play | None) -> Score:
    return Score(0.0, 0, 0) if play is None else play.score


def _is_explained(before: Score, play: Play) -> bool:
    """Return whether a play's own points explain the step to its score."""
    own = _POINTS.get(play.action, 0) if play.scoring else 0
    return sorted((play.home - before.home, play.away - before.away)) == [0, own]


def _is_near(now: Score, then: Score) -> bool:
    return max(abs(then.home - now.home), abs(then.away - now.away)) <= _NEAR


def mark_gaps(plays: Mapping[int, Play], places: Collection[int]) -> tuple[Play, ...]:
    """Return plays, marked if the score changed before them in a play that could not be read.

    Args:
        plays: plays in order, by their place in the feed's list.
        places: places of the plays that could not be read.
    """
    marked = []
    before, place_before = Score(0.0, 0, 0), -1
    missing = [*sorted(places), math.inf]
    for place, play in plays.items():
        gap = not _is_explained(before, play) and missing[bisect_right(missing, place_before)] < place
        marked.append(replace(play, after_gap=True) if gap else play)
        before, place_before = play.score, place
    return tuple(marked)
