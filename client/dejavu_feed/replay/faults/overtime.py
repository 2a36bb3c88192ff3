"""Extends a game into overtime."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, Score
from dejavu_feed.replay.games import ReplayGame

_END: Final = 4 * QUARTER_SECONDS
_THREE_QUARTERS: Final = 3 * QUARTER_SECONDS


def extend_to_overtime(game: ReplayGame) -> ReplayGame:
    """Extends a game: the losing team ties it in the last quarter and loses in overtime.

    Earlier quarters are unchanged. A game that already has an overtime is returned unchanged.
    """
    if game.scores[-1].elapsed > _END:
        return game
    final = game.scores[-1]
    behind = abs(final.home - final.away)
    threes = math.ceil(behind / 3)
    home_behind = final.home < final.away
    # Threes spread over the last quarter; the last one is in its last second.
    times = [_THREE_QUARTERS + (QUARTER_SECONDS - 1.0) * number / threes for number in range(1, threes + 1)]

    def caught_up(score: Score) -> Score:
        added = min(behind, 3 * sum(time <= score.elapsed for time in times))
        home, away = (added, 0) if home_behind else (0, added)
        return Score(score.elapsed, score.home + home, score.away + away)

    inserted = [Score(time, *_at(game.scores, time)) for time in times]
    timeline = sorted([*game.scores, *inserted], key=lambda score: score.elapsed)
    scores = [caught_up(score) for score in timeline]
    level = scores[-1]
    for minute in range(1, OVERTIME_SECONDS // 60):
        home, away = scores[-1].home, scores[-1].away
        winner_scores = minute != 2
        home_scores = home_behind != winner_scores
        scores.append(Score(level.elapsed + 1 + 60.0 * minute, home + 2 * home_scores, away + 2 * (not home_scores)))
    return replace(game, scores=tuple(scores))


def _at(scores: tuple[Score, ...], time: float) -> tuple[int, int]:
    return max(((score.home, score.away) for score in scores if score.elapsed <= time), key=sum, default=(0, 0))
