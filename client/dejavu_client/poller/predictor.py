"""What a poller asks of the server: all that is due of a game in one call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final, Protocol

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictRequest
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import ReportOutcomeResponse
from dejavu_client.errors import DejavuClientError, InternalError, from_predict_error
from dejavu_client.poller.capabilities import ModelLister
from dejavu_client.requests import predict_request
from dejavu_feed.names import team_code
from dejavu_feed.nba.live import GameState

OUTCOME_KNOWN: Final = "OUTCOME_KNOWN"
"""Reason with which a server refuses a forecast of what it has an outcome of."""


class PredictionClient(ModelLister, Protocol):
    """Who forecasts, and keeps the record; an `AsyncDejavuClient`. Every call raises a `DejavuClientError`."""

    async def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
        """Forecasts, each of which succeeds or fails for itself."""
        ...

    async def report_outcome(
        self,
        game_id: str,
        differential: int,
        *,
        horizon: Horizon.ValueType,
        home_team: str = "",
        away_team: str = "",
        observed_time: datetime | None = None,
    ) -> ReportOutcomeResponse:
        """Takes how a horizon of a game came out: home − away, in points."""
        ...

    def list_predictions(
        self, *, page_size: int = 0, game_id: str, model_version: str
    ) -> AsyncIterator[RecordedPrediction]:
        """The newest recorded forecasts of a game by a model, whatever they were asked with."""
        ...


async def request_forecasts(
    client: PredictionClient, game: GameState, due: Sequence[tuple[Horizon.ValueType, Sequence[int]]]
) -> list[Forecast | DejavuClientError]:
    """A game's forecasts, in one call.

    Args:
        client: who forecasts.
        game: whose patterns they are. Its teams are named if the league knows both: a model has no strength of others.
        due: what to forecast, and from which pattern: differentials (home − away, in points) by minute.

    Returns:
        For each of these the forecast, or why there is none.
    """
    home, away = team_codes(game)
    requests = [
        predict_request(pattern, game_id=game.game_id, horizon=horizon, home_team=home, away_team=away)
        for horizon, pattern in due
    ]
    try:
        results = await client.predict_batch(requests)
    except DejavuClientError as error:
        return [error] * len(due)
    if len(results) != len(due):
        short = InternalError(f"{len(due)} forecasts asked for, {len(results)} answered")
        return [short] * len(due)
    return [_answer(result) for result in results]


def _answer(result: PredictBatchResult) -> Forecast | DejavuClientError:
    if result.HasField("forecast"):
        return result.forecast
    return from_predict_error(result.error)


def team_codes(game: GameState) -> tuple[str, str]:
    """The teams' codes, home and away; "" for both where one is not of the league."""
    try:
        return team_code(game.home), team_code(game.away)
    except ValueError:
        return "", ""
