"""The commands of dejavu-trainer that read games and fit models: thin, each a few calls into the modules that do it.

Those that hold models against games are in evaluation_commands.py.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dejavu_models.errors import DejavuError
from dejavu_trainer import fit_report
from dejavu_trainer.bars import Bars
from dejavu_trainer.games import DataError, count_games, load_games, parse_seasons
from dejavu_trainer.importing import read_and_check
from dejavu_trainer.plays import season_path, write_plays
from dejavu_trainer.simulate import GAMES_A_SEASON, simulate_season

SHOWN_PROBLEMS = 20
"""How many problems of an import people are shown; --json has them all."""

app = typer.Typer(
    name="dejavu-trainer",
    epilog="Exit codes: 0 done · 1 refused or failed, with the reason on stderr · 2 wrong usage · 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Data = Annotated[
    Path, typer.Option("--data", help="Folder with plays_{season}.parquet, there or in its subfolder nba/.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text for people.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same result.")]
Season = Annotated[int, typer.Option("--season", min=1947, max=2200, help="The year in which the season ends.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a season that is already there.")]


@contextmanager
def refusing(*more: type[Exception]) -> Iterator[None]:
    """Turns what a user can mend into one line on stderr and exit code 1."""
    refusals: tuple[type[Exception], ...] = (DataError, DejavuError, OSError, *more)
    try:
        yield
    except refusals as error:
        typer.echo(f"dejavu-trainer: {error}", err=True)
        raise typer.Exit(1) from error


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dejavu-trainer {version('dejavu-forecast')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Games in, bundles out: fetch, import or simulate seasons, train, calibrate and evaluate."""


def seasons_of(option: str, text: str) -> tuple[int, ...]:
    """The seasons that an option names; wrong usage if it names none."""
    try:
        return parse_seasons(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from error


def print_json(document: dict[str, Any]) -> None:
    """Prints a document to stdout, as the only thing there."""
    json.dump(document, sys.stdout, indent=2, allow_nan=False)
    sys.stdout.write("\n")


@app.command()
def fit(
    data: Data,
    train: Annotated[str, typer.Option(help="Seasons to train on, such as 2015-2021 or 2015,2017-2019.")],
    calibrate: Annotated[str, typer.Option(help="Later seasons, seen by no model, that intervals are made from.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    seed: Seed = 0,
    prototypes: Annotated[
        int | None,
        typer.Option(min=1, help="Condense each minute's past games into so many prototypes; else keep every game."),
    ] = None,
    backtest: Annotated[
        Path | None,
        typer.Option(help="Result of a backtest of the same recipe, whose verdict to take; else one test is made."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train and calibrate the models, and publish them as a bundle."""
    # Late: torch takes seconds to load, and only this command needs it.
    from dejavu_trainer import fit_lstm, pipeline, recipe  # noqa: PLC0415

    to_train, to_calibrate = seasons_of("--train", train), seasons_of("--calibrate", calibrate)
    started = time.monotonic()
    with refusing(fit_lstm.FitError):
        with Bars() as bars:
            seasons = sorted({*to_train, *to_calibrate})
            with bars.stage("Read the games", len(seasons)) as advance:
                games = load_games(data, seasons, advance)
            fitted = pipeline.fit(
                games,
                train=to_train,
                calibrate=to_calibrate,
                out=out,
                seed=seed,
                recipe=recipe.Recipe(prototypes=prototypes),
                backtest=backtest,
                progress=bars,
            )
        document = fit_report.fit_document(fitted, seconds=time.monotonic() - started)
        if as_json:
            print_json(document)
        else:
            fit_report.print_fit(Console(), document)


@app.command("import")
def import_plays(
    file: Annotated[Path, typer.Argument(help="A CSV (*.csv) or parquet file with the columns of docs/data.md.")],
    season: Season,
    out: Annotated[Path, typer.Option(help="Folder to write plays_{season}.parquet into.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Check a file of plays row by row, and keep it as a season that can be trained on."""
    with refusing():
        _check_free(out, season, overwrite=overwrite)
        checked = read_and_check(file, season)
        if checked.problems:
            if as_json:
                print_json({"file": str(file), "problems": [asdict(problem) for problem in checked.problems]})
            for problem in checked.problems[:SHOWN_PROBLEMS]:
                typer.echo(f"{file}: {problem}", err=True)
            raise DataError(f"{file}: {len(checked.problems)} problems; nothing was written")
        counted = count_games(file, checked.plays)
        path = write_plays(out, season, checked.plays)
    document = fit_report.season_document(path, checked.plays, counted)
    if as_json:
        print_json(document)
    else:
        fit_report.print_season(Console(), document)


@app.command()
def simulate(
    season: Annotated[str, typer.Option(help="The year in which it ends; also a range, such as 2031-2033.")],
    out: Annotated[Path, typer.Option(help="Folder to write plays_{season}.parquet into.")],
    seed: Seed = 0,
    games: Annotated[int, typer.Option(min=1, max=GAMES_A_SEASON, help="How many games a season.")] = GAMES_A_SEASON,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write seasons of plausible games out of chance, to try the trainer without real ones."""
    seasons = seasons_of("--season", season)
    documents = []
    with refusing(), Bars() as bars:
        for year in seasons:
            _check_free(out, year, overwrite=overwrite)
        with bars.stage("Play the games", len(seasons) * games) as advance:
            for year in seasons:
                plays = simulate_season(year, seed=seed, games=games, advance=advance)
                path = write_plays(out, year, plays)
                documents.append(fit_report.season_document(path, plays, count_games(path, plays)))
    if as_json:
        print_json({"seasons": documents})
    else:
        for document in documents:
            fit_report.print_season(Console(), document)


def _check_free(folder: Path, season: int, *, overwrite: bool) -> None:
    path = season_path(folder, season)
    if path.exists() and not overwrite:
        raise DataError(f"{path}: is already there; --overwrite replaces it")
