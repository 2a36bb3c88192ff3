"""`dejavu poll`: an evening's games as they go by, each with its forecast and what became of it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.live import Live

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.cli_group import FAILED
from dejavu_client.cli_options import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout
from dejavu_client.poll_events import Event
from dejavu_client.poll_state import Summary
from dejavu_client.poll_text import event_line, event_record, summary_line, summary_record
from dejavu_client.poller import DEFAULT_INTERVAL, Poller, utc_now
from dejavu_client.table import evening
from dejavu_feed.errors import FeedNotInstalled
from dejavu_feed.nba import NBA_URL, Feed, NbaFeed

_REDRAW_SECONDS: Final = 0.25


def poll(
    feed_url: Annotated[
        str, typer.Option(metavar="URL", envvar="DEJAVU_FEED_URL", help="Address of the live feed, or of a replay.")
    ] = NBA_URL,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.05, max=3600, help="From one look at the games to the next.")
    ] = DEFAULT_INTERVAL,
    until_final: Annotated[
        bool, typer.Option("--until-final", help="End by itself when every game of the day is over.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Watch the day's games: each half is forecast at 6:00 of the second quarter, and held against what came.

    A table in a terminal, lines elsewhere. Ends with Ctrl-C and a summary of the evening.
    """
    try:
        feed = NbaFeed(feed_url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--feed-url") from error
    except FeedNotInstalled as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    with closing(feed):
        asyncio.run(_poll(feed, target, timeout, interval, until_final=until_final, as_json=as_json))


class _Printer:
    """Prints every event on a line of its own; when nobody reads any more, it says so by `stop`."""

    def __init__(self, *, as_json: bool) -> None:
        self.stop: Callable[[], None] = lambda: None
        self._failure: BrokenPipeError | None = None
        self._as_json = as_json

    def __call__(self, event: Event) -> None:
        if self._as_json:
            self._line(json.dumps(event_record(event, utc_now()), ensure_ascii=False))
        else:
            self._line(f"{utc_now().astimezone():%H:%M:%S}  {event_line(event)}")

    def summary(self, summary: Summary) -> None:
        """Prints the evening's figures.

        Raises:
            BrokenPipeError: if nobody reads any more.
        """
        if self._failure is not None:
            raise self._failure
        if self._as_json:
            self._line(json.dumps(summary_record(summary, utc_now()), ensure_ascii=False))
        else:
            self._line(summary_line(summary))

    def _line(self, text: str) -> None:
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError as error:
            self._failure = error
            self.stop()


async def _poll(feed: Feed, target: str, seconds: float, interval: float, *, until_final: bool, as_json: bool) -> None:
    console = Console()
    printer = None if console.is_terminal and not as_json else _Printer(as_json=as_json)
    async with (
        AsyncDejavuClient(target, timeout=seconds) as client,
        Poller(feed, client, interval=interval, on_event=[printer] if printer else []) as poller,
    ):
        _end_on_signals(poller.stop)
        if printer is None:
            await _draw(console, poller, until_final=until_final)
        else:
            printer.stop = poller.stop
            await poller.run(until_final=until_final)
        if printer is not None:
            printer.summary(poller.summary())


async def _draw(console: Console, poller: Poller, *, until_final: bool) -> None:
    """Runs the poller and draws its evening until it ends."""

    def drawn() -> None:
        live.update(
            evening(
                poller.games.values(),
                poller.summary(),
                scoreboard_time=poller.scoreboard_time,
                scoreboard_trouble=poller.scoreboard_trouble,
                now=utc_now(),
            ),
            refresh=True,
        )

    async def redraw() -> None:
        while True:
            drawn()
            await asyncio.sleep(_REDRAW_SECONDS)

    with Live(console=console, auto_refresh=False, redirect_stderr=sys.stderr.isatty()) as live:
        drawing = asyncio.create_task(redraw())
        try:
            await poller.run(until_final=until_final)
        finally:
            drawing.cancel()
        drawn()


def _end_on_signals(stop: Callable[[], None]) -> None:
    """Ends the evening at the first SIGINT or SIGTERM; the second one acts as usual."""
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
