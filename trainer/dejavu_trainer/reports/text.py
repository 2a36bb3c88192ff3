"""Text output of `evaluate` and `backtest`: terminal and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from dejavu_common.rich_console import Console
from dejavu_trainer.evaluation.result import BacktestResult, RunProvenance
from dejavu_trainer.reports.cells import Table
from dejavu_trainer.reports.tables import check_lists, checks_table, tables

MIN_WIDTH = 120
"""Minimum width of the tables; a terminal that wraps lines is more readable than numbers broken inside cells."""


def print_tables(console: Console, title: str, shown: Iterable[Table], warning: str = "") -> None:
    """Print tables, after a warning if there is one; widens the console to their width."""
    console.width = max(console.width, MIN_WIDTH)
    console.print(Text(title, style="bold"), soft_wrap=True)
    if warning:
        console.print(Text(f"!! {warning}", style="bold red"), soft_wrap=True)
    for table in shown:
        console.print(rich_table(table))
        if table.note:
            console.print(Text(table.note, style="dim"), soft_wrap=True)
        console.print()


def print_result(console: Console, title: str, result: BacktestResult, warning: str = "") -> None:
    """Print a result as `print_tables` does, then its checks and the verdict."""
    print_tables(console, title, tables(result), warning)
    for name, summary, checks in check_lists(result):
        console.print(Text(name, style="bold"))
        for check in checks:
            mark = Text("✓ ", style="green") if check.passed else Text("✗ ", style="bold red")
            console.print(mark + Text(f"{check.name}: {check.found} (required: {check.promise})"), soft_wrap=True)
        if summary:
            console.print(Text(summary), soft_wrap=True)
        console.print()
    fit = Text("FIT to be served. ", style="bold green") if result.verdict.fit else Text("UNFIT. ", style="bold red")
    console.print(fit + Text(result.verdict.reason), soft_wrap=True)


def markdown(title: str, result: BacktestResult) -> str:
    """Format a result as a Markdown document."""
    lines = [
        f"# {title}",
        "",
        method_line(result.method, result.games),
        "[Definitions of the metrics](evaluation.md).",
        "",
    ]
    for checks in check_lists(result):
        lines += markdown_table(checks_table(checks))
    lines += [("**Fit to be served.** " if result.verdict.fit else "**Unfit.** ") + result.verdict.reason, ""]
    for table in tables(result):
        lines += markdown_table(table)
    return "\n".join(lines).rstrip() + "\n"


def method_line(method: RunProvenance, games: int) -> str:
    """Describe the tested configuration in one line.

    Args:
        method: provenance of the run.
        games: number of test games.
    """
    entries = "every game" if method.prototypes is None else f"{method.prototypes:,} prototypes"
    return (
        f"Recipe {method.recipe}, {entries} per minute in the Dejavu databases, seed {method.seed};"
        f" {games:,} test games; data {method.data[:16]}."
    )


def markdown_table(table: Table) -> Iterator[str]:
    """Format a table as lines of Markdown."""
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
    """Format a table for a terminal."""
    shown = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column, name in enumerate(table.header):
        shown.add_column(name, justify="left" if column == 0 else "right", no_wrap=column == 0, overflow="fold")
    for row in table.rows:
        shown.add_row(*(cell.replace(" [", "\n[") for cell in row))  # put an interval below its estimate
    return shown
