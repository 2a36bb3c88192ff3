"""A section of the report: its measurement, and its form in the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.performance.samples import Run
from bench.performance.setting import Setting


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
        plot: name of its plot; empty: it has none.
    """

    name: str
    title: str
    text: str
    columns: Mapping[str, str]
    measure: Callable[[Setting, Run], None]
    base: str = ""
    plot: str = ""


CALLS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "calls_a_second": "calls a second",
    "cpu_us": "server CPU, µs a call",
}
"""Columns of calls."""
