"""A subscriber that stores all received forecasts, for tests of whole evenings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client import AsyncDejavuClient


class Follower:
    """Stores the forecasts of a stream."""

    def __init__(self) -> None:
        self.received: list[Forecast] = []
        self.standing = asyncio.Event()
        self.more = asyncio.Event()

    async def receive(self, client: AsyncDejavuClient) -> None:
        async for response in client.stream_predictions(heartbeats=True):
            self.standing.set()
            if response.WhichOneof("event") == "forecast":
                self.received.append(response.forecast)
                self.more.set()

    async def until(self, sequences: set[int]) -> None:
        async with asyncio.timeout(60):
            while not sequences <= {forecast.sequence for forecast in self.received}:
                self.more.clear()
                await self.more.wait()


@asynccontextmanager
async def following(client: AsyncDejavuClient) -> AsyncIterator[Follower]:
    """Yield a follower after the first message of its stream."""
    follower = Follower()
    receiving = asyncio.create_task(follower.receive(client))
    try:
        async with asyncio.timeout(60):
            await follower.standing.wait()
        yield follower
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
