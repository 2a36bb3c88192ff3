"""Shared by the commands of dejavu-trainer: the application, common options, error handling and progress bars."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from dejavu_common import build
from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError, FeedError
from dejavu_models.components.component import Advance
from dejavu_models.errors import DejavuError
from dejavu_trainer.data.games import Games, load_games, parse_seasons
from dejavu_trainer.data.plays import SeasonFile, season_files, season_path
from dejavu_trainer.execution import Execution, Progress, cores
from dejavu_trainer.training.recipe import TrainingConfig, parse_recipe, read_toml

LINE_SECONDS: Final = 10.0
"""Seconds between lines about a step, where no bar can be shown."""

S = TypeVar("S")
T = TypeVar("T")


class _Commands(typer.core.TyperGroup):
    """Lists commands with the first paragraph of their help, which would otherwise be cut at the terminal's width."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if it is unknown."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        return command


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    name="dejavu-trainer",
    epilog="Exit codes: 0 success · 1 refused or failed, reason on stderr · 2 usage error · 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


Data = Annotated[
    Path, typer.Option("--data", help="Folder with plays_{season}.parquet files, directly or in its folder seasons/.")
]


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed; the same seed gives the same result.")]


Url = Annotated[
    str | None, typer.Option("--url", help="Base URL to use instead of https://stats.nba.com, such as a mirror.")
]

Season = Annotated[int, typer.Option("--season", min=1947, max=2200, help="Year in which the season ends.")]


Test = Annotated[str, typer.Option("--test", help="Seasons to test on, such as 2019-2023; one fold per season.")]


CalibrateSeasons = Annotated[
    int, typer.Option(min=1, max=2, help="Number of seasons before the test season to calibrate on.")
]


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML file with settings of the recipe; the others have their defaults."
    ),
]


Store = Annotated[
    str,
    typer.Option(
        "--store", metavar="URL", help="Model store that gets it: a folder, or a URL such as s3://BUCKET/DIR."
    ),
]


Target = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        help="Server of that store, which stages it: it then forecasts in the shadow, as a challenger.",
    ),
]


Mlflow = Annotated[
    str,
    typer.Option("--mlflow", metavar="URI", help="MLflow server that gets it, as a version with the alias challenger."),
]


AllowUnfit = Annotated[bool, typer.Option("--allow-unfit", help="Publish a model whose recipe failed its backtest.")]


Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing season.")]


Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Processes of this machine for folds and other pieces of work; by default one per core."),
]


Where = Annotated[
    str,
    typer.Option(
        "--execution",
        metavar="ADDRESS",
        help="Where folds and other pieces of work run: loky, processes of this machine; ray://HOST:10001, or ray for"
        " the cluster of this machine.",
    ),
]


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn errors that the user can fix into one line on stderr and exit code 1."""
    try:
        yield
    except (FeedError, DejavuError, OSError) as error:
        typer.echo(f"dejavu-trainer: {_in_words(error)}", err=True)
        raise typer.Exit(1) from error


def _in_words(error: Exception) -> str:
    """Return the text of an error; Python's own text of an OSError begins with a number: [Errno 2]."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def check_free(folder: Path, season: int, *, overwrite: bool) -> None:
    """Check that a season may be written to a folder.

    Raises:
        DataError: if the folder has it already, unless it is to be overwritten.
    """
    for path in (season_path(folder, season, kind) for kind in SeasonFile):
        if path.exists() and not overwrite:
            raise DataError(f"{path}: already exists; use --overwrite to replace it")


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(build.described("dejavu-trainer"))
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fetch, import or simulate seasons of games; train, calibrate and evaluate bundles."""


def parsed(option: str, parse: Callable[[S], T], value: S) -> T:
    """Parse the value of an option; raise a usage error if it is invalid."""
    try:
        return parse(value)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"'{option}'") from error


def check_target_has_store(target: str, store: str) -> None:
    """Check that a store is named with a server: it loads a model from the store, which both share.

    Raises:
        typer.BadParameter: if only the server is named.
    """
    if target and not store:
        raise typer.BadParameter("needs --store: the server loads the model from it", param_hint="'--target'")


def training_config(config: Path | None) -> TrainingConfig:
    """Return the recipe of `--config`, or the default one.

    Raises:
        typer.BadParameter: if the file is invalid.
    """
    if config is None:
        return TrainingConfig()
    try:
        return parse_recipe(read_toml(config), str(config))
    except (DataError, OSError) as error:
        raise typer.BadParameter(_in_words(error), param_hint="'--config'") from error


def parsed_execution(address: str, jobs: int | None) -> Execution:
    """Return where pieces of work run by `--execution` and `--jobs`; raise a usage error if the address is invalid."""
    return parsed("--execution", lambda value: Execution(value, jobs or cores()), address)


def games_until(bars: ProgressBars, data: Path, test: str) -> tuple[Games, tuple[int, ...]]:
    """Read the games up to the last of the seasons of `--test`; return them, and these seasons.

    Raises:
        DataError: if there are none, or they are invalid.
        typer.BadParameter: if the seasons are invalid.
    """
    seasons = parsed("--test", parse_seasons, test)
    available = [season for season in season_files(data) if season <= seasons[-1]]
    with bars.step("Read the games", len(available)) as advance:
        return load_games(data, available, advance), seasons


def print_json(document: dict[str, Any]) -> None:
    """Print a document to stdout; nothing else may be printed there."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


class ProgressBars(Progress):
    """Shows one bar per step on a terminal; elsewhere a line about each, and more about those that take long.

    All goes to stderr, since stdout is reserved for the result.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = TextColumn("{task.description:<32}", markup=False), BarColumn(), MofNCompleteColumn()
        times = TimeElapsedColumn(), TimeRemainingColumn()
        self._bars = RichProgress(*columns, *times, console=self._console, disable=not self._console.is_terminal)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def step(self, name: str, total: int) -> Iterator[Advance]:
        """Show a step of `total` units; on success it is complete, even if fewer units were reported."""
        if self._console.is_terminal:
            task = self._bars.add_task(name, total=total)
            yield partial(self._bars.advance, task)
            self._bars.update(task, completed=total)
            return
        began = told = time.monotonic()
        completed = 0

        def say(state: str) -> None:
            nonlocal told
            told = time.monotonic()
            self.say(f"{name}: {state}, {told - began:.0f} s")

        def advance(units: int) -> None:
            nonlocal completed
            completed += units
            if time.monotonic() - told >= LINE_SECONDS:
                say(f"{completed:,} of {total:,}")

        say(f"0 of {total:,}")
        yield advance
        if time.monotonic() - began >= LINE_SECONDS:
            say("done")

    def say(self, text: str) -> None:
        """Print a line, on a terminal above the bars."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
