"""Renders the evening's games as a table, redrawn while the poller runs."""

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
from dejavu_feed.nba.live_payloads import GameStatus

_STALE: Final = 60.0
"""Seconds after which the age of a game's data is shown as a warning."""
_CHANCES: Final = "leads, wins: P(home team leads/wins), then yes or no · 40/42: intervals held"


def live_table(
    games: Iterable[WatchedGame],
    summary: Summary,
    *,
    scoreboard_time: datetime | None,
    scoreboard_trouble: str,
    limits: str = "",
    now: datetime,
) -> RenderableType:
    """Renders every game with its forecasts and outcomes, current failures, and the metrics so far.

    Args:
        games: the games in display order.
        summary: metrics of the evening.
        scoreboard_time: when the scoreboard was last read; None if never.
        scoreboard_trouble: why the last read failed; "" if it succeeded.
        limits: what the server's model cannot forecast; "" if nothing.
        now: current time, aware.
    """
    watched = list(games)
    lines = [Text(f"{teams(game.state)}: {game.failure}", style="yellow") for game in watched if game.failure]
    if scoreboard_trouble:
        age = "" if scoreboard_time is None else f" ({_seconds((now - scoreboard_time).total_seconds())} old)"
        lines.append(Text(f"scoreboard{age}: {scoreboard_trouble}", style="yellow"))
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
    """Returns the table of games. The columns `game` and `age` are dropped last in a narrow terminal."""
    rows = [(_cells(game, now), "dim" if game.state.status is GameStatus.SCHEDULED else "") for game in games]
    return ResponsiveTable(list(_columns(games)), rows)


def _columns(games: Sequence[WatchedGame]) -> Iterator[ResponsiveColumn]:
    yield ResponsiveColumn("game", "left", 9)
    yield ResponsiveColumn("clock", "left", 5)
    yield ResponsiveColumn("score", "right", 2)
    yield ResponsiveColumn("min", "right", 1)
    for horizon in dict.fromkeys(horizon for game in games for horizon in game.horizons):
        keep = 8 if horizon == FINAL else 6
        name = horizon_label(horizon)
        yield ResponsiveColumn(name, "right", keep)
        yield ResponsiveColumn(f"{name} interval", "center", 4 if horizon == FINAL else 3, _nominal(games, horizon))
        yield ResponsiveColumn(f"{name} chance", "right", keep, outcome_verb(horizon))
    yield ResponsiveColumn("age", "right", 9)


def _nominal(games: Sequence[WatchedGame], horizon: Horizon.ValueType) -> str:
    """Returns the nominal coverage shared by all intervals, else "interval"."""
    newest = (game.horizons[horizon].newest for game in games if horizon in game.horizons)
    rates = {percent(each.forecast.coverage_probability) for each in newest if each is not None}
    return rates.pop() if len(rates) == 1 else "interval"


def _cells(game: WatchedGame, now: datetime) -> dict[str, Text]:
    """Returns a game's cells by column name."""
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
    """Returns a horizon's cells: the forecast, or the outcome once it is known."""
    name = horizon_label(watched.horizon)
    if watched.outcome is not None:
        return _outcome_cells(name, watched.outcome)
    if watched.newest is None:
        return {name: Text("–", style="dim")} if watched.note else {}
    forecast = watched.newest.forecast
    lower, upper = signed(forecast.interval_lower, 0), signed(forecast.interval_upper, 0)
    return {
        name: Text(signed(forecast.point_forecast), style="bold"),
        f"{name} interval": Text(f"{lower}…{upper}"),
        f"{name} chance": Text(chance(forecast.home_lead_probability)),
    }


def _outcome_cells(name: str, outcome: HorizonResult) -> dict[str, Text]:
    covered, total = outcome.covered, len(outcome.forecasts)
    differential = outcome.differential
    home_ahead = "yes" if differential > 0 else "no"
    return {
        name: Text(signed(differential, 0), style="bold"),
        f"{name} interval": Text(f"{covered}/{total}", style="green" if covered == total else "yellow"),
        f"{name} chance": Text(home_ahead),
    }


def _notes(games: Iterable[WatchedGame]) -> list[str]:
    """Lists which horizons of which games are not forecast, one line per reason."""
    unforecast: dict[tuple[str, str], list[str]] = {}
    for game in games:
        for watched in game.horizons.values():
            if watched.note and watched.newest is None:
                unforecast.setdefault((horizon_label(watched.horizon), watched.note), []).append(teams(game.state))
    return [f"{name} not forecast ({reason}): {', '.join(names)}" for (name, reason), names in unforecast.items()]


def _seconds(age: float) -> str:
    return f"{age:.0f} s" if age < 100 else f"{age / 60:.0f} min"
