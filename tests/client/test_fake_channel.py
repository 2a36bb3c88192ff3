"""The synchronous client's call logic on grpcio-testing's channel, message by message."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
import grpc_testing
import pytest

from dejavu.v1 import model_service_pb2, prediction_service_pb2
from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.model_service_pb2 import ListModelsRequest, ListModelsResponse, Model
from dejavu.v1.prediction_service_pb2 import PredictBatchResponse, PredictBatchResult, PredictResponse
from dejavu_client import DejavuClient, FailedPreconditionError, predict_request

PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
MODELS = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]


class Future(futures.Future[Any]):
    """A call of the fake channel under way; the fake's own has no `add_done_callback`."""

    def __init__(self, call: Callable[[], tuple[Any, grpc.Call]]) -> None:
        super().__init__()
        self.call: Any = None
        threading.Thread(target=self._wait, args=(call,)).start()

    def _wait(self, call: Callable[[], tuple[Any, grpc.Call]]) -> None:
        try:
            response, self.call = call()
        except grpc.RpcError as error:
            self.call = error
            self.set_exception(error)
        else:
            self.set_result(response)

    def initial_metadata(self) -> Any:
        return self.call.initial_metadata()

    def trailing_metadata(self) -> Any:
        return self.call.trailing_metadata()


class MultiCallable:
    """A method of the fake channel."""

    def __init__(self, rpc: Any) -> None:
        self._rpc = rpc

    def future(self, *args: Any, **options: Any) -> Future:
        return Future(lambda: self._rpc.with_call(*args, **options))


class Channel:
    """grpcio-testing's channel, whose unary calls report their end."""

    def __init__(self, fake: Any) -> None:
        self._fake = fake

    def unary_unary(self, *args: Any, **options: Any) -> MultiCallable:
        return MultiCallable(self._fake.unary_unary(*args, **options))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fake, name)


class Wire:
    """A client on a fake channel, and the server end of the channel."""

    def __init__(self) -> None:
        clock = grpc_testing.strict_real_time()
        self.channel = grpc_testing.channel([PREDICTION, MODELS], clock)
        self.client = DejavuClient(
            "fake", channels=1, channel_factory=lambda: cast("grpc.Channel", Channel(self.channel))
        )
        self._threads = ThreadPoolExecutor(1)

    def call(self, method: str, *args: Any) -> futures.Future[Any]:
        return self._threads.submit(getattr(self.client, method), *args)

    def answer(
        self,
        rpc: Any,
        message: Any,
        code: grpc.StatusCode = grpc.StatusCode.OK,
        details: str = "",
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> Any:
        """Answers the call in progress and returns its request."""
        _, request, call = self.channel.take_unary_unary(rpc)
        call.send_initial_metadata(())
        call.terminate(message, metadata, code, details)
        return request

    def close(self) -> None:
        self._threads.shutdown()
        self.client.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_predict_unwraps_the_forecast(wire: Wire) -> None:
    result = wire.call("predict", [1.0, 2.0])
    answer = PredictResponse(forecast=Forecast(point_forecast=2.5))
    assert wire.answer(PREDICTION.methods_by_name["Predict"], answer) == predict_request([1.0, 2.0])
    assert result.result(10) == answer.forecast


def test_predict_batch_unwraps_the_results(wire: Wire) -> None:
    result = wire.call("predict_batch", [predict_request([1.0])])
    answer = PredictBatchResponse(results=[PredictBatchResult(forecast=Forecast(point_forecast=2.5))])
    request = wire.answer(PREDICTION.methods_by_name["PredictBatch"], answer)
    assert list(request.requests) == [predict_request([1.0])]
    assert result.result(10) == list(answer.results)


def test_list_models_unwraps_the_models(wire: Wire) -> None:
    result = wire.call("list_models")
    answer = ListModelsResponse(models=[Model(version="a"), Model(version="b")])
    assert wire.answer(MODELS.methods_by_name["ListModels"], answer) == ListModelsRequest()
    assert [model.version for model in result.result(10)] == ["a", "b"]


def test_a_status_becomes_the_exception_of_its_code(wire: Wire) -> None:
    result = wire.call("predict", [1.0])
    wire.answer(PREDICTION.methods_by_name["Predict"], None, grpc.StatusCode.FAILED_PRECONDITION, "18 slots, please")
    with pytest.raises(FailedPreconditionError, match="18 slots, please"):
        result.result(10)
    assert wire.client.stats.methods["Predict"].errors == 1


def test_the_worker_in_the_metadata_is_counted(wire: Wire) -> None:
    result = wire.call("predict", [1.0])
    wire.answer(PREDICTION.methods_by_name["Predict"], PredictResponse(), metadata=(("dejavu-worker", "7"),))
    result.result(10)
    assert wire.client.stats.workers == {"7": 1}
