"""Measures goodput, latency, refusals and health of a worker that gets more calls than it can answer.

Run with `python -m bench.overload` from the project's folder. A `dejavu-server --workers 1` is pinned to one CPU; the
calls come from a separate process on another. First the capacity is measured, by callers that each have one call open
(closed loop). Then calls arrive at multiples of it, at random times, regardless of whether earlier ones were answered
(open loop); then many at once. At the end the capacity is measured again, as a control: if other work on the machine
makes the two differ, the figures between them are unreliable too. Health checks run all the time, over a separate
connection.

The cache of what-ifs is off. The calls are as cheap as a forecast that is computed can be, which is the hardest case,
because a refusal then costs a large part of a forecast.

Exits with 1 if the metrics counted less than 99 % of the refusals, if a refusal does not say when to try again, if a
health check failed, or if more than 5 % of the queries were computed for callers that had disconnected.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc
from bench.callers import PREDICT
from bench.overload.http2 import DEADLINE_EXCEEDED
from bench.overload.load import OK, RESOURCE_EXHAUSTED, Order, Taken, take
from bench.performance.measuring import percentile
from bench.result import program
from bench.servers import cpu_seconds, helper, pinned_server
from grpc_health.v1 import health_pb2
from tests.support.processes.servers import SpawnedServer

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common.clock import utc_now
from dejavu_server.access import token_file
from dejavu_server.access.caller import AccessScope

PATTERN = (0, 2, 4, 3, 5, 7, 6, 4, 4, 6, 8, 9, 11, 10, 8, 7, 9, 11)
REQUEST = pb.PredictRequest(pattern=PATTERN).SerializeToString()
HEALTH_SECONDS = 0.05
"""Pause between two health checks."""

CLOSED, OPEN, AT_ONCE = "capacity", "open loop", "at once"


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
        dropped: queries that were not computed because their callers had disconnected.
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
    dropped: float
    health_p99: float
    health_failed: int
    small: Taken | None = None

    def code(self, *codes: int) -> int:
        """Return the number of calls of the whole phase that ended with one of the codes."""
        return sum(self.taken.all_codes.get(str(code), 0) for code in codes)

    def others(self) -> int:
        """Return the number of calls that ended neither with an answer or a refusal nor at their deadline."""
        return sum(self.taken.all_codes.values()) - self.code(OK, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED)


@dataclass
class Phases:
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
            if phase.taken.with_pushback < phase.taken.codes.get(str(RESOURCE_EXHAUSTED), 0):
                found.append(f"{name}: refusals that do not say when to try again")
            if phase.health_failed:
                found.append(f"{name}: {phase.health_failed} health checks failed")
            if phase.wasted > 0.05 * phase.computed:
                found.append(
                    f"{name}: {phase.wasted:.0f} of {phase.computed:.0f} queries were computed for disconnected callers"
                )
        return found


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
        self,
        server: SpawnedServer,
        callers: subprocess.Popen[str],
        options: argparse.Namespace,
        tokens: tuple[str, str] = ("", ""),
    ) -> None:
        self._options = options
        self._tokens = tokens
        self._callers = callers
        self._address = server.address
        self._metrics = str(server.wait_for("listening")["metrics"])
        [self._worker] = server.workers
        self.phases: list[Phase] = []

    def phase(self, name: str, offered: float, *, rate: float = 0.0, at_once: int = 0, callers: int = 0) -> Phase:
        """Run a phase."""
        options = self._options
        order = Order(
            address=self._address,
            method=PREDICT,
            message=REQUEST.hex(),
            connections=options.connections,
            callers=callers,
            rate=rate,
            at_once=at_once,
            seconds=options.seconds,
            warm_up=0.0 if at_once else options.seconds / 4,
            timeout_ms=options.timeout_ms,
            seed=options.seed + len(self.phases),
            token=self._tokens[0],
        )
        small = replace(order, connections=1, callers=options.small, rate=0.0, at_once=0, token=self._tokens[1])
        health = Health(self._address)
        before, cpu, start = self._scrape(), cpu_seconds(self._worker.pid), time.perf_counter()
        with health.asked():
            taken, *others = take(self._callers, order, *[small] * bool(options.small))
        cpu = (cpu_seconds(self._worker.pid) - cpu) / (time.perf_counter() - start)
        counted = {name: value - before.get(name, 0.0) for name, value in self._scrape().items()}
        phase = Phase(
            name=name,
            offered=offered,
            goodput=taken.codes.get(str(OK), 0) / taken.seconds,
            cpu=cpu,
            taken=taken,
            small=others[0] if others else None,
            refused=counted.get("refused", 0.0),
            computed=counted.get("computed", 0.0),
            wasted=counted.get("wasted", 0.0),
            dropped=counted.get("dropped", 0.0),
            health_p99=percentile(health.each, 99),
            health_failed=health.failed,
        )
        self.phases.append(phase)
        return phase

    def _scrape(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://{self._metrics}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return {
            "refused": _sum(text, r'dejavu_calls_refused_total\{[^}]*reason="(?:OVERLOADED|CALLER_LIMIT)"[^}]*\}'),
            "computed": _sum(text, r"dejavu_batch_size_sum"),
            "wasted": _sum(text, r'dejavu_work_dropped_total\{stage="computed"\}'),
            "dropped": _sum(text, r'dejavu_work_dropped_total\{stage="(?:queue|thread)"\}'),
        }


def _sum(text: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{name} (\S+)$", text, re.MULTILINE))


def measure(bench: Bench, options: argparse.Namespace) -> list[Phase]:
    """Run all phases; return them."""
    capacity = bench.phase(CLOSED, 0, callers=options.callers)  # warms up
    bench.phases.clear()
    capacity = bench.phase(CLOSED, 0, callers=options.callers)
    for factor in options.factors:
        bench.phase(OPEN, factor, rate=factor * capacity.goodput)
    if options.at_once:
        bench.phase(AT_ONCE, options.at_once, at_once=options.at_once)
    bench.phase(CLOSED, 0, callers=options.callers)
    return bench.phases


def report(result: Phases, _: float) -> str:
    """Format the results for people."""
    first, last = result.phases[0], result.phases[-1]
    capacity = (first.goodput + last.goodput) / 2
    head = (
        f"{'':20}{'answered/s':>11}{'of capacity':>12}{'p50, ms':>9}{'p99, ms':>9}{'refused':>9}{'p50, ms':>9}"
        f"{'counted':>9}{'expired':>9}{'others':>8}{'wasted':>8}{'CPU':>6}{'health p99':>12}"
    )
    if first.small is not None:
        head += f"{'small/s':>9}{'not':>6}{'p99, ms':>9}"
    lines = [head]
    for phase in result.phases:
        name = {CLOSED: "capacity", OPEN: f"{phase.offered:g} × capacity", AT_ONCE: f"{phase.offered:,.0f} at once"}
        taken = phase.taken
        lines.append(
            f"{name[phase.name]:20}{phase.goodput:11.0f}{phase.goodput / capacity:12.0%}"
            f"{1e3 * taken.ok_p50:9.1f}{1e3 * taken.ok_p99:9.1f}"
            f"{phase.code(RESOURCE_EXHAUSTED):9}{1e3 * taken.refused_p50:9.1f}{phase.refused:9.0f}"
            f"{phase.code(DEADLINE_EXCEEDED):9}{phase.others():8}{phase.wasted:8.0f}{phase.cpu:6.2f}"
            f"{1e3 * phase.health_p99:9.1f} ms"
            f"{_beside(phase.small)}"
        )
    return "\n".join(lines)


def _beside(small: Taken | None) -> str:
    """Format the results of the small caller: answers a second, calls without an answer, latency of the others."""
    if small is None:
        return ""
    answered = small.codes.get(str(OK), 0)
    return f"{answered / small.seconds:9.0f}{sum(small.codes.values()) - answered:6}{1e3 * small.ok_p99:9.1f}"


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
        helper("bench.overload.load", {1}) as callers,
    ):
        return Phases(measure(Bench(server, callers, options, tokens), options))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this program."""
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="length of a phase; the first quarter is not counted"
    )
    parser.add_argument("--factors", type=float, nargs="*", default=[1.0, 2.0, 4.0, 8.0], help="multiples of capacity")
    parser.add_argument("--at-once", type=int, default=24_000, help="calls that start together in one phase; 0: none")
    parser.add_argument("--callers", type=int, default=32, help="callers that measure the capacity")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--small", type=int, default=0, help="calls that another caller keeps open; 0: no other caller")
    parser.add_argument("--timeout-ms", type=int, default=1000, help="deadline of every call")


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the measurement; return the exit code."""
    return program(arguments, show, description=__doc__, run=run, report=report, add_options=add_options)
