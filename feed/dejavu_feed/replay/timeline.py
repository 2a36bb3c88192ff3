"""Timeline of a game: the publication time of each play, and the displayed clock in between.

Times are *game-day seconds*: real seconds since tip-off, including stoppages and breaks. A replay scales them by its
speed. The pace is that of real games: a quarter takes 27 minutes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from dejavu_feed.pattern import elapsed_seconds, period_of, period_seconds
from dejavu_feed.replay.games import ReplayGame

PACE: Final = 2.25
"""Game-day seconds per second of play."""
QUARTER_BREAK: Final = 210.0
HALFTIME_BREAK: Final = 990.0
GAME_END_DELAY: Final = 18.0
"""Game-day seconds from the last buzzer until the game is final."""

_SHOTS: Final = {1: ("freethrow", "1 of 1"), 2: ("2pt", "Jump Shot"), 3: ("3pt", "Jump Shot")}


@dataclass(frozen=True, slots=True)
class TimedPlay:
    """A play and when it is published.

    Attributes:
        at: time of publication, in game-day seconds since tip-off.
        clock: seconds left in the period.
        action, detail: the feed's `actionType` and `subType`.
        points: points of a made shot; 0 for other plays.
        by_home: whether the home team scored; meaningless without points.
    """

    at: float
    period: int
    clock: float
    home: int
    away: int
    action: str
    detail: str
    points: int = 0
    by_home: bool = True


@dataclass(frozen=True, slots=True)
class ClockState:
    """State of the scoreboard's clock. `period` is 0 before tip-off; `running` is False in breaks and at the end."""

    period: int
    clock: float
    running: bool


@dataclass(frozen=True)
class Timeline:
    """A game laid out in game-day seconds."""

    game: ReplayGame

    @cached_property
    def periods(self) -> int:
        """Number of periods, including overtimes."""
        return max(4, period_of(self.game.scores[-1].elapsed))

    @cached_property
    def plays(self) -> tuple[TimedPlay, ...]:
        """All plays in the order of publication."""
        return tuple(self._lay_out())

    @cached_property
    def length(self) -> float:
        """Game-day seconds from tip-off until the game is final."""
        return self.plays[-1].at

    def published(self, at: float) -> tuple[TimedPlay, ...]:
        """Return the plays published up to and including a time."""
        return self.plays[: bisect_right(self.plays, at, key=lambda play: play.at)]

    def clock_at(self, at: float) -> ClockState:
        """Return the clock at a time. It runs evenly: each second of play takes `PACE` game-day seconds."""
        if at < 0:
            return ClockState(0, 0.0, running=False)
        period = max(number for number in range(1, self.periods + 1) if number == 1 or _start(number) <= at)
        left = period_seconds(period) - (at - _start(period)) / PACE
        return ClockState(period, max(0.0, left), running=left > 0)

    def _lay_out(self) -> Iterator[TimedPlay]:
        home = away = 0
        remaining = iter(self.game.scores)
        score = next(remaining, None)
        for period in range(1, self.periods + 1):
            length = period_seconds(period)
            yield TimedPlay(_start(period), period, length, home, away, "period", "start")
            while score is not None and period_of(score.elapsed) == period:
                change = (score.home - home, score.away - away)
                home, away = score.home, score.away
                clock = elapsed_seconds(period, 0) - score.elapsed
                at = _start(period) + PACE * (length - clock)
                if change == (0, 0) and 0 < clock < length:
                    yield TimedPlay(at, period, clock, home, away, "rebound", "defensive")
                elif change != (0, 0):
                    # A change that no single shot explains (a decrease, or points for both teams) is a correction.
                    points = sum(change) if min(change) == 0 and max(change) in _SHOTS else 0
                    action, detail = _SHOTS.get(points, ("stoppage", "correction"))
                    yield TimedPlay(at, period, clock, home, away, action, detail, points, by_home=change[0] > 0)
                score = next(remaining, None)
            yield TimedPlay(_start(period) + PACE * length, period, 0.0, home, away, "period", "end")
        final = period_end(self.periods) + GAME_END_DELAY
        yield TimedPlay(final, self.periods, 0.0, home, away, "game", "end")


def period_end(period: int) -> float:
    """Return game-day seconds from tip-off to the end of a period."""
    return _start(period) + PACE * period_seconds(period)


def _start(period: int) -> float:
    played = elapsed_seconds(period, period_seconds(period))
    breaks = QUARTER_BREAK * (period - 1) + (HALFTIME_BREAK - QUARTER_BREAK) * (period > 2)
    return PACE * played + breaks
