"""The targets that a run is compared with."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.performance.measuring import DEJAVU, ECHO, MLSERVER
from bench.performance.samples import Run
from bench.performance.sections import batches, beside_batches, memory, newcomer, single_calls, start, streams, workers


@dataclass(frozen=True, slots=True)
class Target:
    """A target.

    Attributes:
        text: description, as in the report.
        bound: the highest value that meets it, or the lowest if `at_least`.
        values: returns the value of each round; none if it was not measured.
        unit: unit of bound and values; empty: they are ratios.
        at_least: whether the bound is a minimum.
    """

    text: str
    bound: float
    values: Callable[[Run], list[float]]
    unit: str = ""
    at_least: bool = False

    def is_met(self, run: Run) -> bool | None:
        """Return whether the median over rounds meets it; None if it was not measured."""
        values = self.values(run)
        if not values:
            return None
        median = statistics.median(values)
        return median >= self.bound if self.at_least else median <= self.bound


def _ratio(section: str, case: str, contender: str, figure: str, base: str) -> Callable[[Run], list[float]]:
    return lambda run: run.ratios(section, case, contender, figure, base)


def _value(section: str, case: str, contender: str, figure: str) -> Callable[[Run], list[float]]:
    return lambda run: list(run.values(section, case, contender, figure).values())


_LONE, _SIXTEEN = single_calls.case_of(1), single_calls.case_of(16)
_FIFTY, _THOUSAND = batches.case_of(50), batches.case_of(1000)
_RATE = "forecasts_a_core_second"

TARGETS = (
    Target(
        "what-if, 1 caller: p50 over the echo's",
        1.9,
        _ratio(single_calls.NAME, _LONE, single_calls.WHAT_IF, "p50_ms", ECHO),
    ),
    Target(
        "what-if, 16 callers: server CPU over the echo's",
        1.4,
        _ratio(single_calls.NAME, _SIXTEEN, single_calls.WHAT_IF, "cpu_us", ECHO),
    ),
    Target(
        "what-if, 16 callers: server CPU over MLServer's",
        0.4,
        _ratio(single_calls.NAME, _SIXTEEN, single_calls.WHAT_IF, "cpu_us", MLSERVER),
    ),
    Target(
        "what-if, 16 callers: CPU of two workers over that of one",
        1.15,
        _ratio(workers.NAME, workers.WHAT_IF, workers.contender_of(2), "cpu_us", workers.contender_of(1)),
    ),
    Target(
        "named, 1 caller: p50 over the echo's",
        4.5,
        _ratio(single_calls.NAME, _LONE, single_calls.NAMED, "p50_ms", ECHO),
    ),
    Target("batch of 50: p50 over the echo's of as many", 9.0, _ratio(batches.NAME, _FIFTY, DEJAVU, "p50_ms", ECHO)),
    Target(
        "batch of 1,000: forecasts per second of a core",
        25_000,
        _value(batches.NAME, _THOUSAND, DEJAVU, _RATE),
        unit="a second",
        at_least=True,
    ),
    Target(
        "columns of 1,000: forecasts per second of a core",
        60_000,
        _value(batches.NAME, _THOUSAND, batches.AS_COLUMNS, _RATE),
        unit="a second",
        at_least=True,
    ),
    Target(
        "beside batches of 1,000: longest wait over the p99 alone",
        8.0,
        _value(beside_batches.NAME, beside_batches.CASE, DEJAVU, "longest_over_p99"),
    ),
    Target(
        "event to 1,000 subscribers: time over the echo's",
        1.5,
        _ratio(streams.NAME, streams.case_of(1000), DEJAVU, "last_ms", ECHO),
    ),
    Target("start to SERVING, as by default", 1.5, _value(start.NAME, start.CASE, start.DEFAULT, "seconds"), unit="s"),
    Target("clone to the first forecast", 60, _value(newcomer.NAME, "clone", newcomer.CONTENDER, "first"), unit="s"),
    Target(
        "clone to the end of the demo: CPU",
        90,
        _value(newcomer.NAME, "clone", newcomer.CONTENDER, "cpu_seconds"),
        unit="s",
    ),
    Target(
        "memory (PSS) of a worker, two workers as by default",
        110,
        _value(memory.NAME, memory.CASE, memory.contender_of(2), "worker_mb"),
        unit="MB",
    ),
    Target(
        "memory (PSS) of four workers",
        260,
        _value(memory.NAME, memory.CASE, memory.contender_of(4), "workers_mb"),
        unit="MB",
    ),
)
"""All targets, in the order of the report."""
