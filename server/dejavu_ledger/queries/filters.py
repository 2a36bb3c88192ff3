"""Conditions that pages and scorecards of recorded forecasts share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from dejavu_models.types import Horizon

CONDITIONS: Final = {
    "horizon": "COALESCE(f.horizon, NULL) = :horizon",
    "first_day": "COALESCE(f.day, NULL) >= :first_day",
    "last_day": "COALESCE(f.day, NULL) <= :last_day",
    "team": "(COALESCE(f.home_team, NULL) = :team OR COALESCE(f.away_team, NULL) = :team)",
    "model": "COALESCE(f.model_version, NULL) = :model",
    "minute": "f.minute = :minute",
    "min_minutes": "f.minute >= :min_minutes",
    "max_minutes": "f.minute <= :max_minutes",
    "confidence": "f.confidence >= :confidence",
    "recorded_by": "COALESCE(f.recorded_by, NULL) = :recorded_by",
    "real": "f.replay = FALSE",
}
"""Conditions of rows `f` of `forecasts`, by the names of the parameters that they need; `real` needs none.

COALESCE keeps the database from using an index for them: whoever reads by game or in the order of an index chooses it.
"""


def all_of(conditions: Iterable[str]) -> str:
    """Return the conjunction of conditions, which may be none."""
    return " AND ".join(["TRUE", *conditions])


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

    def conditions(self) -> list[str]:
        """Return the conditions that are set, except that of the game."""
        given = self.parameters().keys() | ({"real"} if self.real_only else set())
        return [condition for name, condition in CONDITIONS.items() if name in given]
