"""The day of a game: in US Eastern, where an evening of games may end after midnight."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

_DAY_START: Final = timedelta(hours=11)
"""A game day starts at 11:00 UTC: 6 or 7 a.m. in New York, when no game is in progress."""


def day_bounds(instant: datetime) -> tuple[datetime, datetime]:
    """Return when the `game_day` of an instant (aware, UTC) begins, and when the next one does."""
    start = (instant - _DAY_START).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY_START
    return start, start + timedelta(days=1)


def game_day(instant: datetime) -> date:
    """Return the local calendar date of a game that is in progress at an instant (aware, UTC)."""
    return (instant - _DAY_START).date()


def parse_day(text: str) -> date:
    """Parse a day in the form YYYY-MM-DD only.

    `date.fromisoformat` also accepts 20240506 and week dates such as 2024-W01-1.

    Raises:
        ValueError: if the text is anything else.
    """
    day = date.fromisoformat(text[: len("YYYY-MM-DD") + 1])  # no more, because the text may be long
    if day.isoformat() != text:
        raise ValueError(f"{text[:20]!r} is not written YYYY-MM-DD")
    return day
