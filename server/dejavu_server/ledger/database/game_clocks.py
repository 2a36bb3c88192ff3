"""How far each game had got when a forecast was recorded, which tells whether the forecast is late."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from dejavu_common.clock import from_microseconds
from dejavu_server.ledger.database.schema import forecasts
from dejavu_server.records import IssuedForecast, LateReason

LATE_AFTER: Final = timedelta(minutes=10)
"""Default time after which a forecast comes too late for the newest minute of its game."""

LATE_MINUTES: Final = 2
"""Minutes of play by which a forecast may be behind the newest of its game: a feed corrects what it has just shown."""


class GameClocks:
    """Newest recorded minute of each game, and when it was first recorded; it follows the order of the ledger."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, datetime]] = {}

    def read(self, connection: Connection, games: Sequence[str]) -> None:
        """Reads the clocks of at most as many games as fit into a statement."""
        for game_id, minute, since_us in connection.execute(_NEWEST_MINUTES, {"games": games}):
            self._newest[game_id] = (minute, from_microseconds(since_us))

    def add(self, issued: IssuedForecast) -> None:
        """Takes note of a recorded forecast."""
        minute, since = issued.forecast.elapsed_minutes, issued.generated_time
        newest, known_since = self._newest.get(issued.game_id, (0, since))
        if minute > newest or (minute == newest and since < known_since):
            self._newest[issued.game_id] = (minute, since)

    def late(self, issued: IssuedForecast, late_after: timedelta) -> LateReason | None:
        """Returns why a forecast that is recorded now is late; None if it is in time."""
        if issued.game_id not in self._newest:
            return None
        newest, since = self._newest[issued.game_id]
        minute = issued.forecast.elapsed_minutes
        if minute < newest - LATE_MINUTES:
            return LateReason.LATER_MINUTE
        if minute <= newest and issued.generated_time - since > late_after:
            return LateReason.TIME
        return None


# Built once: building a statement costs SQLAlchemy as much as running it.
_other = forecasts.alias("other")
_NEWEST_MINUTES = (
    select(forecasts.c.game_id, forecasts.c.minute, func.min(forecasts.c.generated_us))
    .where(
        forecasts.c.game_id.in_(bindparam("games", expanding=True)),
        forecasts.c.minute
        == select(func.max(_other.c.minute)).where(_other.c.game_id == forecasts.c.game_id).scalar_subquery(),
    )
    .group_by(forecasts.c.game_id, forecasts.c.minute)
)
