"""The command `import`: converts tables of plays, of this project or another, to a season."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError
from dejavu_feed.files.checked_games import CheckedGames, LeftOutGame
from dejavu_feed.files.reader import read_games
from dejavu_feed.files.source_rows import Source
from dejavu_trainer.cli.app import Json, Overwrite, Season, app, check_free, exit_on_error, print_json
from dejavu_trainer.data.box_scores import box_scores_from
from dejavu_trainer.data.event_files import with_events
from dejavu_trainer.data.games import count_games
from dejavu_trainer.data.plays import plays_table, write_season
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
