"""The generated synchronous stub, over the channel of grpcio-testing: path, message and code, without a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc_testing
import pytest

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Forecast
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]


def test_a_call_sends_its_message_to_its_method_and_returns_the_answer_or_raises_the_refusal() -> None:
    request = pb.PredictRequest(pattern=[0, 2, -3], horizon=HORIZON_HALFTIME)
    answer = pb.PredictResponse(forecast=Forecast(horizon=HORIZON_HALFTIME, point_forecast=2.5))
    channel: Any = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
    stub: Any = PredictionServiceStub(channel)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(stub.Predict, request, timeout=20)
        _, sent, rpc = channel.take_unary_unary(SERVICE.methods_by_name["Predict"])
        rpc.terminate(answer, (), grpc.StatusCode.OK, "")
        assert (sent, call.result(20)) == (request, answer)
        refused = caller.submit(stub.Predict, request, timeout=20)
        *_, rpc = channel.take_unary_unary(SERVICE.methods_by_name["Predict"])
        rpc.terminate(None, (), grpc.StatusCode.INVALID_ARGUMENT, "pattern: 0 slots; expected 1 or more")
        with pytest.raises(grpc.RpcError) as raised:
            refused.result(20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "pattern" in str(raised.value.details())
    channel.close()
