"""The targets that a run is compared with."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.performance.measuring import DEJAVU, ECHO, MLSERVER, Section
from bench.performance.samples import Run
from bench.performance.sections.calls import AS_COLUMNS, BATCHES, BESIDE, NAMED, SINGLE, WHAT_IF, WORKERS, batch_case
from bench.performance.sections.start import (
    AS_BY_DEFAULT,
    MEMORY,
    MEMORY_CASE,
    NEWCOMER,
    START,
    START_CASE,
    of_workers,
)
from bench.performance.sections.streams import STREAMS


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


def _ratio(section: Section, case: str, contender: str, figure: str, base: str) -> Callable[[Run], list[float]]:
    return lambda run: run.ratios(section.name, case, contender, figure, base)


def _value(section: Section, case: str, contender: str, figure: str) -> Callable[[Run], list[float]]:
    return lambda run: list(run.values(section.name, case, contender, figure).values())


TARGETS = (
    Target("what-if, 1 caller: p50 over the echo's", 2.2, _ratio(SINGLE, "1 caller", WHAT_IF, "p50_ms", ECHO)),
    Target(
        "what-if, 16 callers: server CPU over the echo's", 1.8, _ratio(SINGLE, "16 callers", WHAT_IF, "cpu_us", ECHO)
    ),
    Target(
        "what-if, 16 callers: server CPU over MLServer's",
        0.4,
        _ratio(SINGLE, "16 callers", WHAT_IF, "cpu_us", MLSERVER),
    ),
    Target(
        "what-if, 16 callers: CPU of two workers over that of one",
        1.15,
        _ratio(WORKERS, "what-ifs", "2 workers", "cpu_us", "1 worker"),
    ),
    Target("named, 1 caller: p50 over the echo's", 4.5, _ratio(SINGLE, "1 caller", NAMED, "p50_ms", ECHO)),
    Target("batch of 50: p50 over the echo's of as many", 9.0, _ratio(BATCHES, batch_case(50), DEJAVU, "p50_ms", ECHO)),
    Target(
        "batch of 1,000: forecasts per second of a core",
        15_000,
        _value(BATCHES, batch_case(1000), DEJAVU, "forecasts_a_core_second"),
        unit="a second",
        at_least=True,
    ),
    Target(
        "columns of 1,000: forecasts per second of a core",
        20_000,
        _value(BATCHES, batch_case(1000), AS_COLUMNS, "forecasts_a_core_second"),
        unit="a second",
        at_least=True,
    ),
    Target(
        "beside batches of 1,000: longest wait over the p99 alone",
        8.0,
        _value(BESIDE, "batches of 1,000", DEJAVU, "longest_over_p99"),
    ),
    Target(
        "event to 1,000 subscribers: time over the echo's",
        1.5,
        _ratio(STREAMS, "1,000 subscribers", DEJAVU, "last_ms", ECHO),
    ),
    Target("start to SERVING, as by default", 1.5, _value(START, START_CASE, AS_BY_DEFAULT, "seconds"), unit="s"),
    Target("clone to the first forecast", 60, _value(NEWCOMER, "clone", DEJAVU, "first"), unit="s"),
    Target("clone to the end of the demo: CPU", 90, _value(NEWCOMER, "clone", DEJAVU, "cpu_seconds"), unit="s"),
    Target(
        "memory (PSS) of a worker, two workers as by default",
        110,
        _value(MEMORY, MEMORY_CASE, of_workers(2), "worker_mb"),
        unit="MB",
    ),
    Target("memory (PSS) of four workers", 320, _value(MEMORY, MEMORY_CASE, of_workers(4), "workers_mb"), unit="MB"),
)
"""All targets, in the order of the report."""
