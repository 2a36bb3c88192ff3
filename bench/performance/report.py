"""The report of a run in Markdown: the targets that it is compared with, then a table for each section."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import fill

from bench.performance.calls import (
    ACCESS,
    AS_COLUMNS,
    BATCHES,
    BESIDE,
    DATABASES,
    LEDGER_ROWS,
    NAMED,
    SINGLE,
    WHAT_IF,
    WORKERS,
    batch_case,
)
from bench.performance.measuring import DEJAVU, ECHO, MLSERVER, Section
from bench.performance.samples import Run
from bench.performance.start import AS_BY_DEFAULT, MEMORY, MEMORY_CASE, START, START_CASE, of_workers
from bench.performance.streams import PAGE, STREAMS

ORDER = (SINGLE, BATCHES, BESIDE, WORKERS, STREAMS, PAGE, START, MEMORY, LEDGER_ROWS, DATABASES, ACCESS)
SECTIONS = {each.name: each for each in ORDER}
"""Name → section, in the order of the report."""

WIDTH = 120

_HEAD = """\
# Performance

`make bench` measures and writes this page; `python -m bench.performance --from docs/performance.json` writes it again.
"""

_HOW = (
    "All contenders of a case take turns in every round, every other round in reverse order. Servers are pinned to one"
    " CPU and callers to another. Values are medians over rounds; × is the median of the ratio to the base of the same"
    " round. Minimum and maximum are in brackets for targets; [performance.json](performance.json) has all rounds."
    " Compare ratios between machines, not milliseconds."
)


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
    Target(
        "memory (PSS) of a worker, two workers as by default",
        110,
        _value(MEMORY, MEMORY_CASE, of_workers(2), "worker_mb"),
        unit="MB",
    ),
    Target("memory (PSS) of four workers", 320, _value(MEMORY, MEMORY_CASE, of_workers(4), "workers_mb"), unit="MB"),
)
"""All targets, in the order of the report."""


def render(run: Run) -> str:
    """Return the report."""
    facts = [
        f"- machine: {run.machine}",
        f"- versions: {run.versions}",
        f"- date: {run.date}; commit: {run.commit}",
        f"- `{run.command}`: {run.rounds} rounds after one that warms up, {run.seconds:.0f} s",
    ]
    parts = [_HEAD, _wrapped(_HOW) + "\n", "\n".join(facts) + "\n"]
    if run.skipped:
        parts.append("\n".join(f"- **{what} is left out**: {why}" for what, why in run.skipped.items()) + "\n")
    if run.quick:
        parts.append("**Only a few calls, to show that everything works: the figures mean nothing.**\n")
    elif any(target.values(run) for target in TARGETS):
        parts += ["## Targets\n", _targets(run)]
    for name in run.sections:
        parts.append(_section(run, SECTIONS[name]))
    return "\n".join(parts)


def _targets(run: Run) -> str:
    rows = [[each.text, _bound(each), _spread(each.values(run), each.unit), _met(each, run)] for each in TARGETS]
    return _table(["what", "target", "measured", "met"], rows)


def _bound(target: Target) -> str:
    number = f"{target.bound:,.0f}" if target.bound >= 1000 else f"{target.bound:g}"
    return f"{'≥' if target.at_least else '≤'} {number} {target.unit or '×'}"


def _met(target: Target, run: Run) -> str:
    met = target.is_met(run)
    return "–" if met is None else "yes" if met else "**no**"


def _section(run: Run, section: Section) -> str:
    parts = [f"## {section.title}\n", _wrapped(section.text) + "\n"]
    rows, previous = [], ""
    for case, contender in run.rows(section.name):
        cells = [_cell(run, section, case, contender, figure) for figure in section.columns]
        rows.append([case if case != previous else "", contender, *cells])
        previous = case
    over = f"contender, × {section.base}" if section.base else "contender"
    parts.append(_table(["case", over, *section.columns.values()], rows))
    return "\n".join(parts)


def _cell(run: Run, section: Section, case: str, contender: str, figure: str) -> str:
    values = list(run.values(section.name, case, contender, figure).values())
    if not values:
        return "–"
    text = number(statistics.median(values))
    ratios = run.ratios(section.name, case, contender, figure, section.base)
    if contender == section.base or not section.base or not ratios:
        return text
    return f"{text} (×{number(statistics.median(ratios))})"


def _spread(values: Sequence[float], unit: str = "") -> str:
    """Format median, minimum and maximum."""
    if not values:
        return "not measured"
    text = f"{number(statistics.median(values))} [{number(min(values))}, {number(max(values))}]"
    return f"{text} {unit}" if unit else f"× {text}"


def number(value: float) -> str:
    """Return a number with three significant digits, and all digits before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * 2 + ["---:"] * (len(head) - 2)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> str:
    return fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
