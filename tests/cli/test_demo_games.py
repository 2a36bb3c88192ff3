"""The games simulated by the demo have the margins that the model expects."""

from __future__ import annotations

import random
from datetime import date
from statistics import fmean

import pytest
from tests.support.fakes.service import FakeServer, forecast

from dejavu.v1.model_service_pb2 import ListModelsRequest
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictBatchResponse, PredictBatchResult, PredictError
from dejavu_cli.commands.demo import simulate_matched_games
from dejavu_client import FINAL, AsyncDejavuClient


def margins(server: FakeServer, expected: float) -> None:
    """Make the server return an expected margin for every game but the first, which is simulated all the same."""

    def answer(request: PredictBatchRequest) -> PredictBatchResponse:
        made = [forecast(each, expected_margin=expected) for each in request.requests[1:]]
        refused = PredictBatchResult(error=PredictError(code=9, reason="UNSUPPORTED_MOMENT", message="no"))
        return PredictBatchResponse(results=[refused, *(PredictBatchResult(forecast=each) for each in made)])

    server.answers("PredictBatch", answer)


@pytest.mark.parametrize("expected", [-20.0, 20.0])
async def test_games_are_simulated_around_the_margins_that_the_model_expects(
    expected: float, server: FakeServer
) -> None:
    margins(server, expected)
    async with AsyncDejavuClient(server.target) as client:
        games = await simulate_matched_games(client, random.Random(1), 15)

    final = [game.scores[-1].home - game.scores[-1].away for game in games]
    assert fmean(final) == pytest.approx(
        expected, abs=4 * 14 / 15**0.5
    )  # margins have a standard deviation of 14 points
    assert isinstance(server.next_call().request, ListModelsRequest)
    asked = server.next_call().request.requests
    # The ratings of the model end the day before, so they are used whenever the demo runs.
    assert {each.game_date for each in asked} == {"2023-06-13"}
    assert {game.day for game in games} == {date(2023, 6, 13)}
    assert [(each.home_team, each.away_team, each.horizon, each.game_id) for each in asked] == [
        (game.home, game.away, FINAL, "") for game in games
    ]
