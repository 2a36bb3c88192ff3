"""The evening as a table that is drawn anew while it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from dejavu_client.numerals import chance, percent, signed
from dejavu_client.poll_state import Summary, WatchedGame
from dejavu_client.poll_text import LEGEND, interval, score, summary_line, teams
from dejavu_feed.live import GameStatus

_STALE: Final = 60.0
"""Seconds after which the age of a game's data is shown as a warning."""


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
    return Group(_table(watched, now), Padding(Group(*lines), (0, 1)))


def _table(games: Sequence[WatchedGame], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("game", no_wrap=True)
    table.add_column("clock", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("half", justify="right", no_wrap=True)
    table.add_column(f"{_nominal(games)}interval", justify="center", no_wrap=True)
    table.add_column("P(lead)", justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    for game in games:
        table.add_row(*_row(game, now), style="dim" if game.state.status is GameStatus.SCHEDULED else "")
    return table


def _row(game: WatchedGame, now: datetime) -> list[Text]:
    forecast = game.forecast
    age = game.age(now)
    return [
        Text(teams(game.state)),
        Text(game.state.text),
        Text(score(game.state)),
        Text("" if forecast is None else signed(forecast.point_forecast), style="bold"),
        Text(game.note, style="dim") if forecast is None else Text(interval(forecast)),
        Text("" if forecast is None else chance(forecast.home_lead_probability)),
        _outcome(game),
        Text("" if age is None else _seconds(age), style="yellow" if age is not None and age > _STALE else "dim"),
    ]


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
