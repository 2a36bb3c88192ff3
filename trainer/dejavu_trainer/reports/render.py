"""Renders tables and reports: for the terminal, as Markdown, and as an HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from dejavu_common.rich_console import Console

MIN_WIDTH: Final = 150
"""Minimum width of the tables; a terminal that wraps lines is more readable than numbers broken inside cells."""

PASSED, FAILED = "✓", "✗"
"""Cells of checks."""

_TEMPLATES: Final = Path(__file__).parent
_STYLES: Final = {PASSED: "green", FAILED: "bold red"}


@dataclass(frozen=True, slots=True)
class TextTable:
    """Text table; the first column contains the row labels, each row is as long as the header.

    Attributes:
        title: heading.
        header: titles of the columns.
        rows: cells.
        note: remark below the table, which may be empty.
        prose: whether the cells are texts rather than numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    prose: bool = False


class Plot(NamedTuple):
    """A plot: heading of its section in the report, explanation, and svg element."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """A report in any of its formats.

    Attributes:
        title: heading.
        method: line that describes what was tested.
        tables: the figures.
        checks: tables of the checks behind the verdict; none in a comparison.
        fit: whether the tested forecasts may be served; None without a verdict.
        reason: reason of the verdict, in sentences.
        warning: limits of the figures; empty if there are none.
    """

    title: str
    method: str
    tables: tuple[TextTable, ...]
    checks: tuple[TextTable, ...] = ()
    fit: bool | None = None
    reason: str = ""
    warning: str = ""

    @property
    def verdict(self) -> str:
        """Whether the tested forecasts may be served, in a sentence; empty without a verdict."""
        return "" if self.fit is None else "Fit to be served." if self.fit else "Unfit."


def print_report(console: Console, report: EvaluationReport) -> None:
    """Print a report, its verdict last; widens the console to the width of the tables."""
    console.width = max(console.width, MIN_WIDTH)
    console.print(Text(report.title, style="bold"), soft_wrap=True)
    if report.warning:
        console.print(Text(f"!! {report.warning}", style="bold red"), soft_wrap=True)
    for table in (*report.tables, *report.checks):
        console.print(_rich_table(table))
        console.print(Text(table.note + "\n" * bool(table.note), style="dim"), soft_wrap=True)
    console.print(Text(report.verdict.upper(), style="bold green" if report.fit else "bold red"))
    console.print(Text(report.reason), soft_wrap=True)


def _rich_table(table: TextTable) -> RichTable:
    shown = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column, name in enumerate(table.header):
        left = column == 0 or table.prose
        shown.add_column(name, justify="left" if left else "right", no_wrap=column == 0, overflow="fold")
    for row in table.rows:  # an interval below its estimate
        shown.add_row(
            *(Text(cell if table.prose else cell.replace(" [", "\n["), _STYLES.get(cell, "")) for cell in row)
        )
    return shown


def print_rows(console: Console, rows: Iterable[tuple[str, str]], alarming: Collection[str] = ()) -> None:
    """Print names with their texts; the texts of the names in `alarming` stand out."""
    table = RichTable(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in rows:
        table.add_row(Text(name, style="bold"), Text(text, style="bold red" if name in alarming else ""))
    console.print(table)


def markdown(report: EvaluationReport) -> str:
    """Format a report as a Markdown document."""
    return _rendered("report.md.j2", report=report)


def page(report: EvaluationReport, plots: Iterable[Plot]) -> str:
    """Render a report with plots as an HTML page."""
    return _rendered("report.html.j2", report=report, plots=list(plots))


def _rendered(template: str, **values: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)
