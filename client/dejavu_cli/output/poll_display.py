"""Displays a running poller: a table of the evening's games, redrawn, in a terminal; one line per event elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from rich.live import Live

from dejavu_cli.output.live_table import live_table
from dejavu_cli.output.poll_events import (
    LEGEND,
    Opening,
    event_line,
    event_record,
    opening_line,
    opening_record,
    summary_lines,
    summary_record,
    teams,
)
from dejavu_client.requests import FINAL
from dejavu_common.clock import utc_now
from dejavu_common.rich_console import Console
from dejavu_common.shown_text import escape_output, visible
from dejavu_poller.events import Event, Fault, FaultKind, GameSkipped, HorizonResult, Prediction
from dejavu_poller.poller import LINES, PRICES, Poller
from dejavu_poller.summary import Summary
from dejavu_poller.watched_game import WatchedGame

_REDRAW_SECONDS: Final = 0.25
_MESSAGES: Final = 4
"""Number of messages that stay visible under the table."""
_TOLD: Final = (FaultKind.REFUSED, FaultKind.MALFORMED, FaultKind.INTERNAL)
"""Kinds of faults that become messages; the table shows others for as long as they last."""


def print_opening(opening: Opening, *, as_json: bool) -> None:
    """Print what an evening begins with, as the first line."""
    if as_json:
        _print_line(json.dumps(opening_record(opening, utc_now()), ensure_ascii=False))
    else:
        _print_line(opening_line(opening))


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
            self._line(json.dumps(event_record(event, utc_now()), ensure_ascii=False))
        else:
            self._line(f"{utc_now().astimezone():%H:%M:%S}  {event_line(event)}")

    def legend(self) -> None:
        """Print how to read the lines; do nothing for JSON."""
        if not self._as_json:
            self._line(LEGEND)

    def summary(self, summary: Summary) -> None:
        """Print the evening's metrics.

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
            text = event_line(event if game is None else replace(event, source=teams(game.state)))
        elif isinstance(event, GameSkipped):
            text = event_line(event)
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
