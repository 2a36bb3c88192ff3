"""A call makes room for the next once it is answered; answers that nobody reads do not pile up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from bench.fuzz import wire
from tests.support.builders.calls import PATTERN
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.admission.callers import FEW_UNSENT, MAX_ALL_UNSENT
from dejavu_server.worker.worker import Worker

PREDICT = "/dejavu.v1.PredictionService/Predict"
HEALTH = "/grpc.health.v1.Health/Check"
REQUEST = pb.PredictRequest(pattern=PATTERN)

NO_WINDOW = wire.frame(wire.SETTINGS, 0, 0, (4).to_bytes(2, "big") + (0).to_bytes(4, "big"))
"""SETTINGS_INITIAL_WINDOW_SIZE 0: the peer may send headers, and no data."""


async def unread_calls(worker: Worker, method: str, body: bytes, address: str, calls: int) -> asyncio.StreamWriter:
    """Make calls from an address whose answers cannot be sent; return their connection."""
    host, _, port = worker.address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    complete = wire.call(method, wire.prefixed(body)).removeprefix(wire.PREFACE)
    settings, call = complete[:9], complete[9:]
    writer.write(wire.PREFACE + settings + NO_WINDOW)
    length = int.from_bytes(call[:3], "big") + 9  # of its first frame; the second is the last
    for stream in range(1, 2 * calls, 2):
        number = stream.to_bytes(4, "big")
        writer.write(call[:5] + number + call[9 : length + 5] + number + call[length + 9 :])
        await writer.drain()
        await asyncio.sleep(0.002)  # all at once would be refused before they are read
    return writer


async def code_of_a_call(stub: PredictionServiceStub) -> grpc.StatusCode:
    code: grpc.StatusCode = await stub.Predict(REQUEST, timeout=30).code()  # type: ignore[attr-defined]
    return code


async def test_callers_who_call_again_when_they_are_answered_are_not_refused(tmp_path: Path) -> None:
    callers = 4
    async with async_worker(tmp_path, max_in_flight=callers, cache="off") as worker:
        codes = set()

        async def call(again: int) -> None:
            async with grpc.aio.insecure_channel(worker.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = PredictionServiceStub(channel)
                codes.update([await code_of_a_call(stub) for _ in range(again)])

        await asyncio.gather(*(call(150) for _ in range(callers)))
        assert codes == {grpc.StatusCode.OK}


@pytest.mark.parametrize(
    ("method", "body", "connections"),
    [
        pytest.param(PREDICT, REQUEST.SerializeToString(), 3, id="predict", marks=pytest.mark.nightly),
        pytest.param(
            "/dejavu.v1.PredictionService/PredictBatch",
            pb.PredictBatchRequest(requests=[REQUEST]).SerializeToString(),
            3,
            id="batch",
        ),
        pytest.param(HEALTH, b"", 9, id="health", marks=pytest.mark.nightly),
    ],
)
async def test_callers_who_read_no_answers_keep_nobody_out(
    tmp_path: Path, method: str, body: bytes, connections: int
) -> None:
    """Unread answers need no traffic as long as their connections last, and those of health checks need no token."""
    async with (
        async_worker(tmp_path, caller_loopback="on", cache="off") as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
        asyncio.timeout(60),
    ):
        addresses = (f"127.0.0.{number}" for number in range(2, 2 + connections))
        writers = [await unread_calls(worker, method, body, address, 128) for address in addresses]
        await asyncio.sleep(1)
        try:
            call: Any = channel.unary_unary(method)
            for _ in range(20):
                assert await call(body, timeout=10).code() is grpc.StatusCode.OK
        finally:
            for writer in writers:
                writer.close()


async def test_unread_answers_of_many_addresses_limit_no_other_caller(tmp_path: Path) -> None:
    """Unread answers of the addresses with the most are ended, instead of calls of callers who read."""
    async with (
        async_worker(tmp_path, caller_loopback="on", cache="off") as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
        asyncio.timeout(60),
    ):
        addresses = [f"127.0.0.{2 + number}" for number in range(MAX_ALL_UNSENT // 128 + 1)]
        writers = await asyncio.gather(*(unread_calls(worker, HEALTH, b"", address, 128) for address in addresses))
        stub = PredictionServiceStub(channel)
        try:
            for _ in range(3):
                codes = await asyncio.gather(*(code_of_a_call(stub) for _ in range(2 * FEW_UNSENT)))
                assert set(codes) == {grpc.StatusCode.OK}
        finally:
            for writer in writers:
                writer.close()
