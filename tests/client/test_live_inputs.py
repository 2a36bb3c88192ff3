"""Total points and the last score in the client, on the command line and in what a poller takes up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.fakes.service import FakeServer, forecast
from typer.testing import CliRunner, Result

from dejavu.v1.forecast_pb2 import SIDE_AWAY, SIDE_HOME
from dejavu.v1.forecast_pb2 import LastScore as LastScoreMessage
from dejavu.v1.model_service_pb2 import ListModelsResponse, Model
from dejavu.v1.prediction_service_pb2 import PredictRequest, PredictResponse
from dejavu_client import HALFTIME, LastScore, Side, predict_request
from dejavu_client.cli.main import app
from dejavu_client.poller.predictor import PredictionClient, load_recorded
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LiveInputs

LAST = LastScoreMessage(side=SIDE_AWAY, seconds=12)


def dejavu(server: FakeServer, *arguments: str) -> Result:
    environment = {"DEJAVU_TARGET": server.target, "COLUMNS": "160", "TERM": "dumb"}
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_a_request_has_what_is_given() -> None:
    request = predict_request([2.0], total_points=6, last_score=LastScore(Side.AWAY, 12))
    assert request == PredictRequest(pattern=[2.0], horizon=HALFTIME, total_points=6, last_score=LAST)
    without = predict_request([2.0], total_points=None, last_score=None)
    assert not without.HasField("total_points")
    assert not without.HasField("last_score")


def test_what_is_no_last_score_is_refused_by_its_name() -> None:
    given: Any = ("home", 12)
    with pytest.raises(TypeError, match=r"last_score: \('home', 12\); expected a LastScore, or None"):
        predict_request([2.0], last_score=given)


def test_predict_sends_and_shows_them(server: FakeServer) -> None:
    server.answers(
        "Predict",
        lambda request: PredictResponse(
            forecast=forecast(request, total_points=request.total_points, last_score=request.last_score)
        ),
    )
    teams = ("--home", "BOS", "--away", "LAL")
    shown = dejavu(server, "predict", "0", "2", "--total-points", "8", "--last-score", "away:12", *teams)
    request = server.next_call().request
    assert (request.total_points, request.last_score) == (8, LAST)
    assert "points of both teams  8" in shown.stdout
    assert "LAL, 12 s before the end of minute 2" in shown.stdout


def test_without_them_predict_neither_sends_nor_shows_any(server: FakeServer) -> None:
    shown = dejavu(server, "predict", "0", "2")
    request = server.next_call().request
    assert not request.HasField("total_points")
    assert not request.HasField("last_score")
    assert "points of both teams" not in shown.stdout
    assert "last score" not in shown.stdout


@pytest.mark.parametrize("text", ["home", "home:", "12", "left:12", "home:-1", "home:1.5", "home:123456", "home:١"])
def test_what_is_no_last_score_is_refused_with_what_was_expected(server: FakeServer, text: str) -> None:
    refused = dejavu(server, "predict", "0", "2", "--last-score", text)
    assert refused.exit_code == 2
    assert "expected home or away, and seconds" in " ".join(refused.output.replace("│", " ").split())


def test_a_model_that_uses_them_says_so(server: FakeServer) -> None:
    models = [Model(version="abc", active=True, loaded=True, inputs=["total_points", "last_score"])]
    server.answers("ListModels", ListModelsResponse(models=models))
    assert "total_points, last_score" in dejavu(server, "models").stdout


async def test_a_poller_takes_up_what_a_forecast_was_recorded_with() -> None:
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
