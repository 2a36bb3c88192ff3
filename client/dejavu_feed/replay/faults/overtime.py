"""A played game that goes on longer than it did."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, Score
from dejavu_feed.replay.games import ReplayGame

_END: Final = 4 * QUARTER_SECONDS
_THREE_QUARTERS: Final = 3 * QUARTER_SECONDS


def extend_to_overtime(game: ReplayGame) -> ReplayGame:
    """The same game up to its last quarter, in which the losing team comes back, and an overtime that it loses again.

    A game that had an overtime is returned as it is.
    """
    if game.scores[-1].elapsed > _END:
        return game
    final = game.scores[-1]
    behind = abs(final.home - final.away)
    threes = math.ceil(behind / 3)
    home_behind = final.home < final.away
    # Threes spread over the last quarter, the last one in its last second.
    moments = [_THREE_QUARTERS + (QUARTER_SECONDS - 1.0) * number / threes for number in range(1, threes + 1)]

    def caught_up(score: Score) -> Score:
        more = min(behind, 3 * sum(moment <= score.elapsed for moment in moments))
        home, away = (more, 0) if home_behind else (0, more)
        return Score(score.elapsed, score.home + home, score.away + away)

    in_between = [Score(moment, *_at(game.scores, moment)) for moment in moments]
    course = sorted([*game.scores, *in_between], key=lambda score: score.elapsed)
    scores = [caught_up(score) for score in course]
    level = scores[-1]
    for minute in range(1, OVERTIME_SECONDS // 60):
        home, away = scores[-1].home, scores[-1].away
        winner_scores = minute != 2
        home_scores = home_behind != winner_scores
        scores.append(Score(level.elapsed + 1 + 60.0 * minute, home + 2 * home_scores, away + 2 * (not home_scores)))
    return replace(game, scores=tuple(scores))


def _at(scores: tuple[Score, ...], moment: float) -> tuple[int, int]:
    """The score at a moment."""
    return max(((score.home, score.away) for score in scores if score.elapsed <= moment), key=sum, default=(0, 0))
