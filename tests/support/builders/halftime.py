"""Half-time differentials and patterns of plays, for tests that compare them."""

from __future__ import annotations

from collections.abc import Sequence

from dejavu_feed.nba.plays import Play, completed_minutes, halftime_score
from dejavu_feed.pattern import slots


def halftime_differential(plays: Sequence[Play]) -> int | None:
    """Return home − away at the half, in points; None before the end of the half."""
    score = halftime_score(plays)
    return None if score is None else score.home - score.away


def live_pattern(plays: Sequence[Play], minutes: int) -> tuple[int, ...] | None:
    """Return the slots of the first `minutes` minutes, or None until they are complete (`completed_minutes`)."""
    return slots((play.score for play in plays), minutes) if completed_minutes(plays) >= minutes else None
