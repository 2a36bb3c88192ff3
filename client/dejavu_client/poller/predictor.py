"""Requests of a poller to the server; a game's due forecasts go in one call."""

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
from dejavu_feed.nba.live_payloads import GameState
from dejavu_feed.teams import team_code

OUTCOME_KNOWN: Final = "OUTCOME_KNOWN"
"""Reason of the error for a forecast whose outcome is already recorded."""


class PredictionClient(ModelLister, Protocol):
    """Client for forecasts and the track record; implemented by `AsyncDejavuClient`.

    A call that fails raises a `DejavuClientError`.
    """

    async def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
        """Returns the results in order; each request succeeds or fails on its own."""
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
        """Reports the outcome of a game at a horizon: home − away, in points."""
        ...

    def list_predictions(
        self, *, page_size: int = 0, game_id: str, model_version: str
    ) -> AsyncIterator[RecordedPrediction]:
        """Yields the newest recorded forecasts of a game by a model, with any request options."""
        ...


async def request_forecasts(
    client: PredictionClient, game: GameState, due: Sequence[tuple[Horizon.ValueType, Sequence[int]]]
) -> list[Forecast | DejavuClientError]:
    """Requests a game's forecasts in one call.

    Args:
        client: makes the call.
        game: the game. Its teams are sent only if both are NBA teams: the model has no ratings for others.
        due: the horizons to forecast and their patterns: differentials (home − away, in points) by minute.

    Returns:
        The forecast for each item of `due`, or the error in its place.
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
        mismatch = InternalError(f"{len(due)} forecasts requested, {len(results)} returned")
        return [mismatch] * len(due)
    return [_answer(result) for result in results]


def _answer(result: PredictBatchResult) -> Forecast | DejavuClientError:
    if result.HasField("forecast"):
        return result.forecast
    return from_predict_error(result.error)


def team_codes(game: GameState) -> tuple[str, str]:
    """Returns the codes of the home and the away team; "" for both if either is not an NBA team."""
    try:
        return team_code(game.home), team_code(game.away)
    except ValueError:
        return "", ""
