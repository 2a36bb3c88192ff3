"""Many subscribers that come to one worker at the same moment."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

CONNECTIONS, EACH = 8, 100


async def connected(stack: AsyncExitStack, address: str) -> list[grpc.aio.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    return [await stack.enter_async_context(grpc.aio.insecure_channel(address, options)) for _ in range(CONNECTIONS)]


async def subscribe(stack: AsyncExitStack, address: str) -> list[Any]:
    """Open all streams at once, on a worker that has accepted another; they are cancelled with the stack."""
    stubs: list[Any] = [PredictionServiceStub(channel) for channel in await connected(stack, address)]
    first = stubs[0].StreamPredictions(pb.StreamPredictionsRequest(), timeout=60)
    await first.read()
    first.cancel()
    streams = [stub.StreamPredictions(pb.StreamPredictionsRequest(), timeout=60) for stub in stubs for _ in range(EACH)]
    for stream in streams:
        stack.callback(stream.cancel)
    return streams


async def test_subscribers_that_come_all_at_once_are_accepted(tmp_path: Path) -> None:
    """As those of a worker that died do: gRPC's core would cancel the calls that its queue has no room for."""
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(async_worker(tmp_path))
        streams = await subscribe(stack, worker.address)
        firsts = await asyncio.gather(*(stream.read() for stream in streams))
        assert all(first.HasField("heartbeat") for first in firsts)


async def test_health_checks_that_come_all_at_once_are_answered(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(async_worker(tmp_path))
        stubs: list[Any] = [HealthStub(channel) for channel in await connected(stack, worker.address)]
        await stubs[0].Check(HealthCheckRequest())
        calls = [stub.Check(HealthCheckRequest(), timeout=60) for stub in stubs for _ in range(EACH)]
        codes = Counter([(await call.code()).name for call in calls])
        assert codes == {"OK": len(calls)}
