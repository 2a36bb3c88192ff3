"""Calls of Predict from a separate process: `python -m bench.overload.load`.

Every line of standard input is a JSON array of Orders, which run at the same time; every line of standard output is
that of the resulting Taken. Calls start either at random times, regardless of earlier calls (open loop), or when the
previous call of the same caller has ended.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import uvloop
from bench.overload.http2 import Connection
from bench.performance.measuring import percentile
from bench.servers import tell

OK, RESOURCE_EXHAUSTED = 0, 8

TICK_SECONDS = 0.002
"""Interval at which calls of an open loop are started."""

Fields = dict[bytes, bytes]
Ended = Callable[[float, int, Fields], None]


@dataclass(frozen=True, slots=True)
class Order:
    """Calls to make.

    Attributes:
        address: HOST:PORT of the server.
        method: path of the method.
        message: the serialized request, in hex; the same for every call.
        connections: number of connections.
        callers: callers in a closed loop; 0: an open loop.
        rate: calls a second of an open loop, at times of a Poisson process.
        at_once: calls of an open loop that start together at the beginning.
        seconds: time during which calls are started.
        warm_up: seconds at the start that are not counted.
        timeout_ms: deadline of every call.
        seed: seed of the times.
        token: token of the caller; empty: the server asks for none.
    """

    address: str
    method: str
    message: str
    connections: int
    callers: int
    rate: float
    at_once: int
    seconds: float
    warm_up: float
    timeout_ms: int
    seed: int
    token: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """Results of an order: of the calls that ended within the counted time.

    Attributes:
        seconds: length of the counted time; if all calls started together, until the last of them ended.
        codes: number of calls by status code; -1 for streams that were reset without one.
        all_codes: the same for all calls, including the warm-up.
        ok_p50, ok_p99: latency of answered calls, in seconds; 0 with fewer than two.
        refused_p50, refused_p99: latency of refused calls.
        with_pushback: refused calls whose status says when to try again.
    """

    seconds: float
    codes: dict[str, int]
    all_codes: dict[str, int]
    ok_p50: float
    ok_p99: float
    refused_p50: float
    refused_p99: float
    with_pushback: int


class Run:
    """One order while it runs."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._connections: list[Connection] = []
        self._all = Counter[int]()
        self._counted = Counter[int]()
        self._latencies: dict[int, list[float]] = {OK: [], RESOURCE_EXHAUSTED: []}
        self._with_pushback = 0
        self._from = self._until = self._last_end = 0.0

    async def run(self) -> Taken:
        """Connect, make the calls, and wait until all have ended or reached their deadlines."""
        order = self._order
        loop = asyncio.get_running_loop()
        host, _, port = order.address.rpartition(":")
        message = bytes.fromhex(order.message)
        extra = [(b"authorization", f"Bearer {order.token}".encode())] if order.token else []
        for number in range(order.connections):
            ended = self._ended_on(number)
            new_connection = partial(Connection, order.method, message, order.timeout_ms, ended, extra)
            _, connection = await loop.create_connection(new_connection, host, int(port))
            self._connections.append(connection)
        start = time.perf_counter()
        self._from, self._until = start + order.warm_up, start + order.seconds
        expiring = asyncio.create_task(self._expire())
        if order.callers:
            for number in range(order.callers):
                self._connections[number % order.connections].call()
            await asyncio.sleep(order.seconds)
        else:
            await self._open_loop(start)
        deadline = time.perf_counter() + order.timeout_ms / 1e3 + 2
        while any(each.open_calls for each in self._connections) and time.perf_counter() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        expiring.cancel()
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.gather(*(connection.closed for connection in self._connections))
        only_at_once = order.at_once and not order.rate
        ok, refused = (self._latencies[code] for code in (OK, RESOURCE_EXHAUSTED))
        return Taken(
            seconds=(self._last_end if only_at_once else self._until) - self._from,
            codes={str(code): number for code, number in self._counted.items()},
            all_codes={str(code): number for code, number in self._all.items()},
            ok_p50=percentile(ok, 50),
            ok_p99=percentile(ok, 99),
            refused_p50=percentile(refused, 50),
            refused_p99=percentile(refused, 99),
            with_pushback=self._with_pushback,
        )

    async def _open_loop(self, start: float) -> None:
        order = self._order
        rng = random.Random(order.seed)
        for number in range(order.at_once):
            self._connections[number % order.connections].call()
        due, sent = start, 0
        while due < self._until and order.rate:
            now = time.perf_counter()
            starting = Counter[int]()
            while due <= now and due < self._until:
                starting[sent % order.connections] += 1
                sent += 1
                due += rng.expovariate(order.rate)
            for connection, number in starting.items():
                self._connections[connection].call(number)
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.sleep(max(0.0, self._until - time.perf_counter()))

    async def _expire(self) -> None:
        """Cancel calls at their deadlines, as clients do."""
        while True:
            await asyncio.sleep(min(0.01, self._order.timeout_ms / 2e3))
            for connection in self._connections:
                connection.expire(self._order.timeout_ms / 1e3)

    def _ended_on(self, number: int) -> Ended:
        def ended(start: float, status: int, fields: Fields) -> None:
            now = time.perf_counter()
            self._all[status] += 1
            self._last_end = now
            if self._from <= now <= self._until:
                self._counted[status] += 1
                if status in self._latencies:
                    self._latencies[status].append(now - start)
                if status == RESOURCE_EXHAUSTED:
                    self._with_pushback += b"grpc-retry-pushback-ms" in fields
            if self._order.callers and now < self._until:
                self._connections[number].call()

        return ended


def take(process: subprocess.Popen[str], *orders: Order) -> list[Taken]:
    """Let a process of this module run orders at the same time; return their results."""
    return [Taken(**each) for each in json.loads(tell(process, json.dumps([asdict(each) for each in orders])))]


async def main() -> None:
    """Run the orders of a line of standard input at the same time, one line after the other."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        taken = await asyncio.gather(*(Run(Order(**each)).run() for each in json.loads(line)))
        print(json.dumps([asdict(each) for each in taken]), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
