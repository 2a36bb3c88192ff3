"""Requests and reports of a poller to its server, recorded data that it takes over, and an absent server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.fakes.service import FakeServer, forecast
from tests.support.harness.poller import watching

from dejavu.v1.forecast_pb2 import SIDE_HOME
from dejavu.v1.forecast_pb2 import LastScore as LastScoreMessage
from dejavu.v1.prediction_service_pb2 import PredictBatchResult, PredictRequest
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.errors import UnavailableError
from dejavu_client.requests import HALFTIME
from dejavu_client.transport.servers import HealthStatus
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Side
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller.events import Fault, FaultKind, Recovered
from dejavu_poller.inputs import ForecastInputs
from dejavu_poller.predictor import load_recorded, request_forecasts
from dejavu_poller.transition import DueForecast


@pytest.mark.parametrize(
    ("game_id", "day", "sent"),
    [
        ("0022600101", date(2026, 11, 20), "2026-11-20"),
        ("0022600101", date(2023, 4, 20), ""),  # not in the season of the id: the server would refuse it
        ("9900000001", date(2023, 4, 20), "2023-04-20"),
        ("0022600101", None, ""),
    ],
)
async def test_the_date_of_the_game_is_sent_if_it_fits_its_season_and_the_neutral_site_if_it_is_one(
    game_id: str, day: date | None, sent: str
) -> None:
    requested = list[PredictRequest]()

    class Client:
        async def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
            requested.extend(requests)
            return [PredictBatchResult(forecast=forecast(request)) for request in requests]

    game = GameState(game_id, "BOS", "LAL", GameStatus.LIVE, 1, 344.0, home_score=14, away_score=10, code_date=day)
    due = DueForecast(HALFTIME, (0, 2), None, LiveInputs(0))
    await request_forecasts(cast("AsyncDejavuClient", Client()), game, [due], ForecastInputs())
    await request_forecasts(
        cast("AsyncDejavuClient", Client()), replace(game, is_neutral=True), [due], ForecastInputs()
    )
    assert [request.game_date for request in requested] == [sent] * 2
    neutral = [request.neutral_site if request.HasField("neutral_site") else None for request in requested]
    assert neutral == [None, True]


async def test_live_inputs_of_recorded_forecasts_are_taken_up() -> None:
    """Then the poller requests a forecast again only if they change."""

    class Record:
        async def list_predictions(self, **_: object) -> Any:
            for minute, fields in enumerate(
                [{}, {"total_points": 0}, {"total_points": 9, "last_score": LastScoreMessage(side=SIDE_HOME)}], start=1
            ):
                request = PredictRequest(pattern=[1.0] * minute, horizon=HALFTIME)
                made = forecast(request, **fields)  # type: ignore[arg-type]
                yield SimpleNamespace(forecast=made, pattern=request.pattern, superseded=False)

    recorded = (await load_recorded(cast("AsyncDejavuClient", Record()), "0022000001", "abc"))[HALFTIME]
    assert [recorded[minute].live for minute in (1, 2, 3)] == [
        NO_LIVE_INPUTS,
        LiveInputs(0),
        LiveInputs(9, LastScore(Side.HOME, 0)),
    ]


async def test_a_server_that_is_not_there_is_reported_in_the_first_turn_with_address_and_cause() -> None:
    with FakeServer() as server:
        target = server.target
    async with (
        AsyncDejavuClient(target) as client,
        watching(Evening([game()]), client=client) as watch,
    ):
        await watch.turn()
        [fault] = watch.told(Fault)
    assert (fault.source, fault.kind) == ("server", FaultKind.SERVER)
    assert f"cannot reach {target}: is a dejavu-server running there? (" in fault.reason
    assert "refused" in fault.reason
    assert watch.poller.server_failure == fault.reason


async def test_a_server_that_goes_away_between_two_forecasts_is_reported_in_the_next_turn_and_forgotten_once_back() -> (
    None
):
    predictor = StoringPredictor()
    async with watching(Evening([game()]), predictor) as watch:
        await watch.turn()
        assert watch.told(Fault) == []
        predictor.unreachable = [UnavailableError("cannot reach it")]
        await watch.turn()
        assert [(each.source, each.reason) for each in watch.told(Fault)] == [("server", "cannot reach it")]
        assert watch.poller.server_failure == "cannot reach it"
        await watch.turn()
        assert watch.poller.server_failure == ""
        await watch.turn()
        assert watch.told(Recovered) == [Recovered("server")]


@pytest.mark.parametrize("status", [HealthStatus.NOT_SERVING, HealthStatus.UNKNOWN])
async def test_a_server_that_makes_no_forecasts_is_reported(status: HealthStatus) -> None:
    class Sick(StoringPredictor):
        async def health(self, service: str = "") -> HealthStatus:
            return status

    async with watching(Evening([game()]), Sick()) as watch:
        await watch.turn()
        [fault] = watch.told(Fault)
    assert fault.reason == f"the server makes no forecasts: its health is {status.name}"
