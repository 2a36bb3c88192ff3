"""Measures goodput, latency, refusals and health of a worker that gets more calls than it can answer.

Run with `python -m bench.overload` from the project's folder. A `dejavu-server --workers 1` is pinned to one CPU; the
calls come from a separate process on another. First the capacity is measured, by callers that each have one call open
(closed loop). Then calls arrive at multiples of it, at random times, regardless of whether earlier ones were answered
(open loop); then many at once. At the end the capacity is measured again, as a control: if other work on the machine
makes the two differ, the figures between them are unreliable too. Health checks run all the time, over a separate
connection.

`--factors` are the multiples, `--at-once` the calls that start together (0: none), `--small` calls that another caller
keeps open meanwhile (0: no other caller). The first quarter of the `--seconds` of a phase is not counted.

The cache of what-ifs is off. The calls are as cheap as a forecast that is computed can be, which is the hardest case,
because a refusal then costs a large part of a forecast.

Exits with 1 if the metrics counted less than 99 % of the refusals, if a refusal does not say when to try again, if a
health check failed, or if more than 5 % of the queries were computed for callers that had disconnected.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import grpc
from bench.callers import PREDICT
from bench.http2 import DEADLINE_EXCEEDED, Connection
from bench.performance.measuring import percentile
from bench.result import Result, program
from bench.servers import cpu_seconds, event_loop, pinned_server, process_on
from grpc_health.v1 import health_pb2
from tests.support.builders.calls import PATTERN
from tests.support.processes.scrapes import scrape, value_in
from tests.support.processes.servers import SpawnedServer

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

REQUEST = pb.PredictRequest(pattern=PATTERN).SerializeToString()
OK, RESOURCE_EXHAUSTED = 0, 8
CALLERS = 32
"""Callers that measure the capacity."""

TICK_SECONDS = 0.002
"""Interval at which calls of an open loop are started."""

HEALTH_SECONDS = 0.05
"""Pause between two health checks."""

CLOSED, OPEN, AT_ONCE = "capacity", "open loop", "at once"


@dataclass(frozen=True, slots=True)
class Order:
    """Calls of Predict to make, all with the same request.

    Attributes:
        address: HOST:PORT of the server.
        connections: number of connections.
        seconds: time during which calls are started.
        warm_up: seconds at the start that are not counted.
        timeout_ms: deadline of every call.
        seed: seed of the times.
        callers: callers in a closed loop; 0: an open loop.
        rate: calls a second of an open loop, at times of a Poisson process.
        at_once: calls of an open loop that start together at the beginning.
        token: token of the caller; empty: the server asks for none.
    """

    address: str
    connections: int
    seconds: float
    warm_up: float
    timeout_ms: int
    seed: int
    callers: int = 0
    rate: float = 0.0
    at_once: int = 0
    token: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """Results of an order: of the calls that ended within the counted time.

    Attributes:
        seconds: length of the counted time; if all calls started together, until the last of them ended.
        codes: number of calls by status code; -1 for streams that were reset without one.
        all_codes: the same for all calls, including the warm-up.
        ok_p50, ok_p99: latency of answered calls, in seconds; 0 with fewer than two.
        refused_p50: latency of refused calls.
        with_pushback: refused calls whose status says when to try again.
    """

    seconds: float
    codes: Counter[int]
    all_codes: Counter[int]
    ok_p50: float
    ok_p99: float
    refused_p50: float
    with_pushback: int


class Run:
    """One order while it runs: calls start at random times, or when the previous call of the same caller has ended."""

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
        extra = [(b"authorization", f"Bearer {order.token}".encode())] if order.token else []
        for number in range(order.connections):
            ended = partial(self._ended, number)
            new_connection = partial(Connection, PREDICT, REQUEST, order.timeout_ms, ended, extra)
            _, connection = await loop.create_connection(new_connection, host, int(port))
            self._connections.append(connection)
        start = time.perf_counter()
        self._from, self._until = start + order.warm_up, start + order.seconds
        expiring = asyncio.create_task(self._expire())
        for number in range(order.callers or order.at_once):
            self._connections[number % order.connections].call()
        if order.rate:
            await self._open_loop(start)
        await asyncio.sleep(self._until - time.perf_counter())
        deadline = time.perf_counter() + order.timeout_ms / 1e3 + 2
        while any(each.open_calls for each in self._connections) and time.perf_counter() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        expiring.cancel()
        for connection in self._connections:
            connection.transport.abort()
        await asyncio.gather(*(connection.closed for connection in self._connections))
        ok, refused = (self._latencies[code] for code in (OK, RESOURCE_EXHAUSTED))
        return Taken(
            seconds=(self._last_end if order.at_once else self._until) - self._from,
            codes=self._counted,
            all_codes=self._all,
            ok_p50=percentile(ok, 50),
            ok_p99=percentile(ok, 99),
            refused_p50=percentile(refused, 50),
            with_pushback=self._with_pushback,
        )

    async def _open_loop(self, start: float) -> None:
        order = self._order
        rng = random.Random(order.seed)
        due, sent = start, 0
        while due < self._until:
            now = time.perf_counter()
            starting = Counter[int]()
            while due <= now and due < self._until:
                starting[sent % order.connections] += 1
                sent += 1
                due += rng.expovariate(order.rate)
            for connection, number in starting.items():
                self._connections[connection].call(number)
            await asyncio.sleep(TICK_SECONDS)

    async def _expire(self) -> None:
        """Cancel calls at their deadlines, as clients do."""
        while True:
            await asyncio.sleep(min(0.01, self._order.timeout_ms / 2e3))
            for connection in self._connections:
                connection.expire(self._order.timeout_ms / 1e3)

    def _ended(self, connection: int, start: float, status: int, trailers: bytes) -> None:
        now = time.perf_counter()
        self._all[status] += 1
        self._last_end = now
        if self._from <= now <= self._until:
            self._counted[status] += 1
            if status in self._latencies:
                self._latencies[status].append(now - start)
            if status == RESOURCE_EXHAUSTED:
                self._with_pushback += b"grpc-retry-pushback-ms" in trailers
        if self._order.callers and now < self._until:
            self._connections[connection].call()


def take(*orders: Order) -> list[Taken]:
    """Run orders at the same time; return their results."""
    return event_loop().run(_take(*orders))


async def _take(*orders: Order) -> list[Taken]:
    return await asyncio.gather(*(Run(each).run() for each in orders))


@dataclass(frozen=True, slots=True)
class Phase:
    """Results of one phase.

    Attributes:
        name: CLOSED, OPEN or AT_ONCE.
        offered: calls a second as a multiple of the capacity; for AT_ONCE the number of calls.
        goodput: answered calls a second.
        cpu: CPU seconds that the worker used per second.
        taken: results of the callers.
        small: results of the caller with few calls beside them; None if there is none.
        refused: refusals that the metrics counted.
        computed: queries that were computed.
        wasted: queries that were computed although their callers had disconnected.
        health_p99: latency of health checks, in seconds.
        health_failed: number of failed health checks.
    """

    name: str
    offered: float
    goodput: float
    cpu: float
    taken: Taken
    refused: float
    computed: float
    wasted: float
    health_p99: float
    health_failed: int
    small: Taken | None = None

    def code(self, code: int) -> int:
        """Return the number of calls of the whole phase that ended with a code."""
        return self.taken.all_codes[code]

    def line(self, capacity: float) -> str:
        """Return the results as text, given the capacity in calls a second."""
        taken, small = self.taken, self.small
        parts = [
            f"{self.name} {self.offered:g}: {self.goodput:.0f} answered/s, {self.goodput / capacity:.0%} of capacity",
            f"p50 {1e3 * taken.ok_p50:.1f} ms, p99 {1e3 * taken.ok_p99:.1f} ms",
            f"refused: {self.code(RESOURCE_EXHAUSTED)}, counted: {self.refused:.0f}",
            f"after {1e3 * taken.refused_p50:.1f} ms",
            f"expired: {self.code(DEADLINE_EXCEEDED)}",
            f"wasted: {self.wasted:.0f}",
            f"CPU {self.cpu:.2f}",
            f"health p99 {1e3 * self.health_p99:.1f} ms",
        ]
        if small is not None:
            answered = small.codes[OK]
            parts.append(f"small: {answered / small.seconds:.0f} answered a second, p99 {1e3 * small.ok_p99:.1f} ms")
            parts.append(f"{small.codes.total() - answered} not")
        return "; ".join(parts)


@dataclass
class Phases(Result):
    """Results of a run.

    Attributes:
        phases: the phases, in order.
    """

    phases: list[Phase]

    def breaches(self) -> list[str]:
        """Describe the failed checks; empty if all pass."""
        found = []
        for phase in self.phases:
            name = f"{phase.name} {phase.offered:g}"
            refused = phase.code(RESOURCE_EXHAUSTED)
            if phase.refused < 0.99 * refused:
                found.append(f"{name}: {refused} refusals, of which the metrics counted {phase.refused:.0f}")
            if phase.taken.with_pushback < phase.taken.codes[RESOURCE_EXHAUSTED]:
                found.append(f"{name}: refusals that do not say when to try again")
            if phase.health_failed:
                found.append(f"{name}: {phase.health_failed} health checks failed")
            if phase.wasted > 0.05 * phase.computed:
                found.append(
                    f"{name}: {phase.wasted:.0f} of {phase.computed:.0f} queries were computed for disconnected callers"
                )
        return found

    def report(self) -> str:
        """Return a line for each phase."""
        capacity = (self.phases[0].goodput + self.phases[-1].goodput) / 2
        return "\n".join(phase.line(capacity) for phase in self.phases)


@dataclass
class Health:
    """Asks the health service until it is stopped, in a thread.

    Attributes:
        each: latency of each answer, in seconds.
        failed: number of checks that failed.
    """

    address: str
    each: list[float] = field(default_factory=list)
    failed: int = 0

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Ask within the block."""
        stop = threading.Event()
        thread = threading.Thread(target=self._ask, args=(stop,), name="health")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _ask(self, stop: threading.Event) -> None:
        request = health_pb2.HealthCheckRequest().SerializeToString()
        with grpc.insecure_channel(self.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
            while not stop.wait(HEALTH_SECONDS):
                start = time.perf_counter()
                try:
                    check(request, timeout=10.0)
                except grpc.RpcError:
                    self.failed += 1
                else:
                    self.each.append(time.perf_counter() - start)


class Bench:
    """A server, its callers, and the phases so far."""

    def __init__(
        self, server: SpawnedServer, callers: Executor, options: argparse.Namespace, tokens: tuple[str, str]
    ) -> None:
        self._server = server
        self._options = options
        self._tokens = tokens
        self._callers = callers
        [self._worker] = server.workers

    def phase(self, name: str, offered: float, *, rate: float = 0.0, at_once: int = 0, callers: int = 0) -> Phase:
        """Run a phase."""
        options = self._options
        order = Order(
            address=self._server.address,
            connections=options.connections,
            seconds=options.seconds,
            warm_up=0.0 if at_once else options.seconds / 4,
            timeout_ms=options.timeout_ms,
            seed=options.seed,
            callers=callers,
            rate=rate,
            at_once=at_once,
            token=self._tokens[0],
        )
        small = replace(order, connections=1, callers=options.small, rate=0.0, at_once=0, token=self._tokens[1])
        health = Health(self._server.address)
        before, cpu, start = self._counted(), cpu_seconds(self._worker.pid), time.perf_counter()
        with health.asked():
            taken, *others = self._callers.submit(take, order, *[small] * bool(options.small)).result()
        cpu = (cpu_seconds(self._worker.pid) - cpu) / (time.perf_counter() - start)
        refused, computed, wasted = (now - then for then, now in zip(before, self._counted(), strict=True))
        return Phase(
            name=name,
            offered=offered,
            goodput=taken.codes[OK] / taken.seconds,
            cpu=cpu,
            taken=taken,
            small=others[0] if others else None,
            refused=refused,
            computed=computed,
            wasted=wasted,
            health_p99=percentile(health.each, 99),
            health_failed=health.failed,
        )

    def _counted(self) -> tuple[float, float, float]:
        """Return how many calls were refused, queries computed, and queries computed for disconnected callers."""
        text = scrape(self._server)
        reasons = ("OVERLOADED", "CALLER_LIMIT")
        refused = sum(value_in(text, "dejavu_calls_refused_total", reason=reason) for reason in reasons)
        wasted = value_in(text, "dejavu_work_dropped_total", stage="computed")
        return refused, value_in(text, "dejavu_batch_size_sum"), wasted


def measure(bench: Bench, options: argparse.Namespace) -> Iterator[Phase]:
    """Run all phases, and yield them."""
    bench.phase(CLOSED, 0, callers=CALLERS)  # warms up
    yield (capacity := bench.phase(CLOSED, 0, callers=CALLERS))
    for factor in options.factors:
        yield bench.phase(OPEN, factor, rate=factor * capacity.goodput)
    if options.at_once:
        yield bench.phase(AT_ONCE, options.at_once, at_once=options.at_once)
    yield bench.phase(CLOSED, 0, callers=CALLERS)


def run(options: argparse.Namespace, folder: Path) -> Phases:
    """Run all phases on a server and a process of callers, each on its own CPU."""
    tokens, settings = ("", ""), list[str]()
    if options.small:  # by default loopback is one of our own programs, without limits of callers
        os.environ["DEJAVU_CALLER_LOOPBACK"] = "on"
        file = folder / "tokens.json"
        large, small = (token_file.create(file, name, (AccessScope.PREDICT,), utc_now()) for name in ("large", "small"))
        tokens, settings = (large, small), ["--tokens", str(file)]
    with (
        pinned_server({0}, "--metrics-listen", "127.0.0.1:0", *settings) as server,
        process_on({1}) as callers,
    ):
        return Phases([*measure(Bench(server, callers, options, tokens), options)])


if __name__ == "__main__":
    phases = {"seconds": 8.0, "at_once": 24_000, "connections": 16, "timeout_ms": 1000}
    sys.exit(program(__doc__, run, **phases, factors=[1.0, 2.0, 4.0, 8.0], small=0))
