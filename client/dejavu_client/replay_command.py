"""`dejavu replay`: a local stand-in for the NBA's live feed."""

from __future__ import annotations

import json
import random
import signal
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from dejavu_client.cli_group import FAILED
from dejavu_client.cli_options import Json
from dejavu_feed.errors import FeedError
from dejavu_feed.evening import MOST_SIMULATED, PlayedGame, recorded_evening, simulated_evening
from dejavu_feed.local_http import LocalServer
from dejavu_feed.replay import Replay
from dejavu_feed.timeline import PACE

_FORECAST_WINDOW: Final = 360 * PACE
"""Life seconds from 6:00 of the second quarter to the half: the time there is to make a forecast."""


def replay(
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to serve; port 0 takes a free one.")
    ] = "127.0.0.1:8008",
    speed: Annotated[
        float,
        typer.Option(
            metavar="N", min=0.01, max=1000, help="How many times faster than life; 1 takes more than two hours."
        ),
    ] = 60.0,
    games: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Replay games of a file of plays (.parquet or .csv).")
    ] = None,
    date: Annotated[
        datetime | None, typer.Option(metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="Which day's games of the file.")
    ] = None,
    count: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=MOST_SIMULATED, help="How many games to simulate when there is no file."),
    ] = 8,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Simulate the same games again; by default they are new each time.")
    ] = None,
    stagger: Annotated[
        float, typer.Option(metavar="MINUTES", min=0, help="From one tip-off to the next, at life's pace.")
    ] = 5.0,
    delay: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="From now to the first tip-off.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Serve an evening of games as the NBA's live feed does, faster than life; `dejavu poll --feed-url` reads it.

    Games are simulated, or those of a day in a file. When all are final it goes on serving them. Ends with Ctrl-C.
    """
    host, port = _address(listen)
    try:
        evening, left_out = _games(games, date, count, seed)
    except FeedError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    source = Replay(evening, speed=speed, delay=delay, stagger=60 * stagger)
    try:
        server = LocalServer(source.respond, host, port)
    except OSError as error:
        typer.echo(f"Error: cannot listen at {listen}: {error.strerror or error}", err=True)
        raise typer.Exit(FAILED) from error
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with server:
        _announce(source, server.url, speed, left_out, as_json=as_json)
        stop.wait()


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise typer.BadParameter(f"{listen!r} is not HOST:PORT", param_hint="--listen")
    return host, int(port)


def _games(
    file: Path | None, date: datetime | None, count: int, seed: int | None
) -> tuple[tuple[PlayedGame, ...], tuple[str, ...]]:
    """The games to replay, and why others of that day are left out."""
    if (file is None) != (date is None):
        raise typer.BadParameter("--games and --date go together", param_hint="--games")
    if file is None or date is None:
        return simulated_evening(random.Random(seed), count), ()  # noqa: S311 - games, not secrets
    return recorded_evening(file, date.date())


def _announce(source: Replay, url: str, speed: float, left_out: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        games = [
            {"gameId": game_id, "homeTeam": game.home, "awayTeam": game.away, "source": game.source}
            for game_id, game in source.games.items()
        ]
        end = source.end.isoformat(timespec="seconds")
        typer.echo(json.dumps({"url": url, "speed": speed, "end": end, "games": games, "leftOut": left_out}))
        return
    typer.echo(
        f"Serving {len(source.games)} game{'s' * (len(source.games) != 1)} at {url}, {speed:g} times faster than life."
    )
    for game_id, game in source.games.items():
        typer.echo(f"  {game_id}  {game.away} @ {game.home}  {game.source}")
    for reason in left_out:
        typer.echo(f"  left out: {reason}")
    # Six looks at each game while its half can be forecast.
    interval = min(10.0, max(0.05, round(_FORECAST_WINDOW / speed / 6, 2)))
    typer.echo(f"The last one ends at {source.end.astimezone():%H:%M:%S}; Ctrl-C ends the replay. To watch it:")
    typer.echo(f"  dejavu poll --feed-url {url} --interval {interval:g}")
