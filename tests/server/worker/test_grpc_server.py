"""No path of a call ends the server; and gRPC has the parts, none of them public, that it overrides and calls."""

from __future__ import annotations

import asyncio
from concurrent import futures
from typing import Any

import grpc
from bench.fuzz import wire
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.support.builders.calls import GAME, PATTERN
from tests.support.harness.laws import examples
from tests.support.processes.connections import status_of

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_HALFTIME
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.api.admissions import Admissions
from dejavu_server.api.interceptors import CallInterceptor
from dejavu_server.limits import Limits
from dejavu_server.observability.metrics import Metrics
from dejavu_server.settings import Settings
from dejavu_server.worker.grpc_server import GrpcServer
from dejavu_server.worker.worker import Worker

REQUEST = pb.PredictRequest(pattern=PATTERN)
NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
MESSAGE = wire.prefixed(REQUEST.SerializeToString())
PREDICT = b"/dejavu.v1.PredictionService/Predict"
UNDECODABLE = [
    b"/\xff\xfe",
    PREDICT + b"\xff",
    b"/dejavu.v1.Prediction\xc3\x28Service/Predict",
    b"/\xed\xa0\x80/",
    b"\x80",
]


def with_path(path: bytes) -> bytes:
    return wire.call(path, MESSAGE)


async def test_a_path_that_is_no_method_s_is_unimplemented_and_the_server_goes_on(worker: Worker) -> None:
    async with grpc.aio.insecure_channel(worker.address) as channel:
        service: Any = PredictionServiceStub(channel)
        stream = service.StreamPredictions(pb.StreamPredictionsRequest())
        await stream.read()
        for path in (*UNDECODABLE, b"/dejavu.v1.PredictionService/Nothing", b"/", PREDICT + b"/"):
            assert await status_of(worker.address, with_path(path)) == 12, path
        first = (await service.Predict(NAMED)).forecast
        while not (event := await stream.read()).HasField("forecast"):
            pass
        assert event.forecast.sequence == first.sequence
        stream.cancel()


@settings(max_examples=examples(20), deadline=None)
@given(st.binary(min_size=1, max_size=100).filter(lambda path: path != PREDICT))
def test_no_bytes_of_a_path_end_the_server(path: bytes) -> None:
    async def called() -> None:
        metrics = Metrics(CollectorRegistry())
        admissions = Admissions(Limits(Settings()), metrics, ())
        server = GrpcServer(CallInterceptor(metrics, admissions), admissions)
        server.add_methods("dejavu.v1.PredictionService", {"Predict": echo()})
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        # The core itself refuses some paths, and closes the connection or the stream.
        assert await status_of(address, with_path(path)) in {None, 12}
        assert await status_of(address, with_path(PREDICT)) == 0
        await server.stop(None)

    asyncio.run(called())


def echo() -> Any:
    async def answer(request: bytes, _: Any) -> bytes:
        return request

    return grpc.unary_unary_rpc_method_handler(answer)


def test_the_server_of_grpc_itself_still_ends_at_such_a_path() -> None:
    """When this fails, gRPC has fixed its accept loop: GrpcServer and decision 0036 are then no longer needed."""

    async def ends() -> bool:
        server = grpc.aio.server()
        handlers = grpc.method_handlers_generic_handler("dejavu.v1.PredictionService", {"Predict": echo()})
        server.add_generic_rpc_handlers([handlers])
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        await status_of(address, with_path(UNDECODABLE[0]))
        try:
            async with asyncio.timeout(20):
                await server.wait_for_termination()
        except UnicodeDecodeError:
            return True
        except TimeoutError:
            await server.stop(None)
        return False

    # In a thread: an event loop of its own, which the failure ends.
    with futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: asyncio.run(ends())).result()
