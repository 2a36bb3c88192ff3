"""Command that checks a component that plugs in: `check-component`."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from dejavu_common.rich_console import Console
from dejavu_models.types import HORIZONS
from dejavu_trainer.cli.app import (
    Config,
    Json,
    ProgressBars,
    Seed,
    app,
    exit_on_error,
    parsed,
    print_json,
    training_config,
)
from dejavu_trainer.data.games import Games, load_games, parse_seasons
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import simulate_season
from dejavu_trainer.reports.fit import component_document

if TYPE_CHECKING:
    from dejavu_trainer.training.component_check import ComponentCheck  # scipy takes seconds to load

_SEASONS: Final = (2031, 2032)
_GAMES: Final = 150
"""Simulated games of each of these seasons, if no data are given."""


@app.command("check-component")
def check_component(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of its entry point.")],
    config: Config = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder with real games to fit to; by default a few simulated ones are made."),
    ] = None,
    season: Annotated[str, typer.Option(help="Seasons of --data to fit to, such as 2019-2021.")] = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Fit a component that plugs in, without the other models, and say whether a server would take it.

    Its settings are those of the recipe of --config, if it is there. Exit code 1 if it is refused, or a second fit
    gives another model. Takes seconds; a backtest says whether the component is any good.
    """
    from dejavu_trainer.training import component_check
    from dejavu_trainer.training.components import choose_components
    from dejavu_trainer.training.lstm_config import FitError

    if (data is None) != (not season):
        raise typer.BadParameter("expected with --data, and only then", param_hint="'--season'")
    recipe, seasons = training_config(config, None), parsed("--season", parse_seasons, season) if season else []
    with exit_on_error(FitError), ProgressBars() as bars:
        [choice] = [each for each in recipe.components if each.name == name] or choose_components({name: {}})
        games = _simulated(bars) if data is None else load_games(data, seasons)
        checked = component_check.check_component(choice, games, recipe, seed, bars)
    if as_json:
        print_json(_document(checked))
    else:
        _print(Console(), checked, simulated=data is None)
    if not checked.repeats:
        raise typer.Exit(1)


def _simulated(bars: ProgressBars) -> Games:
    with tempfile.TemporaryDirectory() as folder, bars.step("Simulate the games", len(_SEASONS) * _GAMES) as advance:
        for season in _SEASONS:
            write_plays(Path(folder), season, simulate_season(season, games=_GAMES, advance=advance))
        return load_games(Path(folder), _SEASONS)


def _document(checked: ComponentCheck) -> dict[str, Any]:
    trained = checked.trained
    return {
        **asdict(checked.choice),
        **component_document(trained),
        "games": checked.games,
        "bytes": len(trained.content),
        "fit_seconds": checked.fit_seconds,
        "row_seconds": checked.row_seconds,
        "repeated": checked.repeated,
        "repeats": checked.repeats,
    }


def _print(console: Console, checked: ComponentCheck, *, simulated: bool) -> None:
    trained, choice = checked.trained, checked.choice
    settings = ", ".join(f"{name} = {value}" for name, value in choice.settings.items()) or "none"
    same = "the same model" if checked.repeats else f"another model, by up to {checked.repeated:.3g} points"
    weights = ", ".join(
        f"{weight:.2f} ({horizon.value})" for horizon, weight in zip(HORIZONS, trained.weight, strict=True)
    )
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for title, text in (
        ("Component", f"{choice.name} of {choice.package} {choice.version}; settings: {settings}"),
        ("Fit", f"{checked.games:,} games in {checked.fit_seconds:.1f} s"),
        ("Graph", f"{len(trained.content):,} bytes, {1000 * checked.row_seconds:.3f} ms a row; a server would take it"),
        ("Graph vs. component", f"at most {trained.parity:.1e} points"),
        ("A second fit", f"gives {same}"),
        ("Weight", f"{weights}, on the last {checked.later:,} games"),
        ("Gain", f"{100 * trained.gain:.2f} % of the linear models' squared error on those games"),
        ("Unweighted", f"{100 * trained.unweighted_gain:.2f} %; below 0, the corrections add to the error"),
    ):
        table.add_row(Text(title, style="bold"), Text(text))
    console.print(table)
    if not checked.repeats:
        console.print(Text("Seed it with the seed of `fit`: otherwise no backtest can be repeated.", style="bold red"))
    note = "Weight and gain are of few games: a backtest of whole seasons says whether it is any good."
    if simulated:
        note = "The games were simulated: weight and gain mean nothing. Give real ones by --data and --season."
    console.print(Text(note))
