"""The command `import`: converts tables of plays, of this project or another, to a season."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError
from dejavu_feed.event_table import write_events
from dejavu_feed.files.checked_games import CheckedGames, LeftOutGame
from dejavu_feed.files.reader import read_games
from dejavu_feed.files.source_rows import Source
from dejavu_trainer.cli.app import Json, Overwrite, Season, app, check_free, exit_on_error, print_json
from dejavu_trainer.data.games import count_games
from dejavu_trainer.data.plays import events_path, plays_table, write_plays
from dejavu_trainer.reports import runs

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
    strict: Annotated[
        bool, typer.Option("--strict", help="Write nothing if a game contradicts itself or the list.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Validate play-by-play files row by row and store a season of them for training."""
    if source is Source.PLAYS and (len(files) > 1 or games is not None):
        raise typer.BadParameter("takes one file and no --games", param_hint="--from plays")
    with exit_on_error():
        for file in [*files, *([] if games is None else [games])]:
            if not file.exists():  # reported first, before any other error
                raise DataError(f"{file}: there is no such file")
        check_free(out, season, overwrite=overwrite)
        checked = read_games(files, source, season, games)
        if checked.problems:
            _refuse(files, checked, as_json=as_json)
        if strict:
            _refuse_contradictions(checked.left_out)
        plays = plays_table(checked.games)
        counted = count_games(files[0], plays)
        path = write_plays(out, season, plays)
        if events := [(game.game_id, game.events) for game in checked.games if game.events]:
            write_events(events_path(out, season), events)
    document = runs.season_document(path, plays, counted, season)
    if source is not Source.PLAYS:
        document["not_imported"] = [asdict(game) for game in checked.left_out]
        document["not_in_list"] = list(checked.unlisted)
    for line in [*_left_out_lines(checked.left_out), *_unlisted_lines(checked.unlisted)]:
        typer.echo(line, err=True)
    if as_json:
        print_json(document)
    else:
        runs.print_season(Console(), document)


def _refuse_contradictions(left_out: Sequence[LeftOutGame]) -> None:
    """Print the games that contradict themselves or the list; raise a DataError if there are any."""
    contradictions = [game for game in left_out if game.contradicts]
    for line in _left_out_lines(contradictions):
        typer.echo(line, err=True)
    if contradictions:
        count = f"{len(contradictions):,} game{'s' * (len(contradictions) > 1)}"
        raise DataError(f"--strict: {count} with contradictions; nothing was written")


def _refuse(files: Sequence[Path], checked: CheckedGames, *, as_json: bool) -> None:
    """Print the problems; raise a DataError that counts them."""
    problems = checked.problems
    if as_json:
        print_json({"file": str(files[0]), "problems": [_document(asdict(problem)) for problem in problems]})
    if len(problems) == 1:
        raise DataError(f"1 problem: {problems[0].located(files[0])}; nothing was written")
    for problem in problems[:SHOWN_PROBLEMS]:
        typer.echo(problem.located(files[0]), err=True)
    raise DataError(f"{checked.at_least}{len(problems):,} problems; nothing was written")


def _document(problem: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in problem.items() if key != "file" or value}


def _left_out_lines(left_out: Sequence[LeftOutGame]) -> list[str]:
    """Return a line for each reason with the number of games left out for it, and the first of them."""
    counts = Counter(game.reason for game in left_out)
    first = {game.reason: game.game_id for game in reversed(left_out)}
    lines = [
        f"left out {count:,} game{'s' * (count > 1)} ({first[reason]}{', …' * (count > 1)}): {reason}"
        for reason, count in counts.most_common(SHOWN_REASONS)
    ]
    more = len(counts) - len(lines)
    return [*lines, f"and games for {more:,} more reasons: --json lists them"] if more else lines


def _unlisted_lines(ids: Sequence[str]) -> list[str]:
    """Return a line on the games that the list of games does not have; none if it has all."""
    if not ids:
        return []
    games = f"{len(ids):,} game{'s' * (len(ids) > 1)}"
    return [f"{games} not in the list, imported under date and home team ({ids[0]}{', …' * (len(ids) > 1)})"]
