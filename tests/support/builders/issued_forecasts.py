"""Forecasts ready to be recorded, for tests of the ledger and of streams."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial

from tests.support.builders.calls import current_game
from tests.support.fakes.forecasters import explanation

from dejavu_common.clock import microseconds
from dejavu_ledger import Ledger
from dejavu_ledger.queries import predictions
from dejavu_ledger.records import IssuedForecast
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import (
    DISTRIBUTION_LEVELS,
    Forecast,
    Horizon,
    Interval,
    TeamKnowledge,
    TotalForecast,
)

TOTAL = TotalForecast(
    point=105.3,
    interval=Interval(92.0, 119.0),
    expected_total=221.7,
    distribution=tuple(float(round(105 + 40 * (level - 0.5))) for level in DISTRIBUTION_LEVELS),
)
"""A forecast of the points of both teams at the half."""

TEAMS_KNOWN = (TeamKnowledge(3.61, 2, date(2023, 6, 12)), TeamKnowledge(2.4, 16))
"""A team that is hardly known, and one that is well known."""

GAME = "0022300001"
PATTERN = (0.0, 2.0, -1.0)


def issued(
    game_id: str = GAME,
    pattern: Sequence[float] = PATTERN,
    *,
    alpha: float = 0.05,
    horizon: Horizon = Horizon.HALFTIME,
    home_team: str = "BKN",
    away_team: str = "GSW",
    model_version: str = "v1",
    pregame_margin: float | None = None,
    point: float = 1.25,
    generated_time: datetime | None = None,
) -> IssuedForecast:
    """Return a forecast, by default made now; not yet recorded."""
    now = datetime.now(UTC) if generated_time is None else generated_time
    return IssuedForecast(
        game_id=game_id,
        home_team=home_team,
        away_team=away_team,
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
            explanation=explanation(point, pattern[-1], (0.0, 1.25, point - 2.25)),
            expected_margin=pregame_margin,
        ),
        generated_time=now,
        expires_time=now + timedelta(minutes=5),
    )


async def recorded(ledger: Ledger, *forecasts: IssuedForecast) -> list[IssuedForecast]:
    """Commit forecasts together; return the stored ones. Assert that none is refused."""
    stored = await ledger.commit(forecasts)
    forecasts_stored = [each for each in stored if isinstance(each, IssuedForecast)]
    assert len(forecasts_stored) == len(forecasts)
    return forecasts_stored


async def current(ledger: Ledger, game_ids: frozenset[str], since: datetime, up_to: int) -> list[IssuedForecast]:
    """Return the newest forecast of each game and horizon."""
    newest = partial(predictions.current_sequences, game_ids=game_ids, since_us=microseconds(since), up_to=up_to)
    return await ledger.read(partial(predictions.issued_at, sequences=await ledger.read(newest)))


def game(number: int) -> str:
    """Return the game id for a number, of the newest season."""
    return current_game(number)
