"""Time: aware times in UTC, exact microseconds since 1970, and waiting with a time limit."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


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


async def wait_until_set(event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, but no longer than `seconds`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
