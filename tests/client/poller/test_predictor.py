"""Requests that a poller makes for a game, and what it takes up of its recorded forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.fakes.service import forecast

from dejavu.v1.forecast_pb2 import SIDE_HOME
from dejavu.v1.forecast_pb2 import LastScore as LastScoreMessage
from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictRequest
from dejavu_client.poller.predictor import PredictionClient, load_recorded, request_forecasts
from dejavu_client.poller.transition import DueForecast
from dejavu_client.requests import HALFTIME
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Side
from dejavu_feed.nba.live_payloads import GameState, GameStatus


@pytest.mark.parametrize(
    ("game_id", "day", "sent"),
    [
        ("0022600101", date(2026, 11, 20), "2026-11-20"),
        ("0022600101", date(2023, 4, 20), ""),  # not in the season of the id: the server would refuse it
        ("9900000001", date(2023, 4, 20), "2023-04-20"),
        ("0022600101", None, ""),
    ],
)
async def test_the_date_of_the_game_is_sent_if_it_fits_its_season(game_id: str, day: date | None, sent: str) -> None:
    requested = list[PredictRequest]()

    class Client:
        async def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
            requested.extend(requests)
            return [PredictBatchResult(forecast=forecast(request)) for request in requests]

    game = GameState(game_id, "BOS", "LAL", GameStatus.LIVE, 1, 344.0, home_score=14, away_score=10, code_date=day)
    due = DueForecast(HALFTIME, (0, 2), None, LiveInputs(0))
    await request_forecasts(cast("PredictionClient", Client()), game, [due])
    assert [request.game_date for request in requested] == [sent]


async def test_live_inputs_of_recorded_forecasts_are_taken_up() -> None:
    """So that it asks again only if they change."""

    class Record:
        async def list_predictions(self, **_: object) -> Any:
            for minute, fields in enumerate(
                [{}, {"total_points": 0}, {"total_points": 9, "last_score": LastScoreMessage(side=SIDE_HOME)}], start=1
            ):
                request = PredictRequest(pattern=[1.0] * minute, horizon=HALFTIME)
                made = forecast(request, **fields)  # type: ignore[arg-type]
                yield SimpleNamespace(forecast=made, pattern=request.pattern, superseded=False)

    recorded = (await load_recorded(cast("PredictionClient", Record()), "0022000001", "abc"))[HALFTIME]
    assert [recorded[minute].live for minute in (1, 2, 3)] == [
        NO_LIVE_INPUTS,
        LiveInputs(0),
        LiveInputs(9, LastScore(Side.HOME, 0)),
    ]
