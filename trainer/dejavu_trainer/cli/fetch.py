"""The command `dejavu-trainer fetch`: seasons from the NBA, with the games that could not be had."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any

import typer

from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_trainer.cli.app import Json, ProgressBars, app, exit_on_error, parsed, print_json
from dejavu_trainer.data.fetch import FetchResult, Phase, fetch, missing_path, parse_nba_seasons, season_name
from dejavu_trainer.data.games import count_games
from dejavu_trainer.data.retries import FetchStopped, RetryingClient, RetryPolicy
from dejavu_trainer.reports import runs


class FetchDisplay(ProgressBars):
    """Shows the seasons of a fetch as steps. Implements dejavu_trainer.data.fetch.FetchObserver."""

    _steps = ExitStack()

    def begin(self, season: str, games: int, there: int) -> None:
        """Start the step of a season."""
        self._steps.close()
        self.say(f"{season}: {games:,} games finished; {there:,} of them cached")
        self._steps = ExitStack()
        self._advance = self._steps.enter_context(self.step(season, games))
        self._advance(there)

    def done(self, season: str) -> None:
        """Count one more game."""
        self._advance(1)

    def waiting(self, seconds: float, reason: str) -> None:
        """Show the wait before a retry."""
        self.say(f"{reason}; retrying in {seconds:.0f} s")


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
