"""The services over the wire, with a real server and channel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from tests.support.builders.calls import GAME, PATTERN
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.processes.servers import worker_and_channel

from dejavu.v1 import forecast_pb2, market_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


@pytest.fixture
async def every_minute_service(tmp_path: Path) -> AsyncIterator[PredictionServiceAsyncStub]:
    async with worker_and_channel(tmp_path, EveryMinuteForecaster()) as (_, channel):
        yield PredictionServiceStub(channel)


async def test_asking_again_is_answered_with_what_was_recorded(service: PredictionServiceAsyncStub) -> None:
    what_if = (await service.Predict(pb.PredictRequest(pattern=PATTERN))).forecast
    assert (what_if.sequence, what_if.point_forecast, what_if.coverage_probability) == (0, 11.0, 0.95)
    assert not what_if.HasField("explanation")
    assert what_if.expires_time.ToNanoseconds() - what_if.generated_time.ToNanoseconds() == 300 * 10**9
    request = pb.PredictRequest(
        pattern=PATTERN, game_id=GAME, return_explanation=True, horizon=forecast_pb2.HORIZON_HALFTIME
    )
    first = await service.Predict(request)
    assert first.forecast.sequence == 1
    assert first.forecast.explanation.baseline_prediction == 11.0
    assert await service.Predict(request) == first
    corrected = pb.PredictRequest(pattern=(*PATTERN[:-1], 12), game_id=GAME, horizon=forecast_pb2.HORIZON_HALFTIME)
    second = (await service.Predict(corrected)).forecast
    assert (second.revision, second.point_forecast) == (1, 12.0)
    assert not second.HasField("explanation"), "it was not asked for"
    assert second.sequence > first.forecast.sequence


async def test_a_stream_says_what_predict_says_with_the_courses_of_similar_games(
    service: PredictionServiceAsyncStub,
) -> None:
    request = pb.PredictRequest(
        pattern=PATTERN, game_id=GAME, return_explanation=True, horizon=forecast_pb2.HORIZON_HALFTIME
    )
    predicted = (await service.Predict(request)).forecast
    assert [len(each.course) for each in predicted.explanation.similar_games] == [23, 23]
    subscribed = service.StreamPredictions(pb.StreamPredictionsRequest(include_current=True))
    assert (await anext(aiter(subscribed))).forecast == predicted
    subscribed.cancel()


async def test_how_unsettled_games_are_is_told_in_their_order(service: PredictionServiceAsyncStub) -> None:
    wild = pb.RiskGame(pattern=[10, -10, 10, -10, 10, -10, 10, -10], total_points=61)
    games = [wild, pb.RiskGame(pattern=[1]), pb.RiskGame(pattern=[0] * 18)]
    response = await service.AssessRisk(pb.AssessRiskRequest(games=games))
    answer, calm = response.results[0].assessment, response.results[2].assessment
    assert response.results[1].error.reason == "INVALID_PATTERN"
    assert [factor.kind for factor in answer.factors] == [1, 2, 3, 4]  # in the order of RiskFactorKind
    assert answer.score == pytest.approx(sum(factor.contribution for factor in answer.factors))
    assert answer.level == market_pb2.RISK_LEVEL_EXTREME
    assert any(warning.startswith("The lead changed hands 6 times") for warning in answer.warnings)
    assert [factor.kind for factor in calm.factors] == [1, 2, 4]
    assert (calm.score, calm.level) == (0.0, market_pb2.RISK_LEVEL_LOW)
    alone = [(await service.AssessRisk(pb.AssessRiskRequest(games=[game]))).results[0] for game in games]
    assert alone == [*response.results], "each as when it is asked about alone"


@pytest.mark.parametrize(
    ("pattern", "total_points", "violations"),
    [
        ([0.0] * 48, None, {"pattern": "48 slots; expected 2 to 47"}),
        ([0.0, 200.5], None, {"pattern[1]": "200.5; expected a finite number within ±200"}),
        ([0.0, -7.5], 7, {"total_points": "7; expected 8 (the lead) to 500"}),
        ([1.0], 501, {"pattern": "1 slots; expected 2 to 47", "total_points": "501; expected 0 to 500"}),
    ],
)
async def test_a_risk_that_is_refused_names_every_field(
    service: PredictionServiceAsyncStub, pattern: list[float], total_points: int | None, violations: dict[str, str]
) -> None:
    game = pb.RiskGame(pattern=pattern, total_points=total_points)
    [result] = (await service.AssessRisk(pb.AssessRiskRequest(games=[game]))).results
    assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert {each.field: each.description for each in result.error.field_violations} == violations


async def test_the_largest_batch_fits(every_minute_service: PredictionServiceAsyncStub) -> None:
    request = pb.PredictRequest(
        pattern=[0.1] * 47,
        horizon=forecast_pb2.HORIZON_FINAL,
        return_explanation=True,
        home_team="BOS",
        away_team="LAL",
        quantile_levels=[percent / 100 for percent in range(1, 100)],
    )
    response = await every_minute_service.PredictBatch(pb.PredictBatchRequest(requests=[request] * 1000))
    assert [len(result.forecast.quantiles) for result in response.results] == [99] * 1000
