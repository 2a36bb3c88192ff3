"""The evening as a table that is drawn anew while it goes by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.formatting import chance, horizon_label, outcome_verb, percent, signed
from dejavu_client.output.poll_events import LEGEND, score, summary_lines, teams
from dejavu_client.output.responsive_table import ResponsiveColumn, ResponsiveTable
from dejavu_client.poller.events import HorizonResult
from dejavu_client.poller.horizons import HorizonState
from dejavu_client.poller.summary import Summary
from dejavu_client.poller.watched_game import WatchedGame
from dejavu_client.requests import FINAL
from dejavu_feed.nba.live import GameStatus

_STALE: Final = 60.0
"""Seconds after which the age of a game's data is shown as a warning."""
_CHANCES: Final = "leads, wins: P(home team does), in the end whether · 40/42: intervals held"


def live_table(
    games: Iterable[WatchedGame],
    summary: Summary,
    *,
    scoreboard_time: datetime | None,
    scoreboard_trouble: str,
    limits: str = "",
    now: datetime,
) -> RenderableType:
    """Every game with its forecasts and outcomes, what is going wrong, and the figures so far.

    Args:
        games: in the order in which they are shown.
        summary: the figures.
        scoreboard_time: when the scoreboard was last read; None before.
        scoreboard_trouble: why it can't be read; "" if it can.
        limits: what the server's model can't forecast; "" if it can do all.
        now: aware.
    """
    watched = list(games)
    lines = [Text(f"{teams(game.state)}: {game.failure}", style="yellow") for game in watched if game.failure]
    if scoreboard_trouble:
        known = "" if scoreboard_time is None else f" ({_seconds((now - scoreboard_time).total_seconds())} old)"
        lines.append(Text(f"scoreboard{known}: {scoreboard_trouble}", style="yellow"))
    if limits:
        lines.append(Text(limits, style="yellow"))
    if not watched:
        waiting = "Waiting for the scoreboard …" if scoreboard_time is None else "No games today."
        return Group(Text(waiting, style="dim"), *lines)
    lines += [Text(line, style="dim") for line in _notes(watched)]
    lines += [Text(line) for line in summary_lines(summary)]
    lines += [Text(line, style="dim") for line in (LEGEND, _CHANCES)]
    return Padding(Group(_table(watched, now), Text(), *lines), (0, 1))


def _table(games: Sequence[WatchedGame], now: datetime) -> ResponsiveTable:
    """The games; the game itself, and the age of what is known of it, stay to the last."""
    rows = [(_cells(game, now), "dim" if game.state.status is GameStatus.SCHEDULED else "") for game in games]
    return ResponsiveTable(list(_columns(games)), rows)


def _columns(games: Sequence[WatchedGame]) -> Iterator[ResponsiveColumn]:
    yield ResponsiveColumn("game", "game", "left", 9)
    yield ResponsiveColumn("clock", "clock", "left", 5)
    yield ResponsiveColumn("score", "score", "right", 2)
    yield ResponsiveColumn("min", "min", "right", 1)
    horizons = dict.fromkeys(horizon for game in games for horizon in game.horizons)
    for horizon in horizons:
        keep = 8 if horizon == FINAL else 6
        name = horizon_label(horizon)
        yield ResponsiveColumn(name, name, "right", keep)
        yield ResponsiveColumn(f"{name} interval", _nominal(games, horizon), "center", 4 if horizon == FINAL else 3)
        yield ResponsiveColumn(f"{name} chance", outcome_verb(horizon), "right", keep)
    yield ResponsiveColumn("age", "age", "right", 9)


def _nominal(games: Sequence[WatchedGame], horizon: Horizon.ValueType) -> str:
    """The intervals' nominal coverage, if they share one."""
    of_horizon = (game.horizons[horizon].newest for game in games if horizon in game.horizons)
    rates = {percent(made.forecast.coverage_probability) for made in of_horizon if made is not None}
    return rates.pop() if len(rates) == 1 else "interval"


def _cells(game: WatchedGame, now: datetime) -> dict[str, Text]:
    """What stands in each column."""
    age = game.age(now)
    cells = {
        "game": Text(teams(game.state)),
        "clock": Text(game.state.text),
        "score": Text(score(game.state)),
        "age": Text(
            "" if age is None else _seconds(age), style="yellow" if age is not None and age > _STALE else "dim"
        ),
    }
    minutes = [len(each.newest.pattern) for each in game.horizons.values() if each.newest and not each.result_known]
    if minutes:
        cells["min"] = Text(f"{max(minutes)}", style="dim")
    for watched in game.horizons.values():
        cells |= _of_horizon(watched)
    return cells


def _of_horizon(watched: HorizonState) -> dict[str, Text]:
    """A horizon's cells: its forecast, and once it has come, what it brought."""
    name = horizon_label(watched.horizon)
    if watched.outcome is not None:
        return _came(name, watched.outcome)
    if watched.newest is None:
        return {name: Text("–", style="dim")} if watched.note else {}
    forecast = watched.newest.forecast
    lower, upper = signed(forecast.interval_lower, 0), signed(forecast.interval_upper, 0)
    return {
        name: Text(signed(forecast.point_forecast), style="bold"),
        f"{name} interval": Text(f"{lower}…{upper}"),
        f"{name} chance": Text(chance(forecast.home_lead_probability)),
    }


def _came(name: str, outcome: HorizonResult) -> dict[str, Text]:
    held, made = outcome.covered, len(outcome.forecasts)
    differential = outcome.differential
    chances = "yes" if differential > 0 else "no"
    return {
        name: Text(signed(differential, 0), style="bold"),
        f"{name} interval": Text(f"{held}/{made}", style="green" if held == made else "yellow"),
        f"{name} chance": Text(chances),
    }


def _notes(games: Iterable[WatchedGame]) -> list[str]:
    """What of which games is not forecast, and why: a line for each reason."""
    about: dict[tuple[str, str], list[str]] = {}
    for game in games:
        for watched in game.horizons.values():
            if watched.note and watched.newest is None:
                about.setdefault((horizon_label(watched.horizon), watched.note), []).append(teams(game.state))
    return [f"{name} not forecast ({reason}): {', '.join(of)}" for (name, reason), of in about.items()]


def _seconds(age: float) -> str:
    return f"{age:.0f} s" if age < 100 else f"{age / 60:.0f} min"
