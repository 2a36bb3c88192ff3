"""Fan-out of an event to 1, 100 and 1,000 subscribers, and to the browsers of the page's gateway."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import grpc
from bench.callers import PREDICT, Order, body
from bench.page import measure as follow
from bench.performance.measuring import (
    DEJAVU,
    ECHO,
    CallsFailed,
    Contest,
    Section,
    Setting,
    alternate,
    plural,
    what_if_response,
)
from bench.performance.samples import Run
from bench.servers import Server, cpu_seconds, dejavu_server, echo_server, event_loop, pinned_to, process_on
from bench.streams import A_CONNECTION, STREAM_METHOD

from dejavu.v1 import prediction_service_pb2 as pb

RATE = 10.0
"""Forecasts a second that browsers follow."""

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
        wrong: number of subscribers that lost an event or received one twice.
        event: the last event, serialized.
    """

    seconds: list[float]
    cpu_seconds: float
    wrong: int
    event: bytes


def deliver(order: FanOut) -> Delivered:
    """Subscribe, publish the events one after the other, and cancel the streams."""
    return event_loop().run(_deliver(order))


async def _deliver(order: FanOut) -> Delivered:
    counts, missing, last, event = [0] * order.subscribers, 0, 0.0, b""
    turns, subscribed, all_have_it = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(0), asyncio.Event()

    async def follow(channel: grpc.aio.Channel, number: int) -> None:
        nonlocal missing, last, event
        async with turns:
            stream: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(STREAM_METHOD)
            call: Any = stream(b"")
            await call.read()  # the heartbeat that confirms the subscription
        subscribed.release()
        while (message := await call.read()) is not grpc.aio.EOF:
            if message[0] == _FORECAST:
                last, event = time.perf_counter(), message
                counts[number] += 1
                missing -= 1
                if not missing:
                    all_have_it.set()
        raise RuntimeError("a stream ended")

    async def publish(channel: grpc.aio.Channel, number: int) -> float:
        nonlocal missing
        missing = order.subscribers
        all_have_it.clear()
        request = body(0, Order("", 1, 1, first=order.first + number, named=True))
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PREDICT)
        start = time.perf_counter()
        await call(request, timeout=SECONDS)
        await asyncio.wait_for(all_have_it.wait(), SECONDS)
        return last - start

    async with AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        publisher, *channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(order.address, options))
            for _ in range(-A_CONNECTION, order.subscribers, A_CONNECTION)
        ]
        following = await stack.enter_async_context(asyncio.TaskGroup())  # an error of a stream ends the block
        tasks = [following.create_task(follow(channels[n // A_CONNECTION], n)) for n in range(order.subscribers)]
        async with asyncio.timeout(SECONDS):
            await publisher.channel_ready()
            for _ in tasks:
                await subscribed.acquire()
        before = cpu_seconds(order.pid)
        seconds = [await publish(publisher, number) for number in range(order.events)]
        used = cpu_seconds(order.pid) - before
        for task in tasks:
            task.cancel()
    return Delivered(seconds, used, sum(each != order.events for each in counts), event)


def fan_out(
    subscribers: Executor, server: Server, number: int, events: int, first: int
) -> Callable[[], dict[str, float]]:
    """Return a function that measures the delivery of events to a number of subscribers, which connect before."""
    firsts = count(first, events)

    def take() -> dict[str, float]:
        order = FanOut(server.address, server.serving[0].pid, number, events, next(firsts))
        delivered = subscribers.submit(deliver, order).result()
        if delivered.wrong:
            raise CallsFailed(f"{delivered.wrong} subscribers lost or repeated events")
        return {
            "last_ms": 1e3 * statistics.median(delivered.seconds),
            "cpu_us": 1e6 * delivered.cpu_seconds / events / number,
            "event_bytes": len(delivered.event),
        }

    return take


def measure_streams(setting: Setting, run: Run) -> None:
    """Measure fan-out to subscribers."""
    with ExitStack() as stack:
        subscribers = stack.enter_context(process_on(setting.callers))
        server = stack.enter_context(dejavu_server(setting.servers))
        sent = subscribers.submit(deliver, FanOut(server.address, server.serving[0].pid, 1, 1, 0)).result()
        plain = stack.enter_context(echo_server(setting.servers, what_if_response(server), sent.event))
        contests = []
        for index, number in enumerate(setting.sizes((1, 100, 1000), (1, 30)), 1):
            events = setting.size(20 if number < 1000 else 6, 2)
            for contender, each in ((ECHO, plain), (DEJAVU, server)):
                take = fan_out(subscribers, each, number, events, index * 1_000_000)
                contests.append(Contest(plural(number, "subscriber"), contender, take))
        alternate(setting, run, STREAMS.name, contests)


def measure_page(setting: Setting, run: Run) -> None:
    """Measure the gateway: it shares the CPU of servers with the server, and browsers have the CPU of callers."""
    browsers, events = setting.size(200, 8), setting.size(40, 8)

    def take() -> dict[str, float]:
        with pinned_to(setting.callers), tempfile.TemporaryDirectory() as folder:  # browsers inherit the CPU
            result = event_loop().run(follow(browsers, events, RATE, Path(folder), setting.servers))
        if result.wrong:
            raise CallsFailed(f"browsers lost, repeated or reordered {result.wrong} events")
        return {name: float(value) for name, value in asdict(result).items()}

    alternate(setting, run, PAGE.name, [Contest(plural(browsers, "browser"), "gateway", take)])


STREAMS = Section(
    name="streams",
    title="Streams",
    text=(
        "A call publishes a forecast of a named game to all subscribers of one worker, 25 a connection. The time"
        " includes forecast and commit, until the last subscriber has the event. The echo sends the same bytes and"
        " computes nothing. Publisher and subscribers are one process, whose CPU time is included in the times of both"
        " servers."
    ),
    columns={
        "last_ms": "until the last has it, ms",
        "cpu_us": "server CPU, µs a delivery",
        "event_bytes": "bytes of an event",
    },
    measure=measure_streams,
    base=ECHO,
)
PAGE = Section(
    name="page",
    title="The page's gateway",
    text=(
        f"Browsers follow the gateway's server-sent events, {RATE:g} a second, from the computation of a forecast to"
        " its arrival at the last browser. Then the gateway is killed: the last column is the time until every browser"
        " has resumed and has every event (`python -m bench.page`)."
    ),
    columns={
        "p50_ms": "p50, ms",
        "p99_ms": "p99, ms",
        "cpu_us": "gateway CPU, µs a delivery",
        "kib_connected": "KiB a browser",
        "back_seconds": "all resumed, s",
    },
    measure=measure_page,
)
