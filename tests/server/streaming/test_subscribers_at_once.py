"""Many subscribers that come to one worker at the same moment."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
from tests.support.processes.servers import async_worker

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub


async def test_subscribers_that_come_all_at_once_are_accepted(tmp_path: Path) -> None:
    """As those of a worker that died do: gRPC's core would cancel the calls that its queue has no room for."""
    connections, each = 8, 100
    async with AsyncExitStack() as stack:
        worker = await stack.enter_async_context(async_worker(tmp_path))
        options = [("grpc.use_local_subchannel_pool", 1)]
        stubs = [
            PredictionServiceStub(await stack.enter_async_context(grpc.aio.insecure_channel(worker.address, options)))
            for _ in range(connections)
        ]
        streams = [
            stub.StreamPredictions(pb.StreamPredictionsRequest(), timeout=60) for stub in stubs for _ in range(each)
        ]
        firsts = await asyncio.gather(*(stream.read() for stream in streams))
        assert all(first.HasField("heartbeat") for first in firsts)
        for stream in streams:
            stream.cancel()
