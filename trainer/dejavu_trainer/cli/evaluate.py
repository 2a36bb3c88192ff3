"""The commands of dejavu-trainer that hold forecasts against what came: `evaluate`, `backtest` and `adapt`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import default_bundle
from dejavu_trainer.cli.app import Data, Json, Season, Seed, app, print_json, refusing, seasons_of
from dejavu_trainer.cli.progress_bars import ProgressBars
from dejavu_trainer.data.games import load_games

RESULT, PAGE, SUMMARY = "backtest.json", "backtest.html", "backtest.md"
"""What `backtest` writes beside its folds: for programs, for people, and for documentation."""

ADAPTIVE = "adaptive.md"
"""What `adapt` writes beside them."""

Folds = Annotated[
    Path, typer.Option("--out", help="Folder for the folds and the reports; a later run goes on from it.")
]
Test = Annotated[str, typer.Option("--test", help="Seasons to test on, such as 2019-2023; one fold each.")]
CalibrateSeasons = Annotated[
    int, typer.Option(min=1, max=2, help="How many seasons before the one tested are calibrated on.")
]
Prototypes = Annotated[
    int | None,
    typer.Option(min=1, help="Condense each minute's past games into so many prototypes; else keep every game."),
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Folds at a time, of one thread each; as many as there are cores.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Compute every fold anew.")]


@app.command()
def evaluate(
    data: Data,
    season: Season,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle; the one that ships if not given.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a report with plots, as one HTML file.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Hold a bundle's forecasts of a season against what came, beside simpler forecasts of the same games.

    The data must hold the seasons that the bundle was made from, too: ratings are carried through them, and the simpler
    forecasts are fitted and calibrated on them.
    """
    # Late: what scores and draws takes seconds to load, and only these commands need it.
    from dejavu_trainer.evaluation import bundle as bundle_evaluation
    from dejavu_trainer.evaluation.fold_files import write_atomic
    from dejavu_trainer.evaluation.result import to_json
    from dejavu_trainer.reports import (
        html as html_report,
    )
    from dejavu_trainer.reports import (
        text,
    )

    with refusing():
        forecaster = load_bundle(bundle or default_bundle(), allow_unfit=True)
        with ProgressBars() as bars:
            seasons = bundle_evaluation.seasons_needed(forecaster, season)
            with bars.step("Read the games", len(seasons)) as advance:
                games = load_games(data, seasons, advance)
            with bars.step("Evaluate", bundle_evaluation.STEPS) as advance:
                found = bundle_evaluation.evaluate(forecaster, games, season, seed=seed, advance=advance)
        title = f"Model {found.model_version} on the season of {season}: {found.result.games:,} games"
        warning = ""
        if found.seen is not None:
            part = {"train": "TRAINED", "calibrate": "CALIBRATED"}[found.seen]
            warning = f"The model was {part} on this season: these figures flatter it and say nothing about new games."
        if html is not None:
            write_atomic(html, html_report.page(title, found.result, [found.scores], warning).encode())
    if as_json:
        document = json.loads(to_json(found.result))
        print_json({"model_version": found.model_version, "season": season, "seen": found.seen, **document})
    else:
        text.print_result(Console(), title, found.result, warning)


@app.command()
def backtest(
    data: Data,
    test: Test,
    out: Folds,
    calibrate_seasons: CalibrateSeasons = 2,
    prototypes: Prototypes = None,
    jobs: Jobs = None,
    fresh: Fresh = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Try the recipe season by season, each time on nothing but what was known before (walk-forward).

    Trains on all seasons that the data holds before those to calibrate on.
    Writes backtest.json, backtest.html and backtest.md into the folder. A run
    that was killed goes on with the folds that it had not finished.
    """
    from dejavu_trainer.evaluation import backtest as walk_forward
    from dejavu_trainer.evaluation.fold_files import write_atomic
    from dejavu_trainer.evaluation.result import RESULT_STEPS, RunProvenance, result_of, to_json
    from dejavu_trainer.reports import (
        html as html_report,
    )
    from dejavu_trainer.reports import (
        text,
    )
    from dejavu_trainer.training import lstm, recipe

    seasons = seasons_of("--test", test)
    tried = recipe.TrainingConfig(prototypes=prototypes)
    with refusing(lstm.FitError), ProgressBars() as bars:
        there = [season for season in walk_forward.seasons_there(data) if season <= seasons[-1]]
        with bars.step("Read the games", len(there)) as advance:
            games = load_games(data, there, advance)
        with bars.step("Walk forward", len(seasons)) as advance:
            folds = walk_forward.backtest(
                games,
                seasons,
                tried,
                out,
                calibrate_seasons=calibrate_seasons,
                seed=seed,
                jobs=jobs or len(os.sched_getaffinity(0)),
                fresh=fresh,
                advance=advance,
            )
        with bars.step("Take the figures", RESULT_STEPS + 1) as advance:
            method = RunProvenance(tried.digest, prototypes, seed, games.fingerprint)
            result = result_of(folds, method, advance=advance)
            title = f"Walk-forward over {', '.join(map(str, seasons))}"
            write_atomic(out / RESULT, to_json(result).encode())
            write_atomic(out / SUMMARY, text.markdown(title, result).encode())
            write_atomic(out / PAGE, html_report.page(title, result, folds).encode())
            advance(1)
    if as_json:
        document: dict[str, Any] = json.loads(to_json(result))
        print_json(document)
    else:
        text.print_result(Console(), title, result)


@app.command()
def adapt(
    data: Data,
    test: Test,
    out: Folds,
    calibrate_seasons: CalibrateSeasons = 2,
    prototypes: Prototypes = None,
    jobs: Jobs = None,
    fresh: Fresh = False,
    seed: Seed = 0,
) -> None:
    """Live through the seasons of a walk-forward with intervals that adapt, beside static ones.

    Takes the folds that `backtest` has left in the folder, and computes those that are missing. Writes adaptive.md.
    """
    from dejavu_trainer.evaluation import adaptive_study
    from dejavu_trainer.evaluation import backtest as walk_forward
    from dejavu_trainer.evaluation.fold_files import write_atomic
    from dejavu_trainer.reports import adaptive as adaptive_report
    from dejavu_trainer.reports import text
    from dejavu_trainer.training import lstm, recipe

    seasons = seasons_of("--test", test)
    with refusing(lstm.FitError), ProgressBars() as bars:
        there = [season for season in walk_forward.seasons_there(data) if season <= seasons[-1]]
        with bars.step("Read the games", len(there)) as advance:
            games = load_games(data, there, advance)
        with bars.step("Walk forward", len(seasons)) as advance:
            folds = walk_forward.backtest(
                games,
                seasons,
                recipe.TrainingConfig(prototypes=prototypes),
                out,
                calibrate_seasons=calibrate_seasons,
                seed=seed,
                jobs=jobs or len(os.sched_getaffinity(0)),
                fresh=fresh,
                advance=advance,
            )
        lived = []
        with bars.step("Live through the seasons", len(folds)) as advance:
            for fold in folds:
                lived += [adaptive_study.replay_fold(fold, ratings) for ratings in adaptive_study.RATINGS]
                advance(1)
        tables = list(adaptive_report.tables(lived))
        lines = [line for table in tables for line in text.markdown_table(table)]
        write_atomic(out / ADAPTIVE, ("\n".join(lines).rstrip() + "\n").encode())
    console = Console()
    console.width = max(console.width, text.LEAST_WIDTH)
    for table in tables:
        console.print(text.rich_table(table))
