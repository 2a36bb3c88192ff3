"""Displays a running poller: a table of the evening's games, redrawn, in a terminal; one line per event elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from dejavu.v1.forecast_pb2 import Forecast, Horizon
from dejavu_cli.output import poll_events
from dejavu_cli.output.responsive_table import Column, FittedScreen, ResponsiveTable, named_column
from dejavu_client.formatting import chance, horizon_label, outcome_range, outcome_verb, percent, signed, total_range
from dejavu_client.requests import FINAL
from dejavu_common.clock import utc_now
from dejavu_common.rich_console import Console
from dejavu_common.shown_text import escape_output, visible
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_poller.events import Event, Fault, FaultKind, GameSkipped, HorizonResult, Prediction
from dejavu_poller.horizons import HORIZON_RULES, HorizonState, overtimes_by
from dejavu_poller.inputs import GameLine
from dejavu_poller.leadership import LeaderRole
from dejavu_poller.poller import LINES, PRICES, Poller
from dejavu_poller.summary import Summary
from dejavu_poller.watched_game import WatchedGame

_REDRAW_SECONDS: Final = 0.25
_MESSAGES: Final = 4
"""Number of messages that stay visible under the table."""
_TOLD: Final = (FaultKind.REFUSED, FaultKind.MALFORMED, FaultKind.INTERNAL)
"""Kinds of faults that become messages; the table shows others for as long as they last."""


def print_opening(opening: poll_events.Opening, *, as_json: bool) -> None:
    """Print what an evening begins with, as the first line."""
    if as_json:
        _print_line(json.dumps(poll_events.opening_record(opening, utc_now()), ensure_ascii=False))
    else:
        _print_line(poll_events.opening_line(opening))


async def watch(
    poller: Poller, console: Console, *, until_final: bool, as_json: bool, by_quarter: bool = False
) -> Printer | None:
    """Run a poller and display its events until it ends.

    Args:
        poller: the poller.
        console: where a table is drawn if the console is a terminal.
        until_final: whether to end once all games are final.
        as_json: whether to print events as JSON.
        by_quarter: whether to print only the forecast of the final at the end of each quarter, results and faults.

    Returns:
        The printer of the events; None if a table displayed them.
    """
    if console.is_terminal and not as_json:
        await _draw(console, poller, until_final=until_final)
        return None
    printer = Printer(poller.stop, as_json=as_json, by_quarter=by_quarter and not as_json)
    printer.legend()
    poller.add_callback(printer)
    await poller.run(until_final=until_final)
    return printer


class Printer:
    """Prints every event on its own line. Calls `stop` when the reader of standard output is gone."""

    def __init__(self, stop: Callable[[], None], *, as_json: bool, by_quarter: bool = False) -> None:
        self._stop = stop
        self._by_quarter = by_quarter
        self._failure: BrokenPipeError | None = None
        self._as_json = as_json

    def __call__(self, event: Event) -> None:
        """Print an event."""
        if self._by_quarter and not _ends_quarter(event):
            return
        if self._as_json:
            self._line(json.dumps(poll_events.event_record(event, utc_now()), ensure_ascii=False))
        else:
            self._line(f"{utc_now().astimezone():%H:%M:%S}  {poll_events.event_line(event)}")

    def legend(self) -> None:
        """Print how to read the lines; do nothing for JSON."""
        if not self._as_json:
            self._line(poll_events.LEGEND)

    def summary(self, summary: Summary) -> None:
        """Print the evening's metrics.

        Raises:
            BrokenPipeError: if the reader of standard output was already gone.
        """
        if self._failure is not None:
            raise self._failure
        if self._as_json:
            self._line(json.dumps(poll_events.summary_record(summary, utc_now()), ensure_ascii=False))
        else:
            for line in poll_events.summary_lines(summary):
                self._line(line)

    def _line(self, text: str) -> None:
        try:
            _print_line(text)
        except BrokenPipeError as error:
            self._failure = error
            self._stop()


def _print_line(text: str) -> None:
    sys.stdout.write(visible(text, line=True) + "\n")
    sys.stdout.flush()


def _ends_quarter(event: Event) -> bool:
    """Return whether an event is one of those that `watch` prints with `by_quarter`."""
    if isinstance(event, Prediction):
        return event.forecast.horizon == FINAL and len(event.pattern) % 12 == 0
    return isinstance(event, HorizonResult | Fault)


class Messages:
    """Keeps the newest events that a table does not show: faults that are not just retried, and skipped games.

    Args:
        games: the games by id, to name them.
    """

    def __init__(self, games: Mapping[str, WatchedGame]) -> None:
        self._games = games
        self._times: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        """Keep an event if it is one of these; a repeated message becomes the newest."""
        if isinstance(event, Fault):
            if event.source == LINES or (event.kind not in _TOLD and event.source != PRICES):
                return
            game = self._games.get(event.source)
            text = poll_events.event_line(
                event if game is None else replace(event, source=poll_events.teams(game.state))
            )
        elif isinstance(event, GameSkipped):
            text = poll_events.event_line(event)
        else:
            return
        self._times.pop(text, None)
        self._times[text] = f"{utc_now().astimezone():%H:%M}"
        self._times = dict(list(self._times.items())[-_MESSAGES:])

    def newest(self) -> list[str]:
        """Return the messages, newest first."""
        return [f"{time}  {text}" for text, time in reversed(self._times.items())]


async def _draw(console: Console, poller: Poller, *, until_final: bool) -> None:
    messages = Messages(poller.games)
    poller.add_callback(messages)

    def draw() -> None:
        live.update(live_table(poller, messages.newest(), utc_now()), refresh=True)

    async def redraw() -> None:
        while True:
            draw()
            await asyncio.sleep(_REDRAW_SECONDS)

    with _without_echo(), Live(console=console, auto_refresh=False, redirect_stderr=sys.stderr.isatty()) as live:
        escape_output()  # for text printed above the table: otherwise rich would obey its escape sequences
        drawing = asyncio.create_task(redraw())
        try:
            await poller.run(until_final=until_final)
        finally:
            drawing.cancel()
        draw()


@contextmanager
def _without_echo() -> Iterator[None]:
    """Keep the terminal from echoing keys: a ^C or an empty line would move the table and leave its header behind."""
    try:
        terminal = sys.stdout.fileno()
        before = termios.tcgetattr(terminal)
        in_background = os.tcgetpgrp(terminal) != os.getpgrp()  # a change of the terminal would stop the program
    except (OSError, ValueError, termios.error):
        in_background, terminal, before = True, -1, []
    if in_background:
        yield
        return
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        with suppress(OSError, termios.error):
            termios.tcsetattr(terminal, termios.TCSANOW, before)


def end_on_signals(stop: Callable[[], object]) -> None:
    """Call `stop` at the first SIGINT or SIGTERM. A second one has its default effect."""
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)


_STALE: Final = 60.0
"""Seconds after which the age of a game's data is shown as a warning."""
_NO_LINE: Final = "no line"
"""Cell of a game that is forecast without a line."""
_BLOCK: Final = 3
"""Minutes of play for each block of a sparkline."""
_BLOCKS: Final = "▁▂▃▄▅▆▇█"


def live_table(poller: Poller, messages: Iterable[str], now: datetime) -> RenderableType:
    """Render every game with its forecasts and outcomes, current failures, and the metrics so far.

    Args:
        poller: the poller whose games are shown.
        messages: recent events that the rest of the table does not show.
        now: current time, aware.
    """
    watched = list(poller.games.values())
    failures = dict[str, list[str]]()
    for game in watched:
        # The server's failure is shown below, once for all games.
        if game.failure and not (poller.server_failure and game.failure.startswith("server: ")):
            failures.setdefault(game.failure, []).append(poll_events.teams(game.state))
    problems = [f"{', '.join(names)}: {failure}" for failure, names in failures.items()]
    if poller.scoreboard_failure:
        read = poller.scoreboard_time
        age = "" if read is None else f" ({_seconds((now - read).total_seconds())} old)"
        problems.append(f"scoreboard{age}: {poller.scoreboard_failure}")
    problems += [f"server: {poller.server_failure}"] if poller.server_failure else []
    problems += [f"lines: {text}" for text in sorted(poller.lines.faults)]
    problems += [text for text in (poller.limits, poller.outdated_ratings) if text]
    newest = [each.newest for game in watched for each in game.horizons.values() if each.newest]
    problems += dict.fromkeys(warning.text for each in newest for warning in each.forecast.warnings)
    notices = [Text(text, style="yellow") for text in (*problems, *messages)]
    role = poller.leadership
    follows = role is not None and role.role in (LeaderRole.STANDBY, LeaderRole.WAITING)
    if role is not None and follows:
        notices.insert(0, Text(f"This poller {poll_events.leadership_line(role)}"))
    if not watched:
        waiting = "Waiting for the scoreboard …" if poller.scoreboard_time is None else "No games today."
        return Group(*notices) if follows else Group(Text(waiting, style="dim"), *notices)
    notices += [Text(line, style="dim") for line in _notes(watched)]
    lines = [_line(game.state, poller.lines.taken) for game in watched]
    rows = [_cells(game, now) | {"line": line} for game, line in zip(watched, lines, strict=True)]
    columns = list(_columns(watched, with_lines=any(lines)))
    table = ResponsiveTable(columns, rows, lambda row: f"{row['style']}")
    tally = [Text(line) for line in poll_events.summary_lines(poller.summary())]
    known = ", ".join(text for text in lines if text not in ("", _NO_LINE))
    none = ", ".join(f"{row['game']}" for row in rows if row["line"] == _NO_LINE)
    told = [f"{name}: {text}" for name, text in (("lines", known), (_NO_LINE, none)) if text]
    instead = {"line": Text(" · ".join(told), style="dim")} if told else {}
    return Padding(FittedScreen(table, notices, tally, _legend(watched), instead), (0, 1))


def _legend(games: Sequence[WatchedGame]) -> list[tuple[str, set[str]]]:
    """Return the legend of the table: texts with the names of the columns that they explain."""
    shown = {horizon_label(horizon) for game in games for horizon in game.horizons}
    results = any(each.outcome for game in games for each in game.horizons.values())

    def columns(kind: str) -> set[str]:
        return {f"{name} {kind}" for name in shown}

    legend = [
        ("half, end: home − away, in points", shown),
        ("−5…+17: the outcomes in the interval", columns("interval")),
        ("score: away–home", {"score"}),
        ("leads, wins: probability of the home team", columns("chance")),
        ("±: change of that probability since the minute before, in percentage points", columns("change")),
        ("points: of both teams together", columns("total")),
    ]
    if results:
        legend.append(("40/42: intervals held", columns("interval")))
        legend.append(("leader: the team ahead, taken as certain to win", set()))
    return legend


def _line(game: GameState, lines: Mapping[str, GameLine | None]) -> str:
    """Return the cell of the line of a game; "" before its first forecast."""
    line = lines.get(game.game_id)
    if line is None:
        return _NO_LINE if game.game_id in lines else ""
    return f"total {line.total:g}" if line.margin is None else poll_events.margin_text(game, line.margin)


def _columns(games: Sequence[WatchedGame], *, with_lines: bool) -> Iterator[Column[Mapping[str, str | Text]]]:
    """Yield the columns. In a narrow terminal, the columns of the game and of the age of its data are dropped last."""
    yield named_column("game", "left", 13)
    yield named_column("clock", "left", 10, width=10)
    yield named_column("score", "right", 11, width=7)
    if with_lines:
        yield named_column("line", "left", 4, width=9)
    yield named_column("min", "right", 6, width=3)
    horizons = list(dict.fromkeys(horizon for game in games for horizon in game.horizons))
    newest = [each.newest.forecast for game in games for each in game.horizons.values() if each.newest]
    totals = {forecast.horizon for forecast in newest if forecast.HasField("total")}
    for horizon in horizons:
        name, final = horizon_label(horizon), horizon == FINAL
        yield named_column(name, "right", 12 if final else 8, width=5)
        yield named_column(f"{name} interval", "center", 7 if final else 5, _nominal(newest, horizon), width=7)
        yield named_column(f"{name} chance", "right", 12 if final else 9, outcome_verb(horizon), width=9)
        yield named_column(f"{name} change", "right", 3 if final else 1, "±", width=3)
        if horizon in totals:
            yield named_column(f"{name} total", "center", 3 if final else 1, "points", width=7)
    if horizons:
        yield named_column("sparkline", "left", 4, f"home {outcome_verb(horizons[-1])}")
    yield named_column("age", "right", 13, width=5)


def _nominal(newest: Sequence[Forecast], horizon: Horizon.ValueType) -> str:
    """Return the nominal coverage if all intervals share one, else "interval"."""
    rates = {percent(each.coverage_probability) for each in newest if each.horizon == horizon}
    return rates.pop() if len(rates) == 1 else "interval"


def _cells(game: WatchedGame, now: datetime) -> dict[str, str | Text]:
    age = game.age(now)
    cells: dict[str, str | Text] = {
        "style": "dim" if game.state.status is GameStatus.SCHEDULED else "",
        "game": Text(poll_events.teams(game.state)),
        "clock": Text(game.state.text.replace(" pm ET", "pm ET")),  # as wide as the longest clock of a game
        "score": Text(poll_events.score(game.state)),
        "age": Text(
            "" if age is None else _seconds(age), style="yellow" if age is not None and age > _STALE else "dim"
        ),
    }
    current = [each for each in game.horizons.values() if not _is_past(each, game.state)]
    minutes = [len(each.newest.pattern) for each in current if each.newest]
    at_moment = game.at_moment
    if at_moment is not None and not _is_current(at_moment, game.state):
        at_moment = None
    if at_moment is not None:
        overtime = overtimes_by(at_moment.moment.period)
        cells["min"] = Text("OT" if overtime else f"{at_moment.elapsed_minutes + 1}", style="dim")
    elif minutes:
        cells["min"] = Text(f"{max(minutes)}", style="dim")
    for watched in game.horizons.values():
        cells |= _of_horizon(watched, game.state, at_moment)
        cells["sparkline"] = Text(sparkline(watched), style="dim")
    return cells


def _of_horizon(watched: HorizonState, game: GameState, at_moment: Forecast | None) -> dict[str, Text]:
    """Return a horizon's cells: the forecast, at the moment if there is one, or the outcome once it is known."""
    name, outcome = horizon_label(watched.horizon), watched.outcome
    if outcome is not None:
        covered, total = outcome.covered, len(outcome.forecasts)
        return {
            name: Text(signed(outcome.differential, 0), style="bold"),
            f"{name} interval": Text(f"{covered}/{total}", style="green" if covered == total else "yellow"),
            f"{name} chance": Text(_ahead(watched.horizon, outcome.differential, game)),
        }
    if at_moment is not None and at_moment.horizon == watched.horizon:
        return _of_forecast(at_moment, game)
    if watched.newest is None:
        return {name: Text("–", style="dim")} if watched.note else {}
    if _is_past(watched, game):
        if _is_overtime(game) and watched.horizon == FINAL:
            return {name: Text("OT", style="dim"), f"{name} chance": Text("not known", style="dim")}
        return {name: Text("–", style="dim")}
    return _of_forecast(watched.newest.forecast, game) | {f"{name} change": Text(_change(watched), style="dim")}


def _of_forecast(forecast: Forecast, game: GameState) -> dict[str, Text]:
    name = horizon_label(forecast.horizon)
    return {
        name: Text(signed(forecast.point_forecast), style="bold"),
        f"{name} interval": Text(outcome_range(forecast.interval_lower, forecast.interval_upper)),
        f"{name} chance": Text(f"{game.home} {chance(forecast.home_lead_probability)}"),
        f"{name} total": Text(total_range(forecast.total) if forecast.HasField("total") else ""),
    }


def _is_past(watched: HorizonState, game: GameState) -> bool:
    """Return whether the end of the half, or of regulation, has passed since a horizon's newest forecast.

    In overtime, and while the outcome is awaited, such a forecast says nothing about the current score.
    """
    run_down = watched.horizon == FINAL and game.period == watched.rules.period and game.clock == 0.0
    return watched.result_known or watched.is_over_by_state(game) or run_down


def _is_current(at_moment: Forecast, game: GameState) -> bool:
    """Return whether the period of a forecast at a moment is still played; at its end, only a tie goes on."""
    if game.status is not GameStatus.LIVE or game.period != at_moment.moment.period:
        return False
    return game.clock != 0.0 or (at_moment.horizon == FINAL and game.home_score == game.away_score)


def _is_overtime(game: GameState) -> bool:
    """Return whether overtime is played, or about to begin with a level score at the end of the last quarter."""
    level = game.period == HORIZON_RULES[FINAL].period and game.clock == 0.0 and game.home_score == game.away_score
    return game.status is GameStatus.LIVE and (overtimes_by(game.period) > 0 or level)


def _ahead(horizon: Horizon.ValueType, differential: int, game: GameState) -> str:
    """Return the team that led at the half, or won, in words."""
    if not differential:
        return "level"
    return f"{game.home if differential > 0 else game.away} {'won' if horizon == FINAL else 'led'}"


def _change(watched: HorizonState) -> str:
    """Return the change of the home team's probability since the minute before, in percentage points; "" if unknown.

    If there is a forecast only every few minutes, the change is since the forecast before.
    """
    newest = watched.newest
    before = None if newest is None else watched.forecasts.get(len(newest.pattern) - watched.minutes.step)
    if newest is None or before is None:
        return ""
    return signed(100 * (newest.forecast.home_lead_probability - before.forecast.home_lead_probability), 0)


def sparkline(watched: HorizonState) -> str:
    """Draw the home team's probability over the game, from ▁ below 1/8 to █ from 7/8.

    A block has the newest forecast of its minutes; one without a forecast is blank.

    Args:
        watched: forecasts of a horizon.
    """
    drawn = []
    for begin in range(1, watched.rules.minutes + 1, _BLOCK):
        minutes = [each for each in range(begin, begin + _BLOCK) if each in watched.forecasts]
        level = watched.forecasts[minutes[-1]].forecast.home_lead_probability if minutes else None
        drawn.append(" " if level is None else _BLOCKS[min(int(level * len(_BLOCKS)), len(_BLOCKS) - 1)])
    return "".join(drawn)


def _notes(games: Iterable[WatchedGame]) -> list[str]:
    """List the horizons that are not forecast, by game, one line per reason."""
    games = list(games)
    unforecast: dict[tuple[str, str], list[str]] = {}
    for game in games:
        for watched in game.horizons.values():
            if watched.note and watched.newest is None:
                unforecast.setdefault((horizon_label(watched.horizon), watched.note), []).append(
                    poll_events.teams(game.state)
                )
    lines = [f"{name} not forecast ({reason}): {', '.join(names)}" for (name, reason), names in unforecast.items()]
    overtime = [
        poll_events.teams(game.state)
        for game in games
        if FINAL in game.horizons and game.at_moment is None and _is_overtime(game.state)
    ]
    return [*lines, f"overtime, no forecast: {', '.join(overtime)}"] if overtime else lines


def _seconds(age: float) -> str:
    return f"{age:.0f} s" if age < 100 else f"{age / 60:.0f} min"
