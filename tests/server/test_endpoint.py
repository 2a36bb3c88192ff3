"""What goes on when a connection brings bytes that gRPC's own server does not survive."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from structlog.testing import capture_logs
from tests.support.calls import GAME, PATTERN
from tests.support.servers import async_worker

from bench import fuzz_wire
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.worker import Worker

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

PREDICT = "/dejavu.v1.PredictionService/Predict"
NAMED = pb.PredictRequest(pattern=PATTERN, game_id=GAME)
MESSAGE = fuzz_wire.prefixed(NAMED.SerializeToString())
NO_TEXT = fuzz_wire.call("/??", MESSAGE).replace(b"/??", b"/\xff\xfe")


async def sent(worker: Worker, data: bytes) -> bytes:
    """What comes back on a connection of its own, until the server ends it or a status came."""
    host, _, port = worker.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    received = b""
    async with asyncio.timeout(20):
        while b"grpc-status" not in received and (chunk := await reader.read(65536)):
            received += chunk
    writer.transport.abort()
    return received


async def answers(worker: Worker) -> pb.PredictResponse:
    """Asks over a new connection until somebody listens."""
    async with asyncio.timeout(20), grpc.aio.insecure_channel(worker.address) as channel:
        return await PredictionServiceStub(channel).Predict(NAMED, wait_for_ready=True)


async def to_its_end(stream: Any) -> None:
    async with asyncio.timeout(20):
        while await stream.read():
            pass


async def test_a_path_that_is_no_text_does_not_end_the_service(worker: Worker) -> None:
    for _ in range(3):
        with capture_logs() as logs:
            await sent(worker, NO_TEXT)
            assert (await answers(worker)).forecast.sequence == 1
        assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["endpoint_broken"]


async def test_a_stream_that_loses_its_server_so_ends_with_a_code_on_which_it_is_resumed(
    worker: Worker, service: PredictionServiceAsyncStub
) -> None:
    stream: Any = service.StreamPredictions(pb.StreamPredictionsRequest())
    token = (await stream.read()).resume_token
    await sent(worker, NO_TEXT)
    await answers(worker)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await to_its_end(stream)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    async with grpc.aio.insecure_channel(worker.address) as channel:
        resumed: Any = PredictionServiceStub(channel).StreamPredictions(pb.StreamPredictionsRequest(resume_token=token))
        async with asyncio.timeout(20):
            while not (event := await resumed.read()).HasField("forecast"):
                pass
        assert event.forecast.sequence == 1


async def test_a_drain_right_after_it_stops_the_successor_too(tmp_path: Path) -> None:
    async with async_worker(tmp_path) as worker:
        await sent(worker, NO_TEXT)
        await answers(worker)
    async with grpc.aio.insecure_channel(worker.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await PredictionServiceStub(channel).Predict(NAMED, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("value", [b"\x80\xff", b"a\nb", b"a\0b", "é".encode(), b"\x7f", b"a\tb"])
async def test_a_request_id_that_cannot_be_sent_back_is_replaced_and_harms_no_call(
    worker: Worker, value: bytes
) -> None:
    received = await sent(worker, fuzz_wire.call(PREDICT, MESSAGE, [(b"x-request-id", value)]))
    assert re.search(rb"grpc-status\x010", received)
    assert re.search(rb"x-request-id\x0a[0-9a-f]{8}-1", received)


async def test_a_status_s_bytes_are_found_where_they_are_looked_for(worker: Worker) -> None:
    """Holds the test above to failing: a call that is refused must not look like one that was answered."""
    received = await sent(worker, fuzz_wire.call(PREDICT, fuzz_wire.prefixed(b"\xff")))
    assert re.search(rb"grpc-status\x013", received)
