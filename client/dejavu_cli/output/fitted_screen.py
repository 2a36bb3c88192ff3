"""Fits a table with its notices, tally and legend into a terminal, so that no line is cut off at the bottom."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, Group, RenderResult  # noqa: TID251 - as a type
from rich.text import Text

from dejavu_cli.output.responsive_table import ResponsiveTable

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
