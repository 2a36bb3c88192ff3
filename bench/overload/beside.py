"""Compares Dejavu with a bare grpc.aio echo and MLServer under overload and with impatient callers.

Run with `python -m bench.overload.beside` from the project's folder; `--mlserver PYTHON` names a Python that has
MLServer. Each server has one serving process, pinned to one CPU; the callers run on other CPUs. Neither the echo nor
MLServer computes anything: both answer at once. Dejavu computes every forecast, its cache is off.

For each server: the capacity (callers that each have one call open), calls at multiples of it (open loop, deadline one
second), and many calls at once. Then a patient client with four callers, alone and while `--impatient` callers make
calls with deadlines of one millisecond, in alternating phases.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from bench.latency import helper
from bench.overload.load import OK, RESOURCE_EXHAUSTED, Order, Taken, take
from bench.overload.servers import Target, starts

CANCELLED, DEADLINE_EXCEEDED, RESET = 1, 4, -1


@dataclass(frozen=True, slots=True)
class Result:
    """Results of the callers of one server in one phase.

    Attributes:
        server: name of the server.
        phase: name of the phase.
        goodput: answered calls a second.
        ratio: goodput divided by the goodput of the control.
        slower: 99th percentile of the latency of answered calls as a multiple of the control's.
        refused: calls that were refused.
        refused_p50: latency of refusals, in seconds.
        expired: calls that reached their deadline.
        reset: calls that ended without a status, or as CANCELLED.
    """

    server: str
    phase: str
    goodput: float
    ratio: float
    slower: float
    refused: int
    refused_p50: float
    expired: int
    reset: int


class Callers:
    """Processes that make calls, pinned to one CPU.

    Args:
        stack: ends them.
        options: of the command line.
    """

    def __init__(self, stack: ExitStack, options: argparse.Namespace) -> None:
        self._processes = [stack.enter_context(helper("bench.overload.load", {1})) for _ in range(2)]
        self._pool = stack.enter_context(ThreadPoolExecutor(2))
        self._options = options
        self._orders = 0

    def order(self, target: Target, **changed: float) -> Order:
        """Return an order of the usual calls, with changes."""
        self._orders += 1
        usual = {
            "connections": self._options.connections,
            "callers": 0,
            "rate": 0.0,
            "at_once": 0,
            "seconds": self._options.seconds,
            "warm_up": self._options.seconds / 4,
            "timeout_ms": 1000,
            "seed": self._options.seed + self._orders,
        }
        return Order(address=target.address, method=target.method, message=target.message.hex(), **(usual | changed))

    def take(self, *orders: Order) -> list[Taken]:
        """Run one or two orders at the same time."""
        return list(self._pool.map(take, self._processes, orders))


def result(target: Target, phase: str, taken: Taken, control: Taken) -> Result:
    """Compare a phase with its control."""

    def ended(*codes: int) -> int:
        return sum(taken.all_codes.get(str(code), 0) for code in codes)

    goodput = taken.codes.get(str(OK), 0) / taken.seconds
    before = control.codes.get(str(OK), 0) / control.seconds
    return Result(
        server=target.name,
        phase=phase,
        goodput=goodput,
        ratio=goodput / before if before else 0.0,
        slower=taken.ok_p99 / control.ok_p99 if control.ok_p99 else 0.0,
        refused=ended(RESOURCE_EXHAUSTED),
        refused_p50=taken.refused_p50,
        expired=ended(DEADLINE_EXCEEDED),
        reset=ended(RESET, CANCELLED),
    )


def overloaded(callers: Callers, target: Target, options: argparse.Namespace) -> list[Result]:
    """Measure a server with more calls than it can answer."""
    closed = callers.order(target, callers=options.callers)
    callers.take(closed)  # warms up
    [capacity] = callers.take(closed)
    rate = capacity.codes.get(str(OK), 0) / capacity.seconds
    results = [result(target, "capacity", capacity, capacity)]
    for factor in options.factors:
        [taken] = callers.take(callers.order(target, rate=factor * rate))
        results.append(result(target, f"{factor:g} × capacity", taken, capacity))
    if options.at_once:
        [taken] = callers.take(callers.order(target, at_once=options.at_once, warm_up=0.0))
        results.append(result(target, f"{options.at_once:,} at once", taken, capacity))
    return results


def beside_impatient(callers: Callers, target: Target, options: argparse.Namespace) -> list[Result]:
    """Measure a patient client, alone and together with impatient callers, in alternating phases."""
    patient = callers.order(target, callers=4, connections=1)
    impatient = callers.order(target, callers=options.impatient, timeout_ms=1)
    pairs = []
    for _ in range(options.rounds):
        [control] = callers.take(patient)
        taken, _ = callers.take(patient, impatient)
        pairs.append(result(target, f"{options.impatient} callers of 1 ms", taken, control))
    return [sorted(pairs, key=lambda each: each.ratio)[len(pairs) // 2]]


def show(results: list[Result], write: Callable[[str], None]) -> None:
    """Write the table."""
    write(
        f"{'':42}{'answered/s':>11}{'of control':>11}{'p99':>8}{'refused':>9}{'p50, ms':>9}{'expired':>9}{'reset':>8}"
    )
    for each in results:
        write(
            f"{each.server:20}{each.phase:22}{each.goodput:11.0f}{each.ratio:11.0%}{each.slower:7.1f}×{each.refused:9}"
            f"{1e3 * each.refused_p50:9.1f}{each.expired:9}{each.reset:8}"
        )


def main(arguments: list[str] | None = None, *, show_line: Callable[[str], None] = print) -> int:
    """Measure all servers, one after the other, and print."""
    parser = argparse.ArgumentParser(prog="bench.overload.beside", description=__doc__)
    parser.add_argument("--mlserver", metavar="PYTHON", help="a Python that has MLServer installed")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="length of a phase; the first quarter is not counted"
    )
    parser.add_argument("--factors", type=float, nargs="*", default=[2.0, 4.0, 8.0], help="multiples of capacity")
    parser.add_argument("--at-once", type=int, default=24_000, help="calls that start together in one phase; 0: none")
    parser.add_argument("--callers", type=int, default=32, help="callers that measure the capacity")
    parser.add_argument("--impatient", type=int, default=256, help="callers with deadlines of 1 ms")
    parser.add_argument(
        "--rounds", type=int, default=3, help="phases with and without impatient callers; the median is shown"
    )
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    results = []
    for start in starts(options.mlserver, {0}):
        with ExitStack() as stack:
            target = stack.enter_context(start())
            callers = Callers(stack, options)
            results += overloaded(callers, target, options)
            results += beside_impatient(callers, target, options)
    show(results, show_line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
