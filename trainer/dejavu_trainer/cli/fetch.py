"""The command `dejavu-trainer fetch`: seasons from the NBA, with progress bars on a terminal and lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.progress import TaskID, TextColumn, TimeRemainingColumn

from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_trainer.cli.app import Bars, Json, app, exit_on_error, parsed, print_json
from dejavu_trainer.data.fetch import FetchResult, Phase, fetch, missing_path, parse_nba_seasons, season_name
from dejavu_trainer.data.games import count_games
from dejavu_trainer.data.retries import FetchStopped, RetryingClient, RetryPolicy
from dejavu_trainer.reports import runs

_LINE_INTERVAL: Final = 30.0
"""Seconds between two progress lines when stderr is not a terminal."""
_ESTIMATE_WINDOW: Final = 300.0
"""Window in seconds for estimating the time left; long enough that one pause after a 429 does not make it jump."""


class FetchDisplay(Bars):
    """Shows fetch progress on stderr, one bar per season or plain lines; stdout is reserved for the result.

    Implements dejavu_trainer.data.fetch.FetchObserver.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._plain = not self._console.is_terminal
        more = TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[status]}", markup=False)
        super().__init__(self._console, "{task.description}", *more, speed_estimate_period=_ESTIMATE_WINDOW)
        self._task: TaskID | None = None
        self._games = self._cached = self._done = 0
        self._started = self._last_line = 0.0

    def begin(self, season: str, games: int, there: int) -> None:
        """Start the bar of a season; games already cached do not count towards the estimated time left."""
        self._games, self._cached, self._done = games, there, there
        self._started = self._last_line = time.monotonic()
        self._task = self._bars.add_task(season, total=games, completed=there, status="")
        if self._plain:
            self.say(f"{season}: {games:,} games finished; {there:,} of them cached, {games - there:,} to fetch")

    def done(self, season: str) -> None:
        """Count one more game."""
        self._done += 1
        if self._task is not None:
            self._bars.update(self._task, advance=1, status="")
        now = time.monotonic()
        if self._plain and now - self._last_line >= _LINE_INTERVAL:
            self._last_line = now
            left = (now - self._started) / (self._done - self._cached) * (self._games - self._done)
            self.say(f"{season}: {self._done:,} of {self._games:,} games, about {_duration(left)} left")

    def waiting(self, seconds: float, reason: str) -> None:
        """Show the wait before a retry."""
        text = f"{reason}; retrying in {_duration(seconds)}"
        if self._plain or self._task is None:
            self.say(text)
        else:
            self._bars.update(self._task, status=text)

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


@app.command("fetch")
def fetch_seasons(
    seasons: Annotated[
        str,
        typer.Option(
            help="Seasons such as 2024-25 or 2023-24,2024-25, or the years in which they end, such as 2015-2021."
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Folder to write plays_{season}.parquet into; a later run resumes from it.")
    ],
    season_type: Annotated[
        list[Phase] | None, typer.Option(help="Part of the seasons; repeat the option for several. All by default.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Base URL to use instead of https://stats.nba.com, such as a mirror.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a season that was not written by fetch.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch seasons of games from the NBA's statistics, at most one request every 0.6 s.

    An interrupted fetch resumes where it stopped. Fetching a season in progress
    again adds the games played since. Games that could not be fetched are listed
    in missing_{season}.csv and requested again the next time.
    """
    requested = parsed("--seasons", parse_nba_seasons, seasons)
    with exit_on_error(), closing(parsed("--url", NbaStats, url)) as stats:
        documents, stopped = _fetch(stats, requested, season_type or tuple(Phase), out, overwrite=overwrite)
    if as_json:
        print_json({"seasons": documents, "stopped": stopped})
    else:
        _print(Console(), documents)
    problems = [stopped] if stopped else []
    problems += [
        f"{len(document['missing'])} games of {document['season']} could not be fetched; {document['missing_file']}"
        " lists them; run the same command again to retry"
        for document in documents
        if document["missing"]
    ]
    for problem in problems:
        typer.echo(f"dejavu-trainer: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def _fetch(
    stats: Stats, seasons: Sequence[int], phases: Sequence[Phase], out: Path, *, overwrite: bool
) -> tuple[list[dict[str, Any]], str]:
    """Return a document per fetched season, and the reason why the fetch stopped early ("" if it did not)."""
    documents = list[dict[str, Any]]()
    with FetchDisplay() as display:
        client = RetryingClient(RetryPolicy(), display.waiting)
        try:
            for fetched in fetch(stats, seasons, phases, out, display, client, overwrite=overwrite):
                documents.append(_document(out, fetched))
        except FetchStopped as error:
            return documents, f"{error}; run the same command again to resume"
        except DataError as error:
            return documents, str(error)
    return documents, ""


def _document(out: Path, fetched: FetchResult) -> dict[str, Any]:
    """Return the result of a season for --json."""
    document: dict[str, Any] = {"file": None, "rows": 0, "games": 0, "left_out": 0}
    if fetched.path is not None:
        try:
            counted = count_games(fetched.path, fetched.plays)
        except DataError:  # none of its games is complete
            counted = 0
        document = runs.season_document(fetched.path, fetched.plays, counted, fetched.season)
    return {
        "season": season_name(fetched.season),
        **document,
        "fetched": fetched.asked,
        "not_over": fetched.not_over,
        "missing_file": str(missing_path(out, fetched.season)) if fetched.missing else None,
        "missing": [{**entry._asdict(), "date": entry.date.isoformat()} for entry in fetched.missing],
    }


def _print(console: Console, documents: Sequence[dict[str, Any]]) -> None:
    """Print the results of the seasons as text."""
    for document in documents:
        if document["file"] is not None:
            runs.print_season(console, document)
        if document["not_over"]:
            console.print(
                f"{document['season']}: {document['not_over']} games are not finished yet; a later fetch adds them",
                highlight=False,
                soft_wrap=True,
            )
