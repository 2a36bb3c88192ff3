"""Fan-out of an event to 1, 100 and 1,000 subscribers, and to the browsers of the page's gateway."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count
from pathlib import Path

from bench.page.run import measure as follow
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
from bench.performance.subscribers import Delivered, FanOut
from bench.servers import Server, dejavu_server, echo_server, helper, pinned_to, tell

RATE = 10.0
"""Forecasts a second that browsers follow."""


def deliver(subscribers: subprocess.Popen[str], order: FanOut) -> Delivered:
    """Let a process of `bench.performance.subscribers` receive events; return the results.

    Raises:
        CallsFailed: if a subscriber missed an event, or got one twice.
    """
    try:
        line = tell(subscribers, json.dumps(asdict(order)))
    except RuntimeError as error:
        raise CallsFailed(str(error)) from error
    delivered = Delivered(**json.loads(line))
    if delivered.wrong:
        raise CallsFailed(f"subscribers received {delivered.wrong} events too often")
    return delivered


def fan_out(
    subscribers: subprocess.Popen[str], server: Server, number: int, events: int, first: int
) -> Callable[[], dict[str, float]]:
    """Return a function that measures the delivery of events to a number of subscribers, which connect before."""
    firsts = count(first, events)

    def take() -> dict[str, float]:
        order = FanOut(server.address, server.serving[0].pid, number, events, next(firsts))
        delivered = deliver(subscribers, order)
        return {
            "last_ms": 1e3 * statistics.median(delivered.seconds),
            "cpu_us": 1e6 * delivered.cpu_seconds / events / number,
            "event_bytes": len(bytes.fromhex(delivered.event)),
        }

    return take


def measure_streams(setting: Setting, run: Run) -> None:
    """Measure fan-out to subscribers."""
    with ExitStack() as stack:
        subscribers = stack.enter_context(helper("bench.performance.subscribers", setting.callers))
        server = stack.enter_context(dejavu_server(setting.servers))
        sent = deliver(subscribers, FanOut(server.address, server.serving[0].pid, 1, 1, 0))
        event = bytes.fromhex(sent.event)  # the echo sends an event of the server
        plain = stack.enter_context(echo_server(setting.servers, what_if_response(server), event))
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
            result = asyncio.run(follow(browsers, events, RATE, Path(folder), setting.servers))
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
    plot="streams",
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
