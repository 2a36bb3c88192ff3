"""What `evaluate` and `backtest` say to people: on a terminal, and as Markdown for documentation."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from dejavu_trainer.evaluation.result import BacktestResult
from dejavu_trainer.reports.tables import Table, checks_table, tables

LEAST_WIDTH = 120
"""Columns that the tables need: lines that a narrow terminal breaks can be read, numbers that are broken can't."""


def print_result(console: Console, title: str, result: BacktestResult, warning: str = "") -> None:
    """A result for people: what was promised and what came of it, then the figures.

    Args:
        console: to print on; it is made as wide as the tables need.
        title: what was tested.
        result: what came out.
        warning: what must be known before any figure is read; may be empty.
    """
    console.width = max(console.width, LEAST_WIDTH)
    console.print(Text(title, style="bold"), soft_wrap=True)
    if warning:
        console.print(Text(f"!! {warning}", style="bold red"), soft_wrap=True)
    for table in tables(result):
        console.print(rich_table(table))
        if table.note:
            console.print(Text(table.note, style="dim"), soft_wrap=True)
        console.print()
    for name, checks in (("Promises", result.promises), ("Verdict", result.verdict.checks)):
        console.print(Text(name, style="bold"))
        for check in checks:
            mark = Text("✓ ", style="green") if check.passed else Text("✗ ", style="bold red")
            console.print(mark + Text(f"{check.name}: {check.found} (must be: {check.promise})"), soft_wrap=True)
        console.print()
    fit = Text("FIT to be served. ", style="bold green") if result.verdict.fit else Text("UNFIT. ", style="bold red")
    console.print(fit + Text(result.verdict.reason), soft_wrap=True)


def markdown(title: str, result: BacktestResult) -> str:
    """A result as a Markdown document."""
    lines = [f"# {title}", "", method_line(result), "[What the figures are](evaluation.md).", ""]
    lines += markdown_table(checks_table("What is promised, and what was found", result.promises))
    lines += markdown_table(checks_table("The verdict", result.verdict.checks))
    lines += [("**Fit to be served.** " if result.verdict.fit else "**Unfit.** ") + result.verdict.reason, ""]
    for table in tables(result):
        lines += markdown_table(table)
    return "\n".join(lines).rstrip() + "\n"


def method_line(result: BacktestResult) -> str:
    """What was tested, in a line."""
    method = result.method
    entries = "every game" if method.prototypes is None else f"{method.prototypes:,} prototypes"
    return (
        f"Recipe {method.recipe}, {entries} a minute in the Dejavu databases, seed {method.seed};"
        f" {result.games:,} games tested; data {method.data[:16]}."
    )


def markdown_table(table: Table) -> Iterator[str]:
    """A table, as lines of Markdown."""
    yield f"## {table.title}"
    yield ""
    yield _row(table.header)
    yield "|" + "---|" * len(table.header)
    yield from map(_row, table.rows)
    yield ""
    if table.note:
        yield table.note
        yield ""


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def rich_table(table: Table) -> RichTable:
    """A table, for a terminal."""
    shown = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column, name in enumerate(table.header):
        shown.add_column(name, justify="left" if column == 0 else "right", no_wrap=column == 0, overflow="fold")
    for row in table.rows:
        shown.add_row(*(cell.replace(" [", "\n[") for cell in row))  # an interval below its figure
    return shown
