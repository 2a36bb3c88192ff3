"""A table that has as many columns as the terminal is wide: none is cut off, and the least important go first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class FittingColumn:
    """A column.

    Attributes:
        name: what its cells go by, and what stands above it.
        keep: how long a terminal that is too narrow for all keeps it; the lowest go first.
    """

    name: str
    justify: JustifyMethod
    keep: int


@dataclass(frozen=True, slots=True)
class FittingTable:
    """The table.

    Attributes:
        rows: their cells by the columns' names; one that is missing stays empty.
    """

    columns: Sequence[FittingColumn]
    rows: Sequence[Mapping[str, Text]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = [column for column in self.columns if any(row.get(column.name) for row in self.rows)]
        roomy = options.update(max_width=1_000)
        table = self._of(columns)
        while Measurement.get(console, roomy, table).maximum > options.max_width:
            lowest = min(column.keep for column in columns)
            if lowest == max(column.keep for column in columns):
                break
            columns = [column for column in columns if column.keep != lowest]
            table = self._of(columns)
        yield table

    def _of(self, columns: Sequence[FittingColumn]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.name, justify=column.justify, no_wrap=True)
        for row in self.rows:
            table.add_row(*(row.get(column.name, Text()) for column in columns))
        return table
