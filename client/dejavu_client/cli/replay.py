"""`dejavu replay`: a local stand-in for the NBA's live feed."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import signal
import threading
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.cli.errors import FAILED
from dejavu_client.cli.options.common import Json, address
from dejavu_client.errors import DejavuClientError
from dejavu_client.output.poll_scorecard import Record, record_entry, record_lines, record_of
from dejavu_feed.errors import FeedError
from dejavu_feed.replay.faults.injector import FaultyReplay
from dejavu_feed.replay.faults.kinds import DESCRIPTIONS, FeedFaultKind, parse_kinds
from dejavu_feed.replay.faults.overtime import extend_to_overtime
from dejavu_feed.replay.games import MOST_SIMULATED, ReplayGame, recorded_evening, simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay
from dejavu_feed.replay.timeline import PACE

_LOOKS_A_MINUTE: Final = 3
"""How often a poller should look at a game in a minute of its play, so that it misses none."""


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
        int | None,
        typer.Option(metavar="N", help="Simulate the same games, and the same faults, again; by default they are new."),
    ] = None,
    stagger: Annotated[
        float, typer.Option(metavar="MINUTES", min=0, help="From one tip-off to the next, at life's pace.")
    ] = 5.0,
    delay: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="From now to the first tip-off.")] = 5.0,
    faults: Annotated[
        str,
        typer.Option(
            metavar="KINDS",
            help=f"What shall go wrong with the feed: all, or some of {', '.join(FeedFaultKind)}; with commas.",
        ),
    ] = "",
    fault_rate: Annotated[
        float,
        typer.Option(
            metavar="SHARE", min=0, max=1, help="Of each file's stretches of five minutes, those with a fault."
        ),
    ] = 0.5,
    scorecard_from: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="In the end, show the scorecard of this dejavu-server over all its games, replays too.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Serve an evening of games as the NBA's live feed does, faster than life; `dejavu poll --feed-url` reads it.

    Games are simulated, or those of a day in a file. When all are final it goes on serving them. Ends with Ctrl-C.
    """
    if scorecard_from:
        address(scorecard_from, "--scorecard-from")
    host, port = address(listen, "--listen")
    kinds = _kinds(faults)
    drawn = secrets.randbelow(10**6) if seed is None else seed  # one for games and faults: told, it brings back both
    try:
        evening, left_out = _games(games, date, count, drawn)
    except FeedError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    if FeedFaultKind.OVERTIME in kinds:
        evening = (extend_to_overtime(evening[0]), *evening[1:])
    source = Replay(evening, speed=speed, delay=delay, stagger=60 * stagger)
    respond = FaultyReplay(source, kinds, seed=drawn, rate=fault_rate).respond if kinds else source.respond
    try:
        server = LocalServer(respond, host, port)
    except OSError as error:
        typer.echo(f"Error: cannot listen at {listen}: {error.strerror or error}", err=True)
        raise typer.Exit(FAILED) from error
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with server:
        bad_day = {"kinds": sorted(kinds), "seed": drawn, "rate": fault_rate} if kinds else None
        _announce(source, server.url, left_out, bad_day, as_json=as_json)
        stop.wait()
    if scorecard_from:
        show_scorecard(scorecard_from, as_json=as_json)


def show_scorecard(target: str, *, as_json: bool) -> None:
    """Prints what the forecasts of replays came to by the record of a server.

    Raises:
        typer.Exit: if it gives no answer, which is told.
    """

    async def read() -> Record:
        async with AsyncDejavuClient(target, channels=1) as client:
            return await record_of(client)

    try:
        record = asyncio.run(read())
    except DejavuClientError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from error
    if as_json:
        typer.echo(json.dumps({"scorecards": record_entry(record)}, ensure_ascii=False))
        return
    typer.echo("\n".join(record_lines(record)) or "No settled forecasts.")


def _kinds(faults: str) -> frozenset[FeedFaultKind]:
    try:
        return parse_kinds(faults) if faults else frozenset()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--faults") from error


def _games(
    file: Path | None, date: datetime | None, count: int, seed: int
) -> tuple[tuple[ReplayGame, ...], tuple[str, ...]]:
    """The games to replay, and why others of that day are left out."""
    if (file is None) != (date is None):
        raise typer.BadParameter("--games and --date go together", param_hint="--games")
    if file is None or date is None:
        return simulated_evening(random.Random(seed), count), ()  # noqa: S311 - games, not secrets
    return recorded_evening(file, date.date())


def _announce(
    source: Replay, url: str, left_out: tuple[str, ...], bad_day: dict[str, Any] | None, *, as_json: bool
) -> None:
    speed = source.speed
    if as_json:
        games = [
            {"gameId": game_id, "homeTeam": game.home, "awayTeam": game.away, "source": game.source}
            for game_id, game in source.games.items()
        ]
        end = source.end.isoformat(timespec="seconds")
        record = {"url": url, "speed": speed, "end": end, "games": games, "leftOut": left_out, "faults": bad_day}
        typer.echo(json.dumps(record))
        return
    typer.echo(
        f"Serving {len(source.games)} game{'s' * (len(source.games) != 1)} at {url}, {speed:g} times faster than life."
    )
    for game_id, game in source.games.items():
        typer.echo(f"  {game_id}  {game.away} @ {game.home}  {game.source}")
    for reason in left_out:
        typer.echo(f"  left out: {reason}")
    if bad_day is not None:
        typer.echo(f"Faults, the same again with --seed {bad_day['seed']}:")
        for kind in bad_day["kinds"]:
            typer.echo(f"  {kind}: {DESCRIPTIONS[kind]}")
    # On a bad day as often as in life, for many looks are in vain.
    between = 60 * PACE / _LOOKS_A_MINUTE if bad_day is None else 10.0
    interval = min(10.0, max(0.05, round(between / speed, 2)))
    typer.echo(f"The last one ends at {source.end.astimezone():%H:%M:%S}; Ctrl-C ends the replay. To watch it:")
    typer.echo(f"  dejavu poll --feed-url {url} --interval {interval:g}")
