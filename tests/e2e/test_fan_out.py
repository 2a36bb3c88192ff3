"""Two workers and many subscribers: every subscriber gets every forecast once, in ledger order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import pytest
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_server.api.interceptors import WORKER

PUBLISHERS = 8

Stream = grpc.aio.UnaryStreamCall[pb.StreamPredictionsRequest, pb.StreamPredictionsResponse]


@asynccontextmanager
async def subscriber(address: str) -> AsyncIterator[Stream]:
    """Yield a stream on its own connection, after its first heartbeat."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        stream: Stream = PredictionServiceStub(channel).StreamPredictions(pb.StreamPredictionsRequest())
        first = await anext(aiter(stream))
        assert first.WhichOneof("event") == "heartbeat"
        yield stream
        stream.cancel()


async def receive(stream: Stream, count: int) -> list[tuple[int, str]]:
    """Return sequence and game id of the next `count` forecasts."""
    received: list[tuple[int, str]] = []
    async for response in stream:
        if response.WhichOneof("event") == "forecast":
            received.append((response.forecast.sequence, response.forecast.game_id))
            if len(received) == count:
                break
    return received


async def publish(address: str, numbers: range) -> list[tuple[int, str]]:
    """Request forecasts one after the other; return sequence and game id of each."""
    async with AsyncDejavuClient(address, timeout=30.0) as client:
        published = []
        for number in numbers:
            pattern = [float((number * minute) % 23 - 11) for minute in range(1, 19)]
            forecast = await client.predict(pattern, horizon=HALFTIME, game_id=f"99{number:08d}")
            published.append((forecast.sequence, forecast.game_id))
        return published


async def worker_of(stream: Stream) -> str:
    """Return the worker that serves a stream."""
    return next(str(value) for key, value in await stream.initial_metadata() if key == WORKER)


@pytest.mark.parametrize(("subscribers", "forecasts"), [(60, 100), pytest.param(200, 300, marks=pytest.mark.nightly)])
async def test_every_subscriber_of_every_worker_gets_every_forecast_once_and_in_one_order(
    subscribers: int, forecasts: int, tmp_path: Path
) -> None:
    with spawned_server("--workers", "2", "--ledger", ledger_url(tmp_path)) as server:
        address = await asyncio.to_thread(lambda: server.address)
        async with AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(subscriber(address)) for _ in range(subscribers)]
            assert len({await worker_of(stream) for stream in streams}) == 2

            receiving = asyncio.gather(*(receive(stream, forecasts) for stream in streams))
            published = await asyncio.gather(
                *(publish(address, range(start, forecasts, PUBLISHERS)) for start in range(PUBLISHERS))
            )
            order = sorted(entry for part in published for entry in part)
            assert len({sequence for sequence, _ in order}) == forecasts

            async with asyncio.timeout(90):
                received = await receiving
            for events in received:
                assert events == order
