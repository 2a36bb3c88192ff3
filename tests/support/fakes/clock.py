"""A clock for tests that moves only by steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class SteppedClock:
    """A wall clock that moves only by `step`. Call it for the time."""

    def __init__(self, start: datetime = datetime(2026, 1, 15, 0, 30, tzinfo=UTC)) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def step(self, seconds: float) -> None:
        """Advance the clock."""
        self.now += timedelta(seconds=seconds)
