"""Forecasts ready to be recorded, for tests of what records and sends them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from dejavu_models.types import Explanation, Forecast, Horizon, Interval, ScorePattern, SimilarGame
from dejavu_server.records import IssuedForecast

GAME = "0022300001"
PATTERN = (0.0, 2.0, -1.0)


def issued(
    game_id: str = GAME,
    pattern: Sequence[float] = PATTERN,
    *,
    alpha: float = 0.05,
    horizon: Horizon = Horizon.HALFTIME,
    home_team: str = "BKN",
    model_version: str = "v1",
    pregame_margin: float | None = None,
    point: float = 1.25,
    generated_time: datetime | None = None,
) -> IssuedForecast:
    """A forecast made now, unless told otherwise; not yet recorded."""
    now = datetime.now(UTC) if generated_time is None else generated_time
    similar = SimilarGame("BOS", "NYK", date(2021, 3, 14), distance=1.5, differential_at_horizon=3.0, games=4)
    return IssuedForecast(
        game_id=game_id,
        home_team=home_team,
        away_team="GSW",
        pattern=ScorePattern(tuple(pattern)),
        pregame_margin=pregame_margin,
        forecast=Forecast(
            horizon=horizon,
            elapsed_minutes=len(pattern),
            alpha=alpha,
            point=point,
            interval=Interval(point - 11.5, point + 12.0),
            home_lead_probability=0.6,
            model_version=model_version,
            explanation=Explanation(
                dejavu_prediction=point - 0.6,
                lstm_prediction=point + 0.4,
                ensemble_forecast=point,
                baseline_prediction=pattern[-1],
                dejavu_weight=0.4,
                lstm_weight=0.6,
                similar_games=(similar,),
            ),
        ),
        generated_time=now,
        expires_time=now + timedelta(minutes=5),
    )


def game(number: int) -> str:
    """The id of a game, one for each number."""
    return f"00223{number:05d}"
