"""Displays a running poller: a table of the evening's games, redrawn, in a terminal; one line per event elsewhere."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.formatting import chance, horizon_label, outcome_verb, percent, signed
from dejavu_client.output.poll_events import (
    LEGEND,
    event_line,
    event_record,
    score,
    summary_lines,
    summary_record,
    teams,
)
from dejavu_client.output.responsive_table import ResponsiveColumn, ResponsiveTable
from dejavu_client.poller.events import Event
from dejavu_client.poller.horizons import HorizonState
from dejavu_client.poller.poller import Poller
from dejavu_client.poller.summary import Summary
from dejavu_client.poller.watched_game import WatchedGame
from dejavu_client.requests import FINAL
from dejavu_common.clock import utc_now
from dejavu_feed.nba.live_payloads import GameStatus

_REDRAW_SECONDS: Final = 0.25
_STALE: Final = 60.0
"""Seconds after which the age of a game's data is shown as a warning."""
_CHANCES: Final = "leads, wins: P(home team leads/wins), then yes or no · 40/42: intervals held"


async def watch(poller: Poller, console: Console, *, until_final: bool, as_json: bool) -> Printer | None:
    """Runs a poller and displays its events until it ends.

    Returns:
        The printer of the events; None if a table displayed them.
    """
    if console.is_terminal and not as_json:
        await _draw(console, poller, until_final=until_final)
        return None
    printer = Printer(poller.stop, as_json=as_json)
    printer.legend()
    poller.add_callback(printer)
    await poller.run(until_final=until_final)
    return printer


class Printer:
    """Prints every event on its own line. Calls `stop` when the reader of standard output is gone."""

    def __init__(self, stop: Callable[[], None], *, as_json: bool) -> None:
        self._stop = stop
        self._failure: BrokenPipeError | None = None
        self._as_json = as_json

    def __call__(self, event: Event) -> None:
        """Prints an event."""
        if self._as_json:
            self._line(json.dumps(event_record(event, utc_now()), ensure_ascii=False))
        else:
            self._line(f"{utc_now().astimezone():%H:%M:%S}  {event_line(event)}")

    def legend(self) -> None:
        """Prints how to read the lines; does nothing for JSON."""
        if not self._as_json:
            self._line(LEGEND)

    def summary(self, summary: Summary) -> None:
        """Prints the evening's metrics.

        Raises:
            BrokenPipeError: if the reader of standard output was already gone.
        """
        if self._failure is not None:
            raise self._failure
        if self._as_json:
            self._line(json.dumps(summary_record(summary, utc_now()), ensure_ascii=False))
        else:
            for line in summary_lines(summary):
                self._line(line)

    def _line(self, text: str) -> None:
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError as error:
            self._failure = error
            self._stop()


async def _draw(console: Console, poller: Poller, *, until_final: bool) -> None:

    def draw() -> None:
        live.update(
            live_table(
                poller.games.values(),
                poller.summary(),
                scoreboard_time=poller.scoreboard_time,
                scoreboard_trouble=poller.scoreboard_failure,
                limits=poller.limits,
                now=utc_now(),
            ),
            refresh=True,
        )

    async def redraw() -> None:
        while True:
            draw()
            await asyncio.sleep(_REDRAW_SECONDS)

    with Live(console=console, auto_refresh=False, redirect_stderr=sys.stderr.isatty()) as live:
        drawing = asyncio.create_task(redraw())
        try:
            await poller.run(until_final=until_final)
        finally:
            drawing.cancel()
        draw()


def end_on_signals(stop: Callable[[], None]) -> None:
    """Calls `stop` at the first SIGINT or SIGTERM. A second one has its default effect."""
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)


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
    rows = [(_cells(game, now), "dim" if game.state.status is GameStatus.SCHEDULED else "") for game in watched]
    return Padding(Group(ResponsiveTable(list(_columns(watched)), rows), Text(), *lines), (0, 1))


def _columns(games: Sequence[WatchedGame]) -> Iterator[ResponsiveColumn]:
    """Yields the columns. Those of the game and of its age are dropped last in a narrow terminal."""
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
    name, outcome = horizon_label(watched.horizon), watched.outcome
    if outcome is not None:
        covered, total = outcome.covered, len(outcome.forecasts)
        return {
            name: Text(signed(outcome.differential, 0), style="bold"),
            f"{name} interval": Text(f"{covered}/{total}", style="green" if covered == total else "yellow"),
            f"{name} chance": Text("yes" if outcome.differential > 0 else "no"),
        }
    if watched.newest is None:
        return {name: Text("–", style="dim")} if watched.note else {}
    forecast = watched.newest.forecast
    lower, upper = signed(forecast.interval_lower, 0), signed(forecast.interval_upper, 0)
    return {
        name: Text(signed(forecast.point_forecast), style="bold"),
        f"{name} interval": Text(f"{lower}…{upper}"),
        f"{name} chance": Text(chance(forecast.home_lead_probability)),
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
