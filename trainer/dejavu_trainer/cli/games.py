"""Commands that make seasons of games: `fetch` from the NBA, `import` of tables of plays, and `simulate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError
from dejavu_feed.files.checked_games import CheckedGames, LeftOutGame
from dejavu_feed.files.reader import read_games
from dejavu_feed.files.source_rows import Source
from dejavu_feed.nba.stats_service import NbaStats, Stats
from dejavu_trainer.cli.app import (
    Json,
    Overwrite,
    ProgressBars,
    Season,
    Seed,
    Url,
    app,
    check_free,
    exit_on_error,
    parsed,
    print_json,
)
from dejavu_trainer.data.events import box_scores_from, with_events
from dejavu_trainer.data.fetch import FIRST_SEASON, FetchResult, FetchStopped, RetryingClient, fetch
from dejavu_trainer.data.games import count_games, parse_seasons, season_name
from dejavu_trainer.data.plays import plays_table, season_path, write_plays, write_season
from dejavu_trainer.data.simulate import GAMES_A_SEASON, simulate_season
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


SHOWN_PROBLEMS = 20
"""Number of import problems printed to stderr; --json contains all that were found."""

SHOWN_REASONS = 10
"""Number of reasons for leaving games out that are printed to stderr; --json contains all games."""


@app.command("import")
def import_plays(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Tables (CSV, TSV, parquet; with --from also JSON), or folders of them."
        ),
    ],
    season: Season,
    out: Annotated[Path, typer.Option(help="Folder to write plays_{season}.parquet into.")],
    source: Annotated[
        Source, typer.Option("--from", help="Format of the files; plays: the columns of docs/training.md.")
    ] = Source.PLAYS,
    games: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="List of games with GAME_ID, GAME_DATE and MATCHUP (nba_api's LeagueGameLog), for ids and dates; "
            "plays that contradict its teams, WL or PTS are left out.",
        ),
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Table of the events of the same games (columns: docs/data.md), for --from plays; makes "
            "events_{season}.parquet and players_{season}.parquet.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Validate play-by-play files row by row and store a season of them for training."""
    if source is Source.PLAYS and (len(files) > 1 or games is not None):
        raise typer.BadParameter("takes one file and no --games", param_hint="--from plays")
    if source is not Source.PLAYS and events is not None:
        raise typer.BadParameter("needs --from plays; other sources have events in their files", param_hint="--events")
    with exit_on_error():
        for file in filter(None, [*files, games, events]):
            if not file.exists():  # reported first, before any other error
                raise DataError(f"{file}: there is no such file")
        check_free(out, season, overwrite=overwrite)
        checked = read_games(files, source, season, games)
        _refuse(files[0], checked, as_json=as_json)
        plays = plays_table(checked.games)
        counted = count_games(files[0], plays)
        checked, without_events = (checked, []) if events is None else with_events(checked, events)
        box_scores, without_players = box_scores_from(checked.games)
        path = write_season(out, season, plays, checked.games, box_scores)
    document = runs.season_document(path, plays, counted, season)
    document |= {
        "events": sum(bool(game.events) for game in checked.games),
        "players": len(box_scores),
        "not_in_list": list(checked.unlisted),
    }
    without = {"not_imported": checked.left_out, "without_events": without_events, "without_players": without_players}
    for (key, each), text in zip(without.items(), ("left out", "no events of", "no players of"), strict=True):
        document[key] = [asdict(game) for game in each]
        _tell(text, each)
    _tell("not in the list", [LeftOutGame(each, "imported under date and home team") for each in checked.unlisted])
    if as_json:
        print_json(document)
    else:
        runs.print_season(Console(), document)


def _refuse(file: Path, checked: CheckedGames, *, as_json: bool) -> None:
    """Print the problems, and raise a DataError that counts them, if there are any."""
    if problems := checked.problems:
        if as_json:
            print_json({"file": str(file), "problems": [asdict(problem) for problem in problems]})
        if len(problems) == 1:
            raise DataError(f"1 problem: {problems[0].located(file)}; nothing was written")
        for problem in problems[:SHOWN_PROBLEMS]:
            typer.echo(problem.located(file), err=True)
        raise DataError(f"{checked.at_least}{len(problems):,} problems; nothing was written")


def _tell(text: str, games: Sequence[LeftOutGame]) -> None:
    """Print a line on each reason to stderr, with the number of its games and the first of them."""
    counts = Counter(game.reason for game in games)
    first = {game.reason: game.game_id for game in reversed(games)}
    for reason, count in counts.most_common(SHOWN_REASONS):
        some = f"{count:,} game{'s' * (count > 1)} ({first[reason]}{', …' * (count > 1)})"
        typer.echo(f"{text} {some}: {reason}", err=True)
    if (more := len(counts) - SHOWN_REASONS) > 0:
        typer.echo(f"{text} games for {more:,} more reasons: --json lists them", err=True)


@app.command()
def simulate(
    season: Annotated[str, typer.Option(help="Year in which the season ends, or a range such as 2031-2033.")],
    out: Annotated[Path, typer.Option(help="Folder to write plays_{season}.parquet into.")],
    seed: Seed = 0,
    games: Annotated[int, typer.Option(min=1, max=GAMES_A_SEASON, help="Games per season.")] = GAMES_A_SEASON,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write seasons of randomly simulated games, to try the trainer without real data."""
    seasons = parsed("--season", parse_seasons, season)
    documents = []
    with exit_on_error(), ProgressBars() as bars:
        for year in seasons:
            check_free(out, year, overwrite=overwrite)
        with bars.step("Simulate the games", len(seasons) * games) as advance:
            for year in seasons:
                plays = simulate_season(year, seed=seed, games=games, advance=advance)
                path = write_plays(out, year, plays)
                documents.append(runs.season_document(path, plays, count_games(path, plays)))
    if as_json:
        print_json({"seasons": documents})
    else:
        for document in documents:
            runs.print_season(Console(), document)
