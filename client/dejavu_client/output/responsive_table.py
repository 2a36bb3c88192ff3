"""Layouts of tables. One fits the terminal by dropping its least important columns instead of truncating cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Cells = Mapping[str, Text]
"""A row's cells by column name; missing cells are empty."""


class ResponsiveColumn(NamedTuple):
    """A column.

    Attributes:
        name: key of its cells.
        justify: alignment of its cells.
        keep: priority in a narrow terminal; the columns with the lowest value are dropped first.
        header: text of its header; None for its name.
    """

    name: str
    justify: JustifyMethod
    keep: int
    header: str | None = None


Columns = Sequence[tuple[str, JustifyMethod, int]]
"""Columns of a listing, with their names as headers."""


@dataclass(frozen=True, slots=True)
class ResponsiveTable:
    """A rich renderable that drops columns until the table fits.

    Attributes:
        columns: the columns from left to right.
        rows: the cells and the style of each row.
    """

    columns: Sequence[ResponsiveColumn]
    rows: Sequence[tuple[Cells, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(self.columns)
        unlimited = options.update(max_width=1_000)
        table = self._of(columns)
        while Measurement.get(console, unlimited, table).maximum > options.max_width:
            lowest = min(column.keep for column in columns)
            if lowest == max(column.keep for column in columns):
                break
            columns = [column for column in columns if column.keep != lowest]
            table = self._of(columns)
        yield table

    def _of(self, columns: Sequence[ResponsiveColumn]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, header_style="bold")
        for column in columns:
            table.add_column(
                column.name if column.header is None else column.header, justify=column.justify, no_wrap=True
            )
        for cells, style in self.rows:
            table.add_row(*(cells.get(column.name, Text()) for column in columns), style=style)
        return table


def listing(columns: Columns, rows: Iterable[Cells]) -> ResponsiveTable:
    """Returns a table whose columns are keyed by their headers, without columns that are empty in every row."""
    filled = [(cells, "") for cells in rows]
    used = [each for each in columns if any(cells.get(each[0]) for cells, _ in filled)]
    return ResponsiveTable([ResponsiveColumn(*each) for each in used], filled)


def titled_table(title: str, *headers: str, no_wrap: bool = False) -> Table:
    """Returns an empty table with a title; the first column is of text, the others of numbers."""
    table = Table(title=title, title_justify="left")
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=no_wrap)
    return table


def name_value_rows(*, no_wrap: bool = False) -> Table:
    """Returns an empty grid of names and values."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=no_wrap)
    rows.add_column()
    return rows
