"""The rule that decides which recorded games are eligible, for both training and replays."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu_feed.pattern import Score, period_of

QUARTERS = frozenset({1, 2, 3, 4})


def exclusion_reason(away: str | None, scores: Sequence[Score]) -> str:
    """Return why a game is excluded; "" if it is eligible.

    Some sources list games that were never played, without an away team, and truncate others. A game is eligible if it
    has an away team, a row in each quarter (a row at tip-off counts for the first) and a winner.

    Args:
        away: the away team; None if it is missing in a row.
        scores: every change of the score in chronological order; at least one.
    """
    if away is None:
        return "away is missing"
    if empty := QUARTERS - {period_of(score.elapsed) for score in scores}:
        return f"quarter {min(empty)} has no row"
    if scores[-1].home == scores[-1].away:
        return "it ends tied"
    return ""
