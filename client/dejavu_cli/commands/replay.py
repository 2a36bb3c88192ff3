"""`dejavu replay`: a local stand-in for the NBA's live feed."""

from __future__ import annotations

import json
import random
import signal
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Final

import typer

from dejavu_cli.errors import exit_on_os_error, failure
from dejavu_cli.options import GameList, Json, PlaysSource, day_option, option
from dejavu_client.connection_options import address
from dejavu_client.formatting import pluralize
from dejavu_common.clock import game_day, utc_now
from dejavu_feed.errors import FeedError
from dejavu_feed.files.lines import Lines, read_lines
from dejavu_feed.files.source_rows import Source
from dejavu_feed.replay.games import MOST_SIMULATED, ReplayGame, recorded_evening, simulated_evening
from dejavu_feed.replay.http_server import LocalServer
from dejavu_feed.replay.replay import Replay
from dejavu_feed.replay.timeline import PACE
from dejavu_poller import DEFAULT_END_INTERVAL, DEFAULT_INTERVAL

_POLLS_PER_MINUTE: Final = 3
"""Number of polls per minute of play that lets a poller see every minute."""


def replay(
    *,
    listen: Annotated[str, option("HOST:PORT")] = "127.0.0.1:8008",
    speed: Annotated[float, option("N", min=0.01, max=1000)] = 60.0,
    games: Annotated[Path | None, option("PATH")] = None,
    source: PlaysSource = Source.PLAYS,
    game_list: GameList = None,
    date: Annotated[datetime | None, day_option()] = None,
    lines: Annotated[Path | None, option("FILE", dir_okay=False)] = None,
    count: Annotated[int, option("N", min=1, max=MOST_SIMULATED)] = 8,
    seed: Annotated[int | None, option("N")] = None,
    stagger: Annotated[float, option("MINUTES", min=0)] = 5.0,
    delay: Annotated[float, option("SECONDS", min=0)] = 5.0,
    as_json: Json = False,
) -> None:
    """Serve an evening of games like the NBA's live feed, faster than real time, for `dejavu poll --feed-url`.

    Games are simulated, or those of one day are read from files, by the rules of `dejavu-trainer import`.
    Continues to serve the games after all are final. Stop with Ctrl-C.

    Args:
        listen: Address to serve on; port 0 picks a free port.
        speed: Speed relative to real time; 1 takes more than two hours.
        games: Replay recorded games from a file of plays (CSV, TSV, parquet; with --from also JSON, or a folder).
        date: Replay the recorded games of this day; without a file, the day of the simulated games.
        lines: Lines of these games, as `dejavu poll --lines` reads; served as the feed's odds, without totals.
        count: Number of games to simulate if there is no file.
        seed: Seed of the simulated games; random by default.
        stagger: Time between two tip-offs, in real game-day minutes.
        delay: Time from now to the first tip-off.
    """
    host, port = address(listen, "--listen")
    try:
        evening, excluded = _games(games, source, game_list, date, count, seed)
        evening = evening if lines is None else _with_lines(evening, read_lines(lines))
    except FeedError as error:
        raise failure(error) from error
    served = Replay(evening, speed=speed, delay=delay, stagger=60 * stagger)
    with exit_on_os_error(f"cannot listen at {listen}"):
        server = LocalServer(served.respond, host, port)
    # An Event set by a signal while the same thread is about to wait for it would wait for its own lock.
    stop = SimpleQueue[int]()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stop.put(number))
    with server:
        _announce(served, server.url, excluded, as_json=as_json)
        stop.get()


def _games(
    path: Path | None, source: Source, game_list: Path | None, date: datetime | None, count: int, seed: int | None
) -> tuple[tuple[ReplayGame, ...], tuple[str, ...]]:
    """Return the games to replay, and the reasons why other games of that day are excluded."""
    if game_list is not None and source is Source.PLAYS:
        raise typer.BadParameter("takes no --game-list", param_hint="--from plays")
    if path is None:
        if source is not Source.PLAYS:
            raise typer.BadParameter("needs --games, the recorded games", param_hint="--from")
        day = None if date is None else date.date()
        return simulated_evening(random.Random(seed), count, day), ()  # noqa: S311 - games, not secrets
    if date is None:
        raise typer.BadParameter("--games needs --date, the day of the games to replay", param_hint="--games")
    return recorded_evening(path, date.date(), source, game_list)


def _with_lines(evening: tuple[ReplayGame, ...], lines: Lines) -> tuple[ReplayGame, ...]:
    """Return games with their lines, found by id or by date and teams. Today is the date of a game without one."""
    if lines.skipped:
        typer.echo(lines.skipped, err=True)
    for game in evening:
        if others := lines.of_others(game.source, game.home, game.away):
            typer.echo(others, err=True)
    today = game_day(utc_now())
    return tuple(replace(game, line=lines.of(game.source, game.day or today, game.home, game.away)) for game in evening)


def _announce(source: Replay, url: str, excluded: tuple[str, ...], *, as_json: bool) -> None:
    speed = source.speed
    if as_json:
        games = [
            {"gameId": game_id, "homeTeam": game.home, "awayTeam": game.away, "source": game.source}
            for game_id, game in source.games.items()
        ]
        end = source.end.isoformat(timespec="seconds")
        record = {"url": url, "speed": speed, "end": end, "games": games, "leftOut": excluded}
        typer.echo(json.dumps(record))
        return
    typer.echo(f"Serving {pluralize(len(source.games), 'game')} at {url}, {speed:g}× real time.")
    for game_id, game in source.games.items():
        typer.echo(f"  {game_id}  {game.away} @ {game.home}  {game.source}")
    for reason in excluded:
        typer.echo(f"  excluded: {reason}")
    interval = min(DEFAULT_INTERVAL, max(0.05, round(60 * PACE / _POLLS_PER_MINUTE / speed, 2)))
    end_interval = min(interval, max(0.05, round(DEFAULT_END_INTERVAL / speed, 2)))
    typer.echo(f"The last game ends at {source.end.astimezone():%H:%M:%S}. Stop the replay with Ctrl-C. To watch it:")
    typer.echo(f"  dejavu poll --feed-url {url} --interval {interval:g} --end-interval {end_interval:g}")
