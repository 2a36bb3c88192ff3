"""A connection with too many calls is limited, and other connections are not affected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from tests.support.builders.calls import PATTERN
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.worker.grpc_options import CHANNEL_OPTIONS
from dejavu_server.worker.worker import Worker

MOST = int(CHANNEL_OPTIONS["grpc.max_concurrent_streams"])
MORE = 50


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with async_worker(tmp_path) as worker:
        yield worker


async def test_a_connection_s_calls_are_bounded_and_those_of_others_answered(worker: Worker) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with (
        grpc.aio.insecure_channel(worker.address, options) as crowded,
        grpc.aio.insecure_channel(worker.address, options) as other,
    ):
        stub = PredictionServiceStub(crowded)
        streams = [stub.StreamPredictions(pb.StreamPredictionsRequest()) for _ in range(MOST + MORE)]
        waiting = {asyncio.ensure_future(stream.read()) for stream in streams}
        standing = set[asyncio.Future[object]]()
        while len(standing) < MOST:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            standing |= done
        answer = await PredictionServiceStub(other).Predict(pb.PredictRequest(pattern=PATTERN), timeout=30)
        assert answer.forecast.model_version
        assert [each for each in waiting if each.done()] == []
        assert len(waiting) == MORE
        for stream in streams[:MORE]:  # ended streams make room for waiting ones
            stream.cancel()
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for stream in streams:
            stream.cancel()
