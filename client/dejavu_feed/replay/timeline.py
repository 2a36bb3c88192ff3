"""A played game laid out in time: when each of its plays is published, and what the clock shows in between.

Times are *life seconds*: seconds of a real evening since tip-off, stoppages and breaks included. A replay shows them
faster, but in the same proportion. The pace is that of real games: a quarter takes 27 minutes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_SECONDS, elapsed_seconds, period_of
from dejavu_feed.replay.games import ReplayGame

PACE: Final = 2.25
"""Life seconds a second of play takes."""
QUARTER_BREAK: Final = 210.0
HALFTIME_BREAK: Final = 990.0
GAME_END_DELAY: Final = 18.0
"""Life seconds from the last buzzer until the game is final."""

_SHOTS: Final = {1: ("freethrow", "1 of 1"), 2: ("2pt", "Jump Shot"), 3: ("3pt", "Jump Shot")}


@dataclass(frozen=True, slots=True)
class TimedPlay:
    """A play and when it is published.

    Attributes:
        at: life seconds since tip-off.
        clock: seconds left in the period.
        action, detail: as the feed's `actionType` and `subType`.
        points: how many it made; 0 for what is no shot.
        by_home: whose shot it was; meaningless if no points were made.
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
class Moment:
    """What the scoreboard's clock shows. `period` is 0 before tip-off; `running` is False in breaks and at the end."""

    period: int
    clock: float
    running: bool


@dataclass(frozen=True)
class Timeline:
    """A game in life seconds."""

    game: ReplayGame

    @cached_property
    def periods(self) -> int:
        """How many periods it has, overtimes included."""
        return max(4, period_of(self.game.scores[-1].elapsed))

    @cached_property
    def plays(self) -> tuple[TimedPlay, ...]:
        """Every play, in the order in which they are published."""
        return tuple(self._lay_out())

    @cached_property
    def length(self) -> float:
        """Life seconds from tip-off until the game is final."""
        return self.plays[-1].at

    def published(self, at: float) -> tuple[TimedPlay, ...]:
        """The plays published until a moment, that included."""
        return self.plays[: bisect_right(self.plays, at, key=lambda play: play.at)]

    def moment(self, at: float) -> Moment:
        """What the clock shows at a moment. It runs evenly: seconds of play take `PACE` each."""
        if at < 0:
            return Moment(0, 0.0, running=False)
        period = max(number for number in range(1, self.periods + 1) if number == 1 or _start(number) <= at)
        left = period_seconds(period) - (at - _start(period)) / PACE
        return Moment(period, max(0.0, left), running=left > 0)

    def _lay_out(self) -> Iterator[TimedPlay]:
        home = away = 0
        rest = iter(self.game.scores)
        score = next(rest, None)
        for period in range(1, self.periods + 1):
            length = period_seconds(period)
            yield TimedPlay(_start(period), period, length, home, away, "period", "start")
            while score is not None and period_of(score.elapsed) == period:
                made = (score.home - home, score.away - away)
                home, away = score.home, score.away
                clock = elapsed_seconds(period, 0) - score.elapsed
                at = _start(period) + PACE * (length - clock)
                if made == (0, 0) and 0 < clock < length:
                    yield TimedPlay(at, period, clock, home, away, "rebound", "defensive")
                elif made != (0, 0):
                    # A score that falls, or rises for both at once, is a correction: there is no shot for it.
                    points = sum(made) if min(made) == 0 and max(made) in _SHOTS else 0
                    action, detail = _SHOTS.get(points, ("stoppage", "correction"))
                    yield TimedPlay(at, period, clock, home, away, action, detail, points, by_home=made[0] > 0)
                score = next(rest, None)
            yield TimedPlay(_start(period) + PACE * length, period, 0.0, home, away, "period", "end")
        final = period_end(self.periods) + GAME_END_DELAY
        yield TimedPlay(final, self.periods, 0.0, home, away, "game", "end")


def period_seconds(period: int) -> int:
    """How many seconds of play a period has."""
    return QUARTER_SECONDS if period <= 4 else OVERTIME_SECONDS


def period_end(period: int) -> float:
    """Life seconds from tip-off to the end of a period."""
    return _start(period) + PACE * period_seconds(period)


def _start(period: int) -> float:
    """Life seconds from tip-off to the start of a period."""
    played = elapsed_seconds(period, period_seconds(period))
    breaks = QUARTER_BREAK * (period - 1) + (HALFTIME_BREAK - QUARTER_BREAK) * (period > 2)
    return PACE * played + breaks
