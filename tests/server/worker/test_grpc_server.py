"""No bytes of a call end the server, and a worker whose server ends is replaced."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.support.builders.calls import GAME, PATTERN
from tests.support.harness.laws import examples
from tests.support.processes.connections import received, status_of
from tests.support.processes.servers import spawned_server

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

NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME, horizon=HORIZON_HALFTIME)
NAMED_MESSAGE = wire.prefixed(NAMED.SerializeToString())
PREDICT = b"/dejavu.v1.PredictionService/Predict"


@settings(max_examples=examples(20), deadline=None)
@example(b"/\xff\xfe")
@example(b"/dejavu.v1.PredictionService/Nothing")
@example(PREDICT + b"\xff")
@given(st.binary(min_size=1, max_size=100).filter(lambda path: path != PREDICT))
def test_no_bytes_of_a_path_end_the_server(path: bytes) -> None:
    async def echo(request: bytes, _: object) -> bytes:
        return request

    async def called() -> None:
        metrics = Metrics(CollectorRegistry())
        admissions = Admissions(Limits(Settings()), metrics, ())
        server = GrpcServer(CallInterceptor(metrics, admissions), admissions)
        server.add_methods("dejavu.v1.PredictionService", {"Predict": grpc.unary_unary_rpc_method_handler(echo)})
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        # The core itself refuses some paths, and closes the connection or the stream.
        assert await status_of(address, wire.call(path, NAMED_MESSAGE)) in {None, 12}
        assert await status_of(address, wire.call(PREDICT, NAMED_MESSAGE)) == 0
        await server.stop(None)

    asyncio.run(called())


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
            await received(address, wire.call("/unknown", NAMED_MESSAGE))
            told = await asyncio.to_thread(server.wait_for, "worker_broken")
            assert await stream.code() is grpc.StatusCode.UNAVAILABLE
            again = service.Predict(NAMED, wait_for_ready=True, timeout=30)
            assert (await again).forecast.sequence == 1
            assert (await again.trailing_metadata())["dejavu-worker"] != told["worker"]
        assert await asyncio.to_thread(server.stop) == 0


async def test_a_request_id_that_cannot_be_sent_back_is_replaced_and_harms_no_call(worker: Worker) -> None:
    for number, value in enumerate((b"\x80\xff", b"a\nb", b"a\0b", "é".encode(), b"\x7f", b"a\tb"), 1):
        answer = await received(worker.address, wire.call(PREDICT, NAMED_MESSAGE, [(b"x-request-id", value)]))
        assert re.search(rb"grpc-status\x010", answer)
        assert re.search(rb"x-request-id\x0a[0-9a-f]{8}-%x" % number, answer)


async def test_subscribers_and_health_checks_that_come_all_at_once_are_accepted(worker: Worker) -> None:
    """As those of a worker that died do: gRPC's core would cancel the calls that its queue has no room for."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(worker.address, options) for _ in range(8)]
    checks: list[Any] = [HealthStub(channel) for channel in channels]
    calls = [check.Check(HealthCheckRequest(), timeout=60) for check in checks for _ in range(100)]
    assert {await call.code() for call in calls} == {grpc.StatusCode.OK}
    services: list[Any] = [PredictionServiceStub(channel) for channel in channels]
    request = pb.StreamPredictionsRequest()
    streams = [service.StreamPredictions(request, timeout=60) for service in services for _ in range(100)]
    firsts = await asyncio.gather(*(stream.read() for stream in streams))
    assert all(first.HasField("heartbeat") for first in firsts)
    for channel in channels:
        await channel.close()
