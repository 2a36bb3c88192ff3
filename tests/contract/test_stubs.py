"""The generated synchronous stubs, over the channel of grpcio-testing: paths, messages and codes, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
import grpc_testing
import pytest

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME, Forecast
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"]
REQUEST = pb.PredictRequest(pattern=[0, 2, -3], horizon=HORIZON_HALFTIME)
FORECAST = Forecast(horizon=HORIZON_HALFTIME, point_forecast=2.5)
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, "pattern: 0 slots; expected 1 or more")

ResultT = TypeVar("ResultT")


class Wire:
    """A channel without a server, and a thread in which a stub waits for the answer to its call."""

    def __init__(self) -> None:
        self.channel: Any = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
        self.stub: Any = PredictionServiceStub(self.channel)
        self._caller = ThreadPoolExecutor(max_workers=1)

    def calling(self, call: Callable[[Any], ResultT]) -> Any:
        """Return the future of a call of the stub."""
        return self._caller.submit(call, self.stub)

    def close(self) -> None:
        self.channel.close()
        self._caller.shutdown()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


UNARY = {
    "Predict": (REQUEST, pb.PredictResponse(forecast=FORECAST)),
    "PredictBatch": (
        pb.PredictBatchRequest(requests=[REQUEST, REQUEST]),
        pb.PredictBatchResponse(results=[pb.PredictBatchResult(forecast=FORECAST)] * 2),
    ),
}


@pytest.mark.parametrize("name", UNARY)
def test_a_call_sends_its_message_to_its_method_and_returns_the_answer(wire: Wire, name: str) -> None:
    request, answer = UNARY[name]
    call = wire.calling(lambda stub: getattr(stub, name)(request, timeout=20))
    _, sent, rpc = wire.channel.take_unary_unary(SERVICE.methods_by_name[name])
    rpc.terminate(answer, (), grpc.StatusCode.OK, "")
    assert (sent, call.result(20)) == (request, answer)


@pytest.mark.parametrize("name", UNARY)
def test_a_refusal_has_code_and_text(wire: Wire, name: str) -> None:
    request, _ = UNARY[name]
    call = wire.calling(lambda stub: getattr(stub, name)(request, timeout=20))
    *_, rpc = wire.channel.take_unary_unary(SERVICE.methods_by_name[name])
    rpc.terminate(None, (), *REFUSED)
    with pytest.raises(grpc.RpcError) as raised:
        call.result(20)
    assert (raised.value.code(), raised.value.details()) == REFUSED


def test_a_stream_yields_its_events_until_it_is_cancelled(wire: Wire) -> None:
    request = pb.StreamPredictionsRequest(game_ids=["0022300001"])
    events = [pb.StreamPredictionsResponse(resume_token=token, forecast=FORECAST) for token in ("one", "two")]
    stream = wire.stub.StreamPredictions(request, timeout=20)
    _, sent, rpc = wire.channel.take_unary_stream(SERVICE.methods_by_name["StreamPredictions"])
    for each in events:
        rpc.send_response(each)
    assert (sent, [next(stream) for _ in events]) == (request, events)
    stream.cancel()
    rpc.cancelled()
    assert stream.code() is grpc.StatusCode.CANCELLED
