"""Age of ratings: whether a game is close enough to the newest final that they know."""

from __future__ import annotations

from datetime import date
from typing import Final

from dejavu_feed.off_season import days_around
from dejavu_models.types import WarningReason

MAX_DAYS: Final = 30
"""Default of the greatest age at which ratings are used, in days; summers are not counted (`dejavu_feed.off_season`).
It is longer than any pause of a season but that of 2020."""


def usable(newest: date, game_date: date | None, max_days: int) -> bool:
    """Returns whether ratings may be used for a game.

    Args:
        newest: date of the newest final that they know.
        game_date: date of the game; None: their age is not counted.
        max_days: their greatest age, in days without summers; also how far they may be ahead of the game.
    """
    if game_date is None:
        return True
    first, last = days_around(newest, max_days)
    return first <= game_date <= last


def ratings_warnings(newest: date, game_date: date | None, max_days: int) -> tuple[WarningReason, ...]:
    """Returns what the age of ratings makes unreliable; see `usable`."""
    if game_date is None:
        return ()
    if game_date < newest:
        return (WarningReason.RATINGS_AHEAD,)
    return () if game_date <= days_around(newest, max_days)[1] else (WarningReason.RATINGS_OUTDATED,)
