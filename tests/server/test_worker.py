from __future__ import annotations

from typing import TYPE_CHECKING

from dejavu.v1 import prediction_service_pb2 as pb

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

PATTERN = [float(m) for m in range(18)]


async def test_predict_answers(predictions: PredictionServiceAsyncStub) -> None:
    response = await predictions.Predict(pb.PredictRequest(pattern=PATTERN))
    assert response.forecast.point_forecast == 17.0
    assert response.forecast.sequence == 0


async def test_named(predictions: PredictionServiceAsyncStub) -> None:
    response = await predictions.Predict(pb.PredictRequest(pattern=PATTERN, game_id="0022000001"))
    assert response.forecast.sequence == 1
