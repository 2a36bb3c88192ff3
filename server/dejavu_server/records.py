"""A forecast as it leaves the server: what was asked, what was answered, and its place in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dejavu_models.types import Forecast, ScorePattern


@dataclass(frozen=True, slots=True)
class IssuedForecast:
    """A forecast, with the request that it answers.

    Attributes:
        game_id: the NBA's id, ten digits; empty for a what-if.
        home_team, away_team: NBA codes; empty where not given. Releases before 0.2.0 recorded whatever text was given.
        pattern: the pattern asked about.
        pregame_margin: expected final differential, in points, if it was given.
        forecast: the answer; for a named game with its explanation. Of its quantiles nothing is recorded.
        generated_time, expires_time: aware, UTC, whole microseconds.
        sequence: place in the ledger; 0 while it is not recorded.
        revision: 0, 1, … of the same game, horizon, minute, alpha, model version and pregame_margin: how often the
            pattern, or the teams, were corrected.
    """

    game_id: str
    home_team: str
    away_team: str
    pattern: ScorePattern
    pregame_margin: float | None
    forecast: Forecast
    generated_time: datetime
    expires_time: datetime
    sequence: int = 0
    revision: int = 0
