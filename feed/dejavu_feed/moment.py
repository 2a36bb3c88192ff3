"""State of a game at any second of play, between the ends of minutes and in overtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from dejavu_feed.horizon import MAX_OVERTIMES, MAX_SLOTS, Horizon
from dejavu_feed.live_inputs import InputFault
from dejavu_feed.pattern import OVERTIME_SECONDS, elapsed_seconds, period_seconds

MAX_FREE_THROWS: Final = 3
"""Greatest number of free throws that follow a foul."""

LAST_PERIOD: Final = 4 + MAX_OVERTIMES

TABLES_FROM: Final = {Horizon.HALFTIME: 23, Horizon.FINAL: 45}
"""Minute from whose end on a moment is forecast by tables of seconds alone. In the minute before, they are mixed with
the tables of its start, by the time elapsed, so that a forecast changes smoothly."""

_LARGEST: Final = 200
_LEAST_LEFT: Final = 0.01
"""Least time left, in seconds: clocks have hundredths at most. Free throws at 0:00 are of the last hundredth, since
the period is over only after them, and a moment at its very end is of the next one, in forecasts and in the record."""


@dataclass(frozen=True, slots=True)
class Moment:
    """State of a game at a second of play; see `moment_fault` for its bounds.

    Attributes:
        period: 1–4 for quarters, from 5 for overtimes.
        seconds_left: seconds of play left in the period.
        differential: home − away, in points.
        free_throws: free throws that the team with the ball has before the clock runs again.
    """

    period: int
    seconds_left: float
    differential: int
    free_throws: int = 0

    @property
    def elapsed(self) -> float:
        """Seconds of play since tip-off."""
        return elapsed_seconds(self.period, self.seconds_left)

    @property
    def slots(self) -> int:
        """Number of complete minutes, at most MAX_SLOTS: of a moment at the end of a minute, with that minute."""
        return min(int(self.elapsed // 60), MAX_SLOTS)

    @property
    def begun(self) -> int:
        """Number of minutes that have begun: with the one that it is in, if it is not the end of one."""
        return math.ceil(self.elapsed / 60)

    @property
    def is_end_of_minute(self) -> bool:
        """Whether it is the end of the last complete minute of a pattern."""
        return self.elapsed == 60 * self.slots

    @property
    def is_overtime(self) -> bool:
        """Whether regulation is over; at its very end, the first overtime begins."""
        return self.elapsed >= Horizon.FINAL.seconds

    def is_late(self, horizon: Horizon) -> bool:
        """Return whether the tables of seconds, which know possession and free throws to come, have a part."""
        return self.slots + 1 >= TABLES_FROM[horizon]

    def seconds_to(self, horizon: Horizon) -> float:
        """Return the seconds of play to a horizon that is ahead; to the end of an overtime once regulation is over."""
        if horizon is Horizon.FINAL and self.is_overtime:
            return self.seconds_left or float(OVERTIME_SECONDS)
        return horizon.seconds - self.elapsed


def moment_of(period: int, clock: float, differential: int, free_throws: int = 0) -> Moment:
    """Return the moment that a clock shows; 0:00 with free throws to come is the last hundredth of the period."""
    return Moment(period, clock or (_LEAST_LEFT if free_throws else 0.0), differential, free_throws)


def from_message(message: Any) -> Moment | None:
    """Return the moment of a PredictRequest or a Forecast; None if it has none."""
    if not message.HasField("moment"):
        return None
    given = message.moment
    return moment_of(given.period, given.seconds_left, given.differential, given.free_throws)  # −0 is 0


def put(message: Any, moment: Moment) -> None:
    """Set the moment of a PredictRequest or a Forecast."""
    message.moment.period, message.moment.seconds_left = moment.period, moment.seconds_left
    message.moment.differential, message.moment.free_throws = moment.differential, moment.free_throws


def moment_fault(moment: Moment, differentials: Sequence[float], horizon: Horizon) -> InputFault | None:
    """Return the fault of a moment after a pattern; None if it is possible.

    Args:
        moment: the moment.
        differentials: the pattern, in points.
        horizon: the horizon to forecast.
    """
    fault = _bound_fault(moment) or _place_fault(moment, horizon)
    if fault is None and len(differentials) != moment.slots:
        expected = f"{moment.slots}, the complete minutes at that moment"
        fault = InputFault(f"{len(differentials)} slots", expected, "pattern")
    if fault is None and moment.is_end_of_minute and moment.differential != differentials[-1]:
        expected = f"{differentials[-1]:g}, as the pattern says at the end of the minute"
        fault = InputFault(f"{moment.differential}", expected, "moment.differential")
    return fault


def _bound_fault(moment: Moment) -> InputFault | None:
    """Return the fault of the first number that is out of its bounds."""
    period, left = moment.period, moment.seconds_left
    if not 1 <= period <= LAST_PERIOD:
        return InputFault(
            f"{period}", f"1 to {LAST_PERIOD}: 1 to 4 for quarters, from 5 for overtimes", "moment.period"
        )
    if not (math.isfinite(left) and (left == 0 or _LEAST_LEFT <= left <= period_seconds(period))):
        expected = f"0 to {period_seconds(period)} seconds, and at least {_LEAST_LEFT:g} if any time is left"
        return InputFault(f"{left}", expected, "moment.seconds_left")
    if abs(moment.differential) > _LARGEST:
        return InputFault(f"{moment.differential}", f"a whole number within ±{_LARGEST}", "moment.differential")
    if not 0 <= moment.free_throws <= MAX_FREE_THROWS:
        return InputFault(f"{moment.free_throws}", f"0 to {MAX_FREE_THROWS}", "moment.free_throws")
    return None


def _place_fault(moment: Moment, horizon: Horizon) -> InputFault | None:
    """Return the fault of a moment that does not exist, or after which there is nothing to forecast."""
    left = moment.seconds_left
    if moment.free_throws and not left:
        expected = f"at least {_LEAST_LEFT:g} with free throws to come"
        return InputFault(f"{left:g}", expected, "moment.seconds_left")
    if moment.elapsed < 60:
        return InputFault(f"{moment.elapsed:g} s after tip-off", "at least 60 s: one complete minute", "moment")
    if horizon is Horizon.HALFTIME and moment.elapsed >= horizon.seconds:
        return InputFault(f"{moment.elapsed:g} s after tip-off", "a moment of the first half", "moment")
    if moment.is_overtime and left == 0 and moment.differential:
        return InputFault("the end of the game", "a moment before it, or a tie", "moment")
    if moment.is_overtime and left == OVERTIME_SECONDS and moment.differential:
        return InputFault(f"{moment.differential}", "0, as an overtime begins with a tie", "moment.differential")
    return None
