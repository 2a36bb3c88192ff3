"""A table that has as many columns as the terminal is wide: none is cut off, and the least important go first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Cells = Mapping[str, Text]
"""A row by the names of its columns; what is missing stays empty."""

Columns = Sequence[tuple[str, JustifyMethod, int]]
"""Columns of a listing: what stands above each, on which side its cells stand, and how long it is kept."""


@dataclass(frozen=True, slots=True)
class ResponsiveColumn:
    """A column.

    Attributes:
        name: which it is.
        header: what stands above it.
        keep: how long a terminal that is too narrow for all keeps it; the lowest go first.
    """

    name: str
    header: str
    justify: JustifyMethod
    keep: int


@dataclass(frozen=True, slots=True)
class ResponsiveTable:
    """The table.

    Attributes:
        rows: their cells, and the style of the whole row.
    """

    columns: Sequence[ResponsiveColumn]
    rows: Sequence[tuple[Cells, str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(self.columns)
        roomy = options.update(max_width=1_000)
        table = self._of(columns)
        while Measurement.get(console, roomy, table).maximum > options.max_width:
            lowest = min(column.keep for column in columns)
            if lowest == max(column.keep for column in columns):
                break
            columns = [column for column in columns if column.keep != lowest]
            table = self._of(columns)
        yield table

    def _of(self, columns: Sequence[ResponsiveColumn]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.header, justify=column.justify, no_wrap=True)
        for cells, style in self.rows:
            table.add_row(*(cells.get(column.name, Text()) for column in columns), style=style)
        return table


def listing(columns: Columns, rows: Iterable[Cells]) -> ResponsiveTable:
    """A table whose columns go by what stands above them, without those that no row has."""
    filled = [(cells, "") for cells in rows]
    used = [each for each in columns if any(cells.get(each[0]) for cells, _ in filled)]
    return ResponsiveTable([ResponsiveColumn(name, name, justify, keep) for name, justify, keep in used], filled)
