"""Subscribers of StreamPredictions in a separate process, with the publisher of the events that they receive.

`bench.performance` runs it with `python -m bench.performance.subscribers`. Every line of standard input is a
FanOut; every line of standard output is its result, Delivered. Publisher and subscribers share a clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any

import grpc
import uvloop
from bench.callers import PREDICT, Order, body
from bench.servers import cpu_seconds
from bench.streams import A_CONNECTION

from dejavu.v1 import prediction_service_pb2 as pb

STREAM_METHOD = "/dejavu.v1.PredictionService/StreamPredictions"
SECONDS = 60.0
"""Time within which all subscribers must have received an event."""

AT_ONCE = 100
"""Number of streams opened at once: a server cancels calls that wait to be accepted if there are too many of them."""

_FORECAST = pb.StreamPredictionsResponse.DESCRIPTOR.fields_by_name["forecast"].number << 3 | 2
"""First byte of a message with a forecast: fields are serialized in order of their numbers."""


@dataclass(frozen=True, slots=True)
class FanOut:
    """Events to send to subscribers.

    Attributes:
        address: HOST:PORT of the server.
        pid: process id of the server.
        subscribers: number of streams, of which A_CONNECTION share a connection.
        events: number of events, one after the other.
        first: number of the first event's game; no two events of a ledger may have the same.
    """

    address: str
    pid: int
    subscribers: int
    events: int
    first: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """Results of the events.

    Attributes:
        seconds: for each event the time from the call that publishes it to its arrival at the last subscriber.
        cpu_seconds: CPU time of the server while it sent the events, in seconds.
        wrong: number of events that a subscriber received more than once.
        event: the last event, serialized, in hex.
    """

    seconds: list[float]
    cpu_seconds: float
    wrong: int
    event: str


class Subscribers:
    """Streams of one server, and the events that they received."""

    def __init__(self, order: FanOut) -> None:
        self._order = order
        self._counts = [0] * order.subscribers
        self._complete = 0
        self._events = 0
        self._last = 0.0
        self._all_have_it = asyncio.Event()
        self._connecting = asyncio.Semaphore(AT_ONCE)
        self.wrong = 0
        self.event = b""

    async def follow(self, channel: grpc.aio.Channel, number: int, connected: asyncio.Semaphore) -> None:
        """Read one stream until it is cancelled."""
        stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(STREAM_METHOD)
        async with self._connecting:
            call: Any = stream(pb.StreamPredictionsRequest().SerializeToString())
            await call.read()  # the heartbeat that confirms the subscription
        connected.release()
        while (message := await call.read()) is not grpc.aio.EOF:
            if message[0] == _FORECAST:
                self._take(number, message)
        raise RuntimeError("a stream ended")

    def _take(self, number: int, message: bytes) -> None:
        self._last = time.perf_counter()
        self._counts[number] += 1
        self.wrong += self._counts[number] > self._events
        self._complete += self._counts[number] == self._events
        if self._complete == self._order.subscribers:
            self.event = message
            self._all_have_it.set()

    async def publish(self, channel: grpc.aio.Channel, number: int) -> float:
        """Publish an event; return the seconds until the last subscriber has it."""
        self._events += 1
        self._complete = 0
        self._all_have_it.clear()
        order = self._order
        request = body(0, Order(order.address, 1, 1, first=order.first + number, named=True))
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        start = time.perf_counter()
        await call(request, timeout=SECONDS)
        await asyncio.wait_for(self._all_have_it.wait(), SECONDS)
        return self._last - start


async def run(order: FanOut) -> Delivered:
    """Subscribe, publish the events one after the other, and cancel the streams.

    Raises:
        RuntimeError, grpc.aio.AioRpcError, TimeoutError: if a stream or call fails, or an event does not arrive.
    """
    subscribers, connected = Subscribers(order), asyncio.Semaphore(0)
    async with AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(order.address, options))
            for _ in range(0, order.subscribers, A_CONNECTION)
        ]
        publisher = await stack.enter_async_context(grpc.aio.insecure_channel(order.address, options))
        await asyncio.wait_for(publisher.channel_ready(), SECONDS)
        work = asyncio.create_task(_publish_all(subscribers, publisher, order, connected))
        following = [
            asyncio.create_task(subscribers.follow(channels[number // A_CONNECTION], number, connected))
            for number in range(order.subscribers)
        ]
        done, _ = await asyncio.wait({work, *following}, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()  # raises if a stream has ended, which happens only after an error
        seconds, used = work.result()
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    return Delivered(seconds, used, subscribers.wrong, subscribers.event.hex())


async def _publish_all(
    subscribers: Subscribers, publisher: grpc.aio.Channel, order: FanOut, connected: asyncio.Semaphore
) -> tuple[list[float], float]:
    async with asyncio.timeout(SECONDS):
        for _ in range(order.subscribers):
            await connected.acquire()
    before = cpu_seconds(order.pid)
    seconds = [await subscribers.publish(publisher, number) for number in range(order.events)]
    return seconds, cpu_seconds(order.pid) - before


async def main() -> None:
    """Run the orders from standard input, one after the other."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(asdict(await run(FanOut(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
