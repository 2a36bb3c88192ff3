"""Layouts of tables.

A `ResponsiveTable` fits the terminal by dropping its least important columns instead of truncating cells; a
`FittedScreen`, with notices, tally and legend, by dropping its least important lines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderResult  # noqa: TID251 - as a type
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dejavu_common.shown_text import visible

RowT = TypeVar("RowT")


@dataclass(frozen=True, slots=True)
class Column(Generic[RowT]):
    """A column of a table, and how to make its cells.

    Attributes:
        header: text of its header.
        justify: alignment of its cells.
        keep: priority in a narrow terminal; the columns with the lowest value are dropped first.
        cell: returns the cell of a row; empty if there is nothing to show.
        style: style of its cells that are plain text.
        of: field of the row, a message; if the row lacks it, the cell is empty.
        width: minimum width, with which the column is shown even if all cells are empty, so that the columns shown do
            not depend on the cells.
        name: name by which a legend knows it.
    """

    header: str
    justify: JustifyMethod
    keep: int
    cell: Callable[[RowT], str | Text]
    style: str = ""
    of: str = ""
    width: int = 0
    name: str = ""

    def text(self, row: RowT) -> Text:
        """Return the cell of a row as the console prints it, in one line: a table measures it before it is escaped."""
        if self.of and isinstance(row, Message) and not row.HasField(self.of):
            return Text()
        cell = self.cell(row)
        shown = Text(cell, style=self.style) if isinstance(cell, str) else cell
        text = visible(shown.plain, line=True)
        return shown if text == shown.plain else Text(text, style=shown.style)


def named_column(
    name: str, justify: JustifyMethod, keep: int, header: str | None = None, width: int = 0
) -> Column[Mapping[str, str | Text]]:
    """Return a column of rows that are cells by name; missing cells are empty."""
    shown = name if header is None else header
    return Column(shown, justify, keep, lambda cells: cells.get(name, ""), width=width, name=name)


@dataclass(frozen=True, slots=True)
class ResponsiveTable(Generic[RowT]):
    """A rich renderable without columns that are empty in every row, which drops others until the table fits.

    Attributes:
        columns: the columns from left to right.
        rows: the rows.
        style: returns the style of a row.
    """

    columns: Sequence[Column[RowT]]
    rows: Sequence[RowT]
    style: Callable[[RowT], str] = lambda _: ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._of(self.fitting(console, options))

    def fitting(self, console: Console, options: ConsoleOptions) -> list[Column[RowT]]:
        """Return the columns that fit."""
        columns = [each for each in self.columns if each.width or any(map(each.text, self.rows))]
        unlimited = options.update(max_width=1_000)
        while Measurement.get(console, unlimited, self._of(columns)).maximum > options.max_width:
            lowest = min(column.keep for column in columns)
            if lowest == max(column.keep for column in columns):
                break
            columns = [column for column in columns if column.keep != lowest]
        return columns

    def _of(self, columns: Sequence[Column[RowT]]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.header, justify=column.justify, no_wrap=True, min_width=column.width or None)
        for row in self.rows:
            table.add_row(*(column.text(row) for column in columns), style=self.style(row))
        return table


def titled_table(title: str, *headers: str, no_wrap: bool = False) -> Table:
    """Return an empty table with a title; its first column is for text, the others are for numbers."""
    table = Table(title=title, title_justify="left")
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=no_wrap)
    return table


def name_value_rows(*, no_wrap: bool = False) -> Table:
    """Return an empty grid of names and values."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=no_wrap, overflow="fold")
    rows.add_column(overflow="fold")
    return rows


def figure_rows() -> Table:
    """Return an empty grid of names, figures and notes."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(style="dim")
    return rows


_HEADER = 2
"""Lines above the first row: the header and its rule."""


@dataclass(frozen=True, slots=True)
class FittedScreen:
    """A rich renderable that drops its least important lines until everything fits.

    First notices and legend are cut to one line each, then the legend, the last notices and the last rows are left
    out. The tally is always shown. Only a terminal has a height.

    Attributes:
        table: the table.
        notices: problems and omissions, most important first.
        tally: the figures so far.
        legend: how to read the table, each text with the names of the columns that it explains, of which one must be
            shown; without names it explains the tally.
        instead: notices by column name; each replaces its column where the terminal is too narrow for the column.
    """

    table: ResponsiveTable[Any]
    notices: Sequence[Text]
    tally: Sequence[Text]
    legend: Sequence[tuple[str, Collection[str]]]
    instead: Mapping[str, Text] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = {column.name or column.header for column in self.table.fitting(console, options)}
        notices = [*self.notices, *(text for name, text in self.instead.items() if name not in shown)]
        explained = [text for text, columns in self.legend if not columns or shown.intersection(columns)]
        legend = Text(" · ".join(explained), style="dim")
        whole = Group(self.table, Text(), *notices, *self.tally, legend)
        height = options.size.height - 1  # of the terminal; the last line is for the cursor
        if not console.is_terminal or len(console.render_lines(whole, options, pad=False)) <= height:
            yield whole
            return
        left = max(0, height - _HEADER - len(self.tally))
        rows = self.table.rows
        if len(rows) > left:
            rows = rows[: max(0, left - 1)]
        left -= len(rows)
        yield replace(self.table, rows=rows)
        lines: list[Text] = []
        if len(rows) < len(self.table.rows):
            lines.append(Text(f"… and {len(self.table.rows) - len(rows)} more games", style="dim"))
        lines += notices
        if len(lines) > left:
            hidden = len(lines) - left + 1
            lines = [*lines[: max(0, left - 1)], Text(f"… and {hidden} more notices", style="yellow")][:left]
        for line in (*lines, *self.tally, *([legend] if len(lines) < left else [])):
            yield Text(line.plain, style=line.style, no_wrap=True, overflow="ellipsis")
