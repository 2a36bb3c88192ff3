"""Rounds in which all contenders take turns, and the calls that are timed in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

from bench.latency import Callers, Server, helper, sample
from bench.performance.processes.callers import CallOrder
from bench.performance.samples import Run
from bench.performance.setting import Setting

ECHO, DEJAVU, MLSERVER = "echo", "Dejavu", "MLServer"

MINUTE = 18
SEED = 1


class CallsFailed(Exception):
    """Calls failed, so the times of the others mean little."""


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


@contextmanager
def callers_process(setting: Setting) -> Iterator[Callers]:
    """Run the process of the callers, on their CPU."""
    with helper("bench.performance.processes.callers", set(setting.callers)) as process:
        yield Callers(process)


def new_order(server: Server, callers: int, calls: int, **changes: object) -> CallOrder:
    """Return an order of what-ifs at MINUTE, with changes."""
    usual = CallOrder(
        address=server.address,
        callers=callers,
        calls=calls,
        first=0,
        named=False,
        extras=False,
        minutes=[MINUTE],
        seed=SEED,
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def timed_calls(callers: Callers, server: Server, order: CallOrder) -> Callable[[], dict[str, float]]:
    """Return a function that times an order: each time with new patterns, and with new games if it names them.

    The figures are p50_ms, p99_ms, calls_a_second and cpu_us, the CPU of the server per call; for batches also
    forecasts_a_core_second.

    Raises:
        CallsFailed: if a call fails.
    """
    firsts = count(order.first, order.calls * max(order.batch, 1))

    def take() -> dict[str, float]:
        taken = sample(callers, server, order.protocol, replace(order, first=next(firsts)))
        if taken.failed:
            raise CallsFailed(f"{taken.failed} of {order.calls} calls to {order.address} failed: {order}")
        figures = {name: float(getattr(taken, name)) for name in ("p50_ms", "p99_ms", "calls_a_second", "cpu_us")}
        if order.batch:
            figures["forecasts_a_core_second"] = 1e6 * order.batch / taken.cpu_us
        return figures

    return take


def plural(number: int, word: str) -> str:
    """Return a number and a noun."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
