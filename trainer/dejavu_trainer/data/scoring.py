"""Total points and last scores of a game at the end of each minute: derived from its plays, or as a ledger has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from dejavu_feed.pattern import REGULATION_MINUTES, Score, score_summaries

UNKNOWN: Final = -1
"""Total points or seconds that are not known."""


class Scoring(NamedTuple):
    """The fields of `dejavu_trainer.data.games.Games` that say how many points there were and who scored last."""

    totals: tuple[int, ...]
    final_total: int
    last_side: tuple[int, ...]
    last_seconds: tuple[int, ...]


_MINUTES: Final = range(1, REGULATION_MINUTES + 1)
_NOTHING: Final = (UNKNOWN, 0, UNKNOWN)


def scoring_of(scores: Sequence[Score]) -> Scoring:
    """Derives totals and last scores from a game's plays.

    All are unknown if each row is at the end of a minute: the exports of ledgers of release 0.1 are like this, and
    their scores are only the lowest ones with the game's differentials.
    """
    if not any(score.elapsed % 60 for score in scores):
        return _of_minutes([_NOTHING for _ in _MINUTES], UNKNOWN)
    minutes = []
    for minute, (total, last) in zip(_MINUTES, score_summaries(scores, REGULATION_MINUTES), strict=True):
        minutes.append((total, 0, 60 * minute) if last is None else (total, int(last.side), last.seconds))
    return _of_minutes(minutes, scores[-1].home + scores[-1].away)


def recorded_scoring(elapsed: Sequence[float], recorded: Sequence[tuple[int, int, int]]) -> Scoring:
    """Returns totals and last scores as they were recorded; unknown for minutes without a row at their end.

    Args:
        elapsed: time of each row, in game seconds.
        recorded: total points, last side and last seconds of each row, UNKNOWN (and side 0) where not recorded. The
            total of the last row is that of the whole game.
    """
    rows = dict(zip(elapsed, recorded, strict=True))
    return _of_minutes([rows.get(60.0 * minute, _NOTHING) for minute in _MINUTES], recorded[-1][0])


def _of_minutes(minutes: list[tuple[int, int, int]], final_total: int) -> Scoring:
    totals, sides, seconds = zip(*minutes, strict=True)
    return Scoring(totals, final_total, sides, seconds)
