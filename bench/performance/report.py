"""The report of a run in Markdown: targets, then a table for each section."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from textwrap import fill

from bench.performance.measuring import Section
from bench.performance.samples import Run
from bench.performance.sections.calls import ACCESS, BATCHES, BESIDE, DATABASES, LEDGER_ROWS, SINGLE, WORKERS
from bench.performance.sections.start import MEMORY, NEWCOMER, START
from bench.performance.sections.streams import PAGE, STREAMS
from bench.performance.targets import TARGETS, Target

SECTIONS = {
    each.name: each
    for each in (
        SINGLE,
        BATCHES,
        BESIDE,
        WORKERS,
        STREAMS,
        PAGE,
        START,
        NEWCOMER,
        MEMORY,
        LEDGER_ROWS,
        DATABASES,
        ACCESS,
    )
}
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


def render(run: Run, images: Mapping[str, str]) -> str:
    """Return the report.

    Args:
        run: the run.
        images: name of a plot → its path as seen from the report.
    """
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
        if not run.rows(name):  # it is left out
            continue
        parts.append(_section(run, SECTIONS[name], images))
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


def _section(run: Run, section: Section, images: Mapping[str, str]) -> str:
    parts = [f"## {section.title}\n", _wrapped(section.text) + "\n"]
    if section.plot in images:
        parts.append(f"![{section.title}]({images[section.plot]})\n")
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
