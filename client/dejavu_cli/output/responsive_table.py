"""Layouts of tables.

A `ResponsiveTable` fits the terminal by dropping its least important columns instead of truncating cells; a
`FittedScreen`, with notices, tally and legend, by dropping its least important lines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message
from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderResult  # noqa: TID251 - as a type
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from dejavu_common.shown_text import visible

RowT = TypeVar("RowT")

Cells = Mapping[str, Text]
"""A row's cells by column name; missing cells are empty."""


class ResponsiveColumn(NamedTuple):
    """A column.

    Attributes:
        name: key of its cells.
        justify: alignment of its cells.
        keep: priority in a narrow terminal; the columns with the lowest value are dropped first.
        header: text of its header; None for its name.
        replaces: name of the column whose place this one takes if there is room.
        width: minimum width, so that the columns shown do not depend on the cells.
    """

    name: str
    justify: JustifyMethod
    keep: int
    header: str | None = None
    replaces: str = ""
    width: int = 0


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
        yield self._of(self.fitting(console, options))

    def fitting(self, console: Console, options: ConsoleOptions) -> list[ResponsiveColumn]:
        """Return the columns that fit; both a column and its replacement can be among them."""
        columns = list(self.columns)
        unlimited = options.update(max_width=1_000)
        table = self._of(columns)
        while Measurement.get(console, unlimited, table).maximum > options.max_width:
            lowest = min(column.keep for column in columns)
            if lowest == max(column.keep for column in columns):
                break
            columns = [column for column in columns if column.keep != lowest]
            table = self._of(columns)
        return columns

    def _of(self, columns: Sequence[ResponsiveColumn]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, header_style="bold")
        replaced = {column.replaces for column in columns if column.replaces}
        shown = [column for column in columns if column.name not in replaced]
        for column in shown:
            header = column.name if column.header is None else column.header
            table.add_column(header, justify=column.justify, no_wrap=True, min_width=column.width or None)
        for cells, style in self.rows:
            table.add_row(*(_visible(cells.get(column.name, Text())) for column in shown), style=style)
        return table


def _visible(cell: Text) -> Text:
    """Return a cell as the console prints it, in one line: tables measure cells before the console escapes them."""
    text = visible(cell.plain, line=True)
    return cell if text == cell.plain else Text(text, style=cell.style)


@dataclass(frozen=True, slots=True)
class ListingColumn(Generic[RowT]):
    """A column of a listing, and how to make its cells.

    Attributes:
        header: text of its header.
        justify: alignment of its cells.
        keep: priority in a narrow terminal, as of a `ResponsiveColumn`.
        cell: returns the cell of a row; empty if there is nothing to show.
        style: style of its cells that are plain text.
        of: field of the row, a message; if the row lacks it, the cell is empty.
        width: minimum width, with which the column is shown even if all cells are empty.
    """

    header: str
    justify: JustifyMethod
    keep: int
    cell: Callable[[RowT], str | Text]
    style: str = ""
    of: str = ""
    width: int = 0

    def text(self, row: RowT) -> Text:
        """Return the cell of a row."""
        if self.of and isinstance(row, Message) and not row.HasField(self.of):
            return Text()
        shown = self.cell(row)
        return Text(shown, style=self.style) if isinstance(shown, str) else shown


def listing(columns: Sequence[ListingColumn[RowT]], rows: Iterable[RowT]) -> ResponsiveTable:
    """Return a table of rows, without columns that are empty in every row."""
    cells = [{each.header: each.text(row) for each in columns} for row in rows]
    used = [each for each in columns if each.width or any(of_row[each.header] for of_row in cells)]
    shown = [ResponsiveColumn(each.header, each.justify, each.keep, width=each.width) for each in used]
    return ResponsiveTable(shown, [(of_row, "") for of_row in cells])


def titled_table(title: str, *headers: str, no_wrap: bool = False) -> Table:
    """Return an empty table with a title; its first column is for text, the others are for numbers."""
    table = Table(title=title, title_justify="left")
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", no_wrap=no_wrap)
    return table


def name_value_rows(*, no_wrap: bool = False) -> Table:
    """Return an empty grid of names and values."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim", no_wrap=no_wrap)
    rows.add_column()
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

    table: ResponsiveTable
    notices: Sequence[Text]
    tally: Sequence[Text]
    legend: Sequence[tuple[str, Collection[str]]]
    instead: Mapping[str, Text] = field(default_factory=dict)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = {column.name for column in self.table.fitting(console, options)}
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
        yield ResponsiveTable(self.table.columns, rows)
        lines: list[Text] = []
        if len(rows) < len(self.table.rows):
            lines.append(Text(f"… and {len(self.table.rows) - len(rows)} more games", style="dim"))
        lines += notices
        if len(lines) > left:
            hidden = len(lines) - left + 1
            lines = [*lines[: max(0, left - 1)], Text(f"… and {hidden} more notices", style="yellow")][:left]
        for line in (*lines, *self.tally, *([legend] if len(lines) < left else [])):
            yield Text(line.plain, style=line.style, no_wrap=True, overflow="ellipsis")
