"""The evening as a table that is drawn anew while it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dejavu_client.numerals import chance, percent, signed
from dejavu_client.poll_state import Summary, WatchedGame
from dejavu_client.poll_text import LEGEND, interval, score, summary_line, teams
from dejavu_feed.live import GameStatus

_STALE: Final = 60.0
"""Seconds after which the age of a game's data is shown as a warning."""
_COLUMNS: Final[dict[str, JustifyMethod]] = {
    "game": "left",
    "clock": "left",
    "score": "right",
    "half": "right",
    "interval": "center",
    "P(lead)": "right",
    "outcome": "left",
    "age": "right",
}
_REASON: Final = 16
"""Columns for an interval, or for a line of the reason why there is none."""
_FIRST_TO_GO: Final = ("P(lead)", "score", "outcome", "clock", "interval")
"""Which columns a narrow terminal does without, in this order."""


def evening(
    games: Iterable[WatchedGame],
    summary: Summary,
    *,
    scoreboard_time: datetime | None,
    scoreboard_trouble: str,
    now: datetime,
) -> RenderableType:
    """Every game with its forecast and its outcome, what is going wrong, and the figures so far."""
    watched = list(games)
    lines = [Text(f"{teams(game.state)}: {game.trouble}", style="yellow") for game in watched if game.trouble]
    if scoreboard_trouble:
        known = "" if scoreboard_time is None else f" ({_seconds((now - scoreboard_time).total_seconds())} old)"
        lines.append(Text(f"scoreboard{known}: {scoreboard_trouble}", style="yellow"))
    if not watched:
        waiting = "Waiting for the scoreboard …" if scoreboard_time is None else "No games today."
        return Group(Text(waiting, style="dim"), *lines)
    lines.append(Text(summary_line(summary)))
    lines.append(Text(f"{LEGEND} · P(lead): home ahead at the half · age: of a live game's data", style="dim"))
    return Group(_Table(watched, now), Padding(Group(*lines), (0, 1)))


@dataclass(frozen=True, slots=True)
class _Table:
    """The games, with as many columns as the terminal is wide: none is cut off, and the age stays to the last."""

    games: Sequence[WatchedGame]
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        roomy = options.update(max_width=1_000)
        tables = (self._without(_FIRST_TO_GO[:number]) for number in range(len(_FIRST_TO_GO)))
        fitting = (table for table in tables if Measurement.get(console, roomy, table).maximum <= options.max_width)
        yield next(fitting, self._without(_FIRST_TO_GO))

    def _without(self, left_out: Sequence[str]) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
        for name, justify in _COLUMNS.items():
            if name not in left_out:
                header = f"{_nominal(self.games)}{name}" if name == "interval" else name
                # Of fixed width: the reason why there is no forecast may be broken, nothing else may.
                width = max(_REASON, len(header)) if name == "interval" else None
                table.add_column(header, justify=justify, no_wrap=width is None, width=width)
        for game in self.games:
            cells = _cells(game, self.now)
            row = [cells[name] for name in _COLUMNS if name not in left_out]
            table.add_row(*row, style="dim" if game.state.status is GameStatus.SCHEDULED else "")
        return table


def _cells(game: WatchedGame, now: datetime) -> dict[str, Text]:
    """What stands in each column."""
    forecast = game.forecast
    age = game.age(now)
    return {
        "game": Text(teams(game.state)),
        "clock": Text(game.state.text),
        "score": Text(score(game.state)),
        "half": Text("" if forecast is None else signed(forecast.point_forecast), style="bold"),
        "interval": Text(game.note, style="dim") if forecast is None else Text(interval(forecast)),
        "P(lead)": Text("" if forecast is None else chance(forecast.home_lead_probability)),
        "outcome": _outcome(game),
        "age": Text(
            "" if age is None else _seconds(age), style="yellow" if age is not None and age > _STALE else "dim"
        ),
    }


def _outcome(game: WatchedGame) -> Text:
    if game.outcome is None:
        return Text()
    verdict = ("held", "green") if game.outcome.held else ("missed", "red")
    return Text.assemble(f"{signed(game.outcome.differential, 0)} ", verdict)


def _nominal(games: Iterable[WatchedGame]) -> str:
    """The intervals' nominal coverage, if they share one."""
    rates = {percent(game.forecast.coverage_probability) for game in games if game.forecast is not None}
    return f"{rates.pop()} " if len(rates) == 1 else ""


def _seconds(age: float) -> str:
    return f"{age:.0f} s" if age < 100 else f"{age / 60:.0f} min"
