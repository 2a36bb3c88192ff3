"""The command `dejavu-trainer fetch`: seasons from the NBA, with a bar and the time left, or lines for no terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Final, Self

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dejavu_feed.errors import FeedError
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_trainer.cli.app import Json, app, print_json, refusing
from dejavu_trainer.data.fetch import FetchResult, Phase, fetch, missing_path, parse_nba_seasons, season_name
from dejavu_trainer.data.games import DataError, count_games
from dejavu_trainer.data.rate_limit import FetchStopped, RetryingClient, RetryPolicy
from dejavu_trainer.reports import fit as fit_report

_EVERY: Final = 30.0
"""Seconds between two lines of progress where there is no terminal."""
_REMEMBERED: Final = 300.0
"""Seconds of the past that the time left is foretold from: one pause after a 429 must not make it jump."""


class FetchDisplay:
    """A dejavu_trainer.data.fetch.Watcher on stderr, so that stdout stays the result's: one bar a season, or lines."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._plain = not self._console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[status]}"),
            console=self._console,
            disable=self._plain,
            speed_estimate_period=_REMEMBERED,
        )
        self._task: TaskID | None = None
        self._games = self._there = self._done = 0
        self._began = self._told = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def begin(self, season: str, games: int, there: int) -> None:
        """Begins a season's bar with the games that are there already; they say nothing about the time left."""
        self._games, self._there, self._done = games, there, there
        self._began = self._told = time.monotonic()
        self._task = self._bars.add_task(season, total=games, completed=there, status="")
        if self._plain:
            self.say(f"{season}: {games:,} games are over; {there:,} of them are here, {games - there:,} to ask for")

    def done(self, season: str) -> None:
        """One more game."""
        self._done += 1
        if self._task is not None:
            self._bars.update(self._task, advance=1, status="")
        now = time.monotonic()
        if self._plain and now - self._told >= _EVERY:
            self._told = now
            left = (now - self._began) / (self._done - self._there) * (self._games - self._done)
            self.say(f"{season}: {self._done:,} of {self._games:,} games, about {_duration(left)} left")

    def waiting(self, seconds: float, reason: str) -> None:
        """A wait before the same is asked again."""
        text = f"{reason}; asking again in {_duration(seconds)}"
        if self._plain or self._task is None:
            self.say(text)
        else:
            self._bars.update(self._task, status=escape(text))

    def say(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@app.command("fetch")
def fetch_seasons(
    seasons: Annotated[
        str,
        typer.Option(help="Seasons such as 2024-25 or 2023-24,2024-25; also the years in which they end, 2015-2021."),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder to write plays_{season}.parquet into; a later run goes on from it.")
    ],
    season_type: Annotated[
        list[Phase] | None, typer.Option(help="Part of the seasons; may be given again and again. All if not given.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Address to ask in place of https://stats.nba.com, such as that of a mirror.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a season that no fetch has written.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch seasons of games from the NBA's statistics, at most one request in 0.6 s.

    A fetch that was ended, by whatever, goes on where it was. One of a season
    that still runs adds the games played since. Games that could not be had are
    listed in missing_{season}.csv, and asked for again the next time.
    """
    try:
        wanted = parse_nba_seasons(seasons)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--seasons'") from error
    with refusing(FeedError):
        try:
            stats = NbaStats(url)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="'--url'") from error
        with closing(stats):
            documents, stopped = _fetch(stats, wanted, season_type or tuple(Phase), out, overwrite=overwrite)
    if as_json:
        print_json({"seasons": documents, "stopped": stopped})
    else:
        _print(Console(), documents)
    if complaints := [*([stopped] if stopped else []), *map(_complaint, filter(_lacks, documents))]:
        for complaint in complaints:
            typer.echo(f"dejavu-trainer: {complaint}", err=True)
        raise typer.Exit(1)


def _fetch(
    stats: Stats, seasons: Sequence[int], phases: Sequence[Phase], out: Path, *, overwrite: bool
) -> tuple[list[dict[str, Any]], str]:
    """What came of each season that was reached, and why it ended early, if it did."""
    documents = list[dict[str, Any]]()
    with FetchDisplay() as shown:
        asker = RetryingClient(RetryPolicy(), shown.waiting)
        try:
            for fetched in fetch(stats, seasons, phases, out, shown, asker, overwrite=overwrite):
                documents.append(_document(out, fetched))
        except FetchStopped as error:
            return documents, f"{error}; the same command goes on from here"
        except DataError as error:
            return documents, str(error)
    return documents, ""


def _lacks(document: dict[str, Any]) -> bool:
    return bool(document["missing"])


def _complaint(document: dict[str, Any]) -> str:
    return (
        f"{len(document['missing'])} games of {document['season']} could not be had; {document['missing_file']} names"
        " them, and the same command asks for them again"
    )


def _document(out: Path, fetched: FetchResult) -> dict[str, Any]:
    """What came of a season, for --json."""
    document: dict[str, Any] = {"file": None, "rows": 0, "games": 0, "left_out": 0}
    if fetched.path is not None:
        try:
            counted = count_games(fetched.path, fetched.plays)
        except DataError:  # none of its games is complete
            counted = 0
        document = fit_report.season_document(fetched.path, fetched.plays, counted)
    return {
        "season": season_name(fetched.season),
        **document,
        "fetched": fetched.asked,
        "not_over": fetched.not_over,
        "missing_file": str(missing_path(out, fetched.season)) if fetched.missing else None,
        "missing": [
            {
                "game_id": entry.game.game_id,
                "type": entry.phase.code,
                "date": entry.game.date.isoformat(),
                "teams": entry.game.teams,
                "reason": entry.reason,
            }
            for entry in fetched.missing
        ],
    }


def _print(console: Console, documents: Sequence[dict[str, Any]]) -> None:
    """What came of the seasons, for people."""
    for document in documents:
        if document["file"] is not None:
            fit_report.print_season(console, document)
        if document["not_over"]:
            console.print(
                f"{document['season']}: {document['not_over']} games are not over yet; a later fetch adds them",
                highlight=False,
                soft_wrap=True,
            )
