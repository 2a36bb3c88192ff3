"""Time: aware times in UTC, microseconds since 1970, days of games, waits with a limit, delays between attempts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_DAY_START: Final = timedelta(hours=11)
"""A game day is that of US Eastern, where an evening of games may end after midnight. It starts at 11:00 UTC: 6 or 7
a.m. in New York, when no game is in progress."""


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def rfc3339(time: datetime, timespec: str = "milliseconds") -> str:
    """Return an aware time as text, in UTC: 2026-11-21T18:00:00.000Z."""
    return time.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def microseconds(time: datetime) -> int:
    """Return the microseconds since 1970 of an aware time; exact, unlike a float of seconds.

    Raises:
        ValueError: if the time is not in UTC.
    """
    if time.tzinfo is not UTC and time.utcoffset() != timedelta(0):
        raise ValueError(f"not a time in UTC: {time!r}")
    since = time - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(value: int) -> datetime:
    """Return the UTC time of a number of microseconds since 1970."""
    return EPOCH + timedelta(microseconds=value)


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


async def wait_until_set(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, but no longer than `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Backoff:
    """Exponential backoff: `first` seconds, then `factor` times the previous delay, up to `longest`.

    Args:
        first: first delay, in seconds.
        longest: largest delay, in seconds.
        factor: growth of the delay.
        chance: random numbers in [0, 1), so that clients do not all retry together; None for no jitter. With jitter,
            each delay is between half and all of its full length ("equal jitter", Brooker, Exponential Backoff And
            Jitter, AWS 2015).
    """

    def __init__(
        self, first: float, longest: float, factor: float = 2.0, chance: Callable[[], float] | None = None
    ) -> None:
        self._first = first
        self._longest = longest
        self._factor = factor
        self._chance = chance
        self._next = first

    def next(self) -> float:
        """Return the delay before the next attempt, in seconds; each call makes the following one longer."""
        delay, self._next = self._next, min(self._factor * self._next, self._longest)
        return delay if self._chance is None else delay * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """Start again with the first delay."""
        self._next = self._first
