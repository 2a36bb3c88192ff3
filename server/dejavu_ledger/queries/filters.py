"""Conditions that pages and scorecards of recorded forecasts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, func

from dejavu_models.types import Horizon

KEPT_FILTERS: Final = 32
"""Number of combinations of conditions whose statements are kept, up to 100 KiB each: callers can choose hundreds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonFilter:
    """Selects recorded forecasts; a field with its default value sets no condition.

    Attributes:
        first_day, last_day: bounds of the game's day, as `date.toordinal()`.
        team: NBA code, home or away.
        min_confidence: lowest probability of the likelier side.
        replays: include replays; with a game_id they are always included.
    """

    game_id: str = ""
    horizon: Horizon | None = None
    first_day: int | None = None
    last_day: int | None = None
    team: str = ""
    min_confidence: float | None = None
    model_version: str = ""
    replays: bool = False

    @property
    def real_only(self) -> bool:
        """Whether replays are excluded."""
        return not self.replays and not self.game_id

    def parameters(self) -> dict[str, object]:
        """Return the parameters of the conditions that are set, by the names of the conditions."""
        values = {
            "game": self.game_id or None,
            "horizon": None if self.horizon is None else self.horizon.value,
            "first_day": self.first_day,
            "last_day": self.last_day,
            "team": self.team or None,
            "confidence": self.min_confidence,
            "model": self.model_version or None,
        }
        return {name: value for name, value in values.items() if value is not None}


def unindexed(column: ColumnElement[str] | ColumnElement[int]) -> ColumnElement[Any]:
    """Return a column that the database cannot use an index for."""
    return func.coalesce(column, None)
