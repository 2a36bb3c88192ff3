"""No bytes of a call end the server, and a worker whose server ends is replaced."""

from __future__ import annotations

import asyncio
import os
import re
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.support.builders.calls import GAME, PATTERN
from tests.support.harness.laws import examples
from tests.support.processes.connections import received, status_of
from tests.support.processes.servers import async_worker, spawned_server

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
from dejavu_server.worker_main import SERVER_FAILED

REQUEST = pb.PredictRequest(pattern=PATTERN)
NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
MESSAGE, NAMED_MESSAGE = (wire.prefixed(request.SerializeToString()) for request in (REQUEST, NAMED))
PREDICT = b"/dejavu.v1.PredictionService/Predict"
UNDECODABLE = b"/\xff\xfe"


def with_path(path: bytes) -> bytes:
    return wire.call(path, MESSAGE)


@settings(max_examples=examples(20), deadline=None)
@example(UNDECODABLE)
@example(b"/dejavu.v1.PredictionService/Nothing")
@example(PREDICT + b"\xff")
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
        await status_of(address, with_path(UNDECODABLE))
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


ENDED_BY_A_PATH = """
from grpc._cython import cygrpc

original = cygrpc._handle_rpc

def handle(path, *others):
    if not path:
        raise RuntimeError("ended by a path")
    return original(path, *others)

cygrpc._handle_rpc = handle
"""
"""Start of a worker whose accept loop ends at an unknown path, as if gRPC had another fault there."""


@pytest.mark.nightly
async def test_a_worker_whose_server_breaks_is_replaced_and_no_more_than_unavailable(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(ENDED_BY_A_PATH)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    options = ("--workers", "1", "--ledger", f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    with spawned_server(*options, environment={"PYTHONPATH": path}) as server:
        address = await asyncio.to_thread(lambda: server.address)
        async with grpc.aio.insecure_channel(address) as channel:
            service = PredictionServiceStub(channel)
            stream: Any = service.StreamPredictions(pb.StreamPredictionsRequest())
            await stream.read()
            first = (await service.Predict(NAMED)).forecast
            await received(address, wire.call("/unknown", NAMED_MESSAGE))
            told = await asyncio.to_thread(server.wait_for, "worker_broken")
            assert "ended by a path" in told["error"]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await to_its_end(stream)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            again = service.Predict(NAMED, wait_for_ready=True, timeout=30)
            assert (await again).forecast == first
            assert (await again.trailing_metadata())["dejavu-worker"] != told["worker"]
        died = await asyncio.to_thread(server.wait_for, "worker_died")
        assert str(SERVER_FAILED) in died["ending"]
        assert await asyncio.to_thread(server.stop) == 0


async def to_its_end(stream: Any) -> None:
    async with asyncio.timeout(30):
        while await stream.read():
            pass


async def test_a_server_that_is_stopped_is_not_taken_to_be_broken(tmp_path: Path) -> None:
    async with async_worker(tmp_path) as worker:
        broken = asyncio.create_task(worker.wait_for_failure())
        await received(worker.address, wire.call(PREDICT, NAMED_MESSAGE))
    async with asyncio.timeout(20):
        assert await broken is None


async def test_a_request_id_that_cannot_be_sent_back_is_replaced_and_harms_no_call(worker: Worker) -> None:
    for number, value in enumerate((b"\x80\xff", b"a\nb", b"a\0b", "é".encode(), b"\x7f", b"a\tb"), 1):
        answer = await received(worker.address, wire.call(PREDICT, NAMED_MESSAGE, [(b"x-request-id", value)]))
        assert re.search(rb"grpc-status\x010", answer)
        assert re.search(rb"x-request-id\x0a[0-9a-f]{8}-%x" % number, answer)
