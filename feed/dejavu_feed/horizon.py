"""Horizons: the forecast moments of a game, and the minutes from which they can be forecast."""

from __future__ import annotations

import enum
from typing import Final

from dejavu_feed.pattern import HALFTIME_MINUTES, REGULATION_MINUTES


class Horizon(enum.Enum):
    """Moment of a game to which a forecast refers; the value is the name used in files."""

    HALFTIME = "halftime"
    FINAL = "final"

    minutes: int
    """Minutes of play until the horizon; overtime adds none."""

    seconds: int
    """The same in seconds."""

    last_slot: int
    """Maximum number of slots at which the horizon can still be forecast."""

    def __init__(self, name: str) -> None:
        # Attributes rather than properties, which an enum looks up slowly: each call reads them several times.
        self.minutes = HALFTIME_MINUTES if name == "halftime" else REGULATION_MINUTES
        self.seconds = 60 * self.minutes
        self.last_slot = self.minutes - 1

    @property
    def forecast_minutes(self) -> range:
        """Minutes after which the horizon can be forecast, from 1 to `last_slot`."""
        return range(1, self.minutes)


MAX_SLOTS: Final = Horizon.FINAL.last_slot
"""Maximum number of slots of a pattern: after the last minute of regulation, nothing is left to forecast."""

MAX_OVERTIMES: Final = 20
"""Maximum number of overtimes; more are an error of a feed or of typing: no NBA game had more than six."""

HORIZONS: Final = tuple(Horizon)
"""Order of every horizon axis."""

CASES: Final = tuple((index, minute) for index, horizon in enumerate(HORIZONS) for minute in horizon.forecast_minutes)
"""Forecast cases (index in HORIZONS, minute), in the order of every axis over cases."""

ROWS: Final = {(HORIZONS[index], minute): row for row, (index, minute) in enumerate(CASES)}
"""Row of a horizon and minute on every axis over cases."""
