"""Settings of a run, rounds in which all contenders take turns, and the calls that are timed in them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from bench.callers import INFER, PREDICT, Order, body, call, inferred_points
from bench.performance.samples import Run
from bench.servers import Server, response_to

from bench import servers
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_store.default_bundles import default_bundle

ECHO, DEJAVU, MLSERVER = "echo", "Dejavu", "MLServer"

CALLS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "calls_a_second": "calls a second",
    "cpu_us": "server CPU, µs a call",
}
"""Figure → heading of its column, for calls."""

SAME_POINTS = 1e-3
"""Tolerance between forecasts of two servers of one model, in points: sums of the LSTM depend on the batch size."""


class CallsFailed(Exception):
    """Calls failed, so the times of the others mean little."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Settings of a run.

    Attributes:
        rounds: number of rounds that count; one more comes before them to warm up.
        quick: whether to make only a few calls, to show that everything works.
        mlserver: a Python that has MLServer installed; None: there is none.
        servers: the CPU of the servers.
        callers: the CPU of the callers; the same CPU on a machine that has only one.
    """

    rounds: int
    quick: bool
    mlserver: Path | None = None
    servers: frozenset[int] = field(default_factory=lambda: frozenset({min(os.sched_getaffinity(0))}))
    callers: frozenset[int] = field(default_factory=lambda: frozenset({max(os.sched_getaffinity(0))}))

    def size(self, full: int, quick: int) -> int:
        """Return a number of calls or of similar things, reduced in a quick run."""
        return quick if self.quick else full

    def sizes(self, full: tuple[int, ...], quick: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sizes to measure."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the report.

    Attributes:
        name: its name on the command line and in samples.
        title: its heading.
        text: description of the measurement.
        columns: figure → heading of its column, with the unit.
        measure: measures it; adds samples, or the reason for skipping a part, to the run.
        base: the contender to whose figures the ratios refer; empty: there are no ratios.
    """

    name: str
    title: str
    text: str
    columns: Mapping[str, str]
    measure: Callable[[Setting, Run], None]
    base: str = ""


@dataclass(frozen=True, slots=True)
class Contest:
    """One contender in one case.

    Attributes:
        case: name of the case, for example the number of callers.
        contender: name of the contender.
        take: measures once; returns figures by name.
    """

    case: str
    contender: str
    take: Callable[[], Mapping[str, float]]


def alternate(setting: Setting, run: Run, section: str, contests: Sequence[Contest]) -> None:
    """Measure all contests in rounds; the contests of one case follow each other. The first round warms up.

    Every other round is in reverse order, so that drift within a round favours no contender.
    """
    for number in range(-1, setting.rounds):
        for each in contests if number % 2 == 0 else reversed(contests):
            figures = each.take()
            if number >= 0:
                run.add(section, each.case, each.contender, number, figures)


def timed_calls(callers: Executor, server: Server, order: Order) -> Callable[[], dict[str, float]]:
    """Return a function that times an order to a server: each time with new patterns, and new games if it names them.

    The figures are those of CALLS; for batches also forecasts_a_core_second.

    Raises:
        CallsFailed: if a call fails.
    """
    firsts = count(order.first, order.calls * max(order.batch, 1))

    def take() -> dict[str, float]:
        before = server.cpu_seconds()
        taken = callers.submit(call, replace(order, address=server.address, first=next(firsts))).result()
        cpu_us = 1e6 * (server.cpu_seconds() - before) / order.calls
        if taken.failed:
            raise CallsFailed(f"{taken.failed} of {order.calls} calls to {server.address} failed: {order}")
        p50, p99 = (1e3 * percentile(taken.each, percent) for percent in (50, 99))
        figures = {"p50_ms": p50, "p99_ms": p99, "calls_a_second": len(taken.each) / taken.seconds, "cpu_us": cpu_us}
        if order.batch:
            figures["forecasts_a_core_second"] = 1e6 * order.batch / cpu_us
        return figures

    return take


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of values; 0 of fewer than two."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else 0.0


def what_if_response(server: Server) -> bytes:
    """Return the serialized response of a `dejavu-server` to a what-if, for echoes to return."""
    return response_to(server.address, PREDICT, body(0, Order("", 1, 1)))


@contextmanager
def mlserver(setting: Setting, like: Server | None = None) -> Iterator[Server]:
    """Run an MLServer of the bundle that ships, on the CPU of servers.

    Args:
        setting: a setting with MLServer.
        like: a `dejavu-server` that has to make the same forecasts; None: no matter.

    Raises:
        AssertionError: if the point forecasts of a pattern differ.
    """
    assert setting.mlserver is not None
    with servers.mlserver(setting.mlserver, setting.servers, default_bundle()) as peer:
        if like is not None:
            expected = pb.PredictResponse.FromString(what_if_response(like)).forecast.point_forecast
            answer = response_to(peer.address, INFER, body(0, Order("", 1, 1, method=INFER)))
            found = inferred_points(answer)
            if len(found) != 1 or abs(found[0] - expected) > SAME_POINTS:
                raise AssertionError(f"MLServer forecasts {found}, dejavu-server {expected}")
        yield peer


def plural(number: int, word: str) -> str:
    """Return a number and a noun."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
