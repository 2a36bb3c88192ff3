"""Which recorded games count: the one rule, for training and for evenings that are played again."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu_feed.pattern import Score, period_of

QUARTERS = frozenset({1, 2, 3, 4})


def exclusion_reason(away: str | None, scores: Sequence[Score]) -> str:
    """Why a game does not count; "" if it does.

    Some sources list games that were never played, without an away team, and break others off. A game counts if it has
    an away team, a row in each quarter (one at tip-off is in the first) and a winner.

    Args:
        away: the away team; None if a row names none.
        scores: every change of the score, in the order in which they happened; at least one.
    """
    if away is None:
        return "away is missing"
    if empty := QUARTERS - {period_of(score.elapsed) for score in scores}:
        return f"quarter {min(empty)} has no row"
    if scores[-1].home == scores[-1].away:
        return "it ends tied"
    return ""
