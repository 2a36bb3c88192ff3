"""How a half ended, for tests that hold plays against patterns."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu_feed.nba.live import Play
from dejavu_feed.nba.progress import halftime_score


def halftime_differential(plays: Sequence[Play]) -> int | None:
    """Home − away at the half, in points; None while it is not over."""
    score = halftime_score(plays)
    return None if score is None else score.home - score.away
