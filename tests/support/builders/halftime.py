"""Half-time differentials, for tests that compare plays with patterns."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu_feed.nba.live_payloads import Play
from dejavu_feed.nba.progress import halftime_score


def halftime_differential(plays: Sequence[Play]) -> int | None:
    """Returns home − away at the half, in points; None before the end of the half."""
    score = halftime_score(plays)
    return None if score is None else score.home - score.away
