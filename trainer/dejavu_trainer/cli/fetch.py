"""The command `dejavu-trainer fetch`: seasons from the NBA, with the games that could not be had."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_trainer.cli.app import Json, ProgressBars, Url, app, exit_on_error, parsed, print_json
from dejavu_trainer.data.fetch import FIRST_SEASON, FetchResult, fetch
from dejavu_trainer.data.games import count_games, parse_seasons, season_name
from dejavu_trainer.data.plays import season_path
from dejavu_trainer.data.retries import FetchStopped, RetryingClient
from dejavu_trainer.reports import runs


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
    url: Url = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a season that was not written by fetch.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Fetch seasons of games from the NBA's statistics, at most one request every 0.6 s.

    An interrupted fetch resumes where it stopped. Fetching a season in progress
    again adds the games played since, and those that could not be fetched before.
    """
    requested = parsed("--seasons", _parse, seasons)
    with exit_on_error(), closing(parsed("--url", NbaStats, url)) as stats:
        documents, stopped = _fetch(stats, requested, out, overwrite=overwrite)
    if as_json:
        print_json({"seasons": documents, "stopped": stopped})
    else:
        _print(Console(), documents)
    problems = [stopped] if stopped else []
    problems += [
        f"{len(document['missing'])} games of {document['season']} could not be fetched; run the same command again to"
        " retry"
        for document in documents
        if document["missing"]
    ]
    for problem in problems:
        typer.echo(f"dejavu-trainer: {problem}", err=True)
    if problems:
        raise typer.Exit(1)


def _parse(text: str) -> tuple[int, ...]:
    seasons = parse_seasons(text)
    if seasons[0] < FIRST_SEASON:
        raise ValueError(f"the NBA has plays from {season_name(FIRST_SEASON)} on, not of {season_name(seasons[0])}")
    return seasons


def _fetch(stats: Stats, seasons: Sequence[int], out: Path, *, overwrite: bool) -> tuple[list[dict[str, Any]], str]:
    """Return a document per fetched season, and the reason why the fetch stopped early ("" if it did not)."""
    documents = list[dict[str, Any]]()
    with ProgressBars() as bars:
        client = RetryingClient(lambda seconds, reason: bars.say(f"{reason}; retrying in {seconds:.0f} s"))
        try:
            for fetched in fetch(stats, seasons, out, client, bars, bars.say, overwrite=overwrite):
                documents.append(_document(out, fetched))
        except FetchStopped as error:
            return documents, f"{error}; run the same command again to resume"
        except DataError as error:
            return documents, str(error)
    return documents, ""


def _document(out: Path, fetched: FetchResult) -> dict[str, Any]:
    """Return the result of a season for --json."""
    document: dict[str, Any] = {"file": None, "rows": 0, "games": 0, "left_out": 0}
    if len(fetched.plays):
        path = season_path(out, fetched.season)
        try:
            counted = count_games(path, fetched.plays)
        except DataError:  # none of its games is complete
            counted = 0
        document = runs.season_document(path, fetched.plays, counted, fetched.season)
    return {
        "season": season_name(fetched.season),
        **document,
        "not_over": fetched.not_over,
        "missing": [
            {"game_id": game.game_id, "date": game.date.isoformat(), "teams": game.teams, "reason": reason}
            for game, reason in fetched.missing
        ],
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
