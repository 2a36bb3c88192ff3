"""Commands that compare forecasts with outcomes: `evaluate`, `backtest`, `compare` and `study`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dejavu_common.files import write_atomic
from dejavu_common.rich_console import Console
from dejavu_store.bundle import load_bundle
from dejavu_store.default_bundles import default_bundle
from dejavu_trainer.cli.app import (
    CalibrateSeasons,
    Config,
    Data,
    Jobs,
    Json,
    ProgressBars,
    Season,
    Seed,
    Test,
    Where,
    app,
    exit_on_error,
    games_until,
    parsed_execution,
    print_json,
    training_config,
)
from dejavu_trainer.data.games import load_games
from dejavu_trainer.evaluation.backtest import Fold, RunProvenance, document_of, result_of, seasons_needed
from dejavu_trainer.evaluation.backtest import backtest as run_folds
from dejavu_trainer.evaluation.backtest import evaluate as evaluate_bundle
from dejavu_trainer.evaluation.study import check_recipes, compare_walks, compared, read_walk
from dejavu_trainer.reports.backtest import comparison_report, markdown, page, print_report, report_of
from dejavu_trainer.reports.plots import plots
from dejavu_trainer.training.calibrate import NO_CACHE, StageCache
from dejavu_trainer.training.recipe import parse_recipe, read_toml

RESULT, PAGE, SUMMARY, FAN_CHART = "backtest.json", "backtest.html", "backtest.md", "fan-chart.svg"
"""Files that `backtest` writes next to its folds: JSON, HTML report, Markdown, a picture of one game."""

_SEEN = {
    "train": "The model was TRAINED on this season: its metrics are optimistic and do not apply to new games.",
    "calibrate": "The model was CALIBRATED on this season: its metrics are optimistic and do not apply to new games.",
    "ratings": (
        "The bundle's ratings know results up to {date}, after this season began. They are not used here: metrics with"
        " frozen ratings are those of ratings as they stood before it."
    ),
}
"""Warnings by the use that a bundle made of the season of its evaluation."""

STAGES = "stages"
"""Folder of a study beside the folds of each recipe: results of stages that recipes share."""

_Walk = Annotated[
    Path, typer.Argument(help="Folder of a walk-forward: --out of `backtest`, or of a recipe of `study`.")
]


@app.command()
def evaluate(
    data: Data,
    season: Season,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle; the shipped one by default.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a report with plots as one HTML file.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Evaluate a bundle on a season, with reference forecasts of the same games.

    The data must also contain the seasons that the bundle was built from: ratings are carried through them, and the
    reference forecasts are fitted and calibrated on them.
    """
    with exit_on_error():
        forecaster = load_bundle(bundle or default_bundle(), allow_unfit=True)
        with ProgressBars() as bars:
            seasons = seasons_needed(forecaster, season)
            with bars.step("Read the games", len(seasons)) as advance:
                games = load_games(data, seasons, advance)
            with bars.step("Evaluate", 1) as advance:
                result, seen = evaluate_bundle(forecaster, games, season, seed=seed)
                advance(1)
        title = f"Model {forecaster.version} on season {season}: {len(result.table):,} games"
        warning = "" if seen is None else _SEEN[seen].format(date=forecaster.manifest.ratings.date)
        report = report_of(title, result, warning)
        if html is not None:
            write_atomic(html, page(report, plots(result.figures)).encode())
    if as_json:
        shown = {"model_version": forecaster.version, "season": season, "seen": seen}
        print_json(shown | document_of(result))
    else:
        print_report(Console(), report)


@app.command()
def backtest(
    data: Data,
    test: Test,
    out: Annotated[Path, typer.Option(help="Folder for the folds and the reports; a later run resumes from it.")],
    calibrate_seasons: CalibrateSeasons = 2,
    config: Config = None,
    jobs: Jobs = None,
    execution: Where = "loky",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Run a walk-forward backtest of the recipe: for each test season, train only on earlier games.

    Trains on all seasons in the data before the calibration seasons.
    Writes backtest.json, backtest.html, backtest.md and fan-chart.svg into the folder. A run
    that was killed resumes with the unfinished folds.
    """
    recipe, where = training_config(config), parsed_execution(execution, jobs)
    with exit_on_error(), ProgressBars() as bars:
        games, seasons = games_until(bars, data, test)
        with bars.step("Walk forward", len(seasons)) as advance:
            folds = [Fold(recipe, season, calibrate_seasons, seed) for season in seasons]
            tables = run_folds(games, folds, out, execution=where, advance=advance)
        with bars.step("Compute the figures", 1):
            method = RunProvenance(recipe.digest, seed, games.fingerprint, games.fingerprints)
            result = result_of(tables, method)
            report = report_of(f"Walk-forward over {', '.join(map(str, seasons))}", result)
            document, drawn = document_of(result), [*plots(result.figures)]
            write_atomic(out / RESULT, json.dumps(document, allow_nan=False).encode())
            write_atomic(out / SUMMARY, markdown(report).encode())
            write_atomic(out / PAGE, page(report, drawn).encode())
            write_atomic(out / FAN_CHART, drawn[-1].svg.encode())
    if as_json:
        print_json(document)
    else:
        print_report(Console(), report)


@app.command()
def compare(
    walk: _Walk,
    against: _Walk,
    forecaster: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Forecaster of the first, such as served, static, dejavu, lstm or documents.",
        ),
    ] = "served",
    other: Annotated[
        str,
        typer.Option("--against", metavar="NAME", help="Of the second; by default the same."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Compare the forecasts of two walk-forwards game by game, beside persistence."""
    other = other or forecaster
    with exit_on_error():
        rows = [*compared(compare_walks(read_walk(walk), read_walk(against), forecaster, other))]
    if as_json:
        print_json({"metrics": [row._asdict() for row in rows]})
    else:
        first, second = (f"{name} of {folder}" for name, folder in ((forecaster, walk), (other, against)))
        print_report(Console(), comparison_report(f"First: {first}. Second: {second}.", rows))


@app.command()
def study(
    recipes: Annotated[
        list[Path],
        typer.Argument(metavar="RECIPE", help="Files of recipes, two or more; the first is the base."),
    ],
    data: Data,
    test: Test,
    out: Annotated[Path, typer.Option(help="Folder for the folds of each recipe; a later run resumes from it.")],
    forecaster: Annotated[
        str, typer.Option(metavar="NAME", help="Forecaster to compare, such as served, dejavu, lstm or documents.")
    ] = "served",
    calibrate_seasons: CalibrateSeasons = 2,
    jobs: Jobs = None,
    execution: Where = "loky",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Backtest several recipes on the same seasons, and compare each with the first.

    Recipes that cannot differ are refused. A run that was killed resumes with the unfinished folds.
    """
    where = parsed_execution(execution, jobs)
    with exit_on_error(), ProgressBars() as bars:
        read = {str(path): parse_recipe(read_toml(path), str(path)) for path in recipes}
        check_recipes(read, forecaster)
        games, seasons = games_until(bars, data, test)
        # The machines of a cluster need not share a disk.
        stages = StageCache(out / STAGES) if where.address == "loky" else NO_CACHE
        walks = {}
        with bars.step("Walk forward", len(read) * len(seasons)) as advance:
            for name, recipe in read.items():
                folds = [Fold(recipe, season, calibrate_seasons, seed) for season in seasons]
                folder = out / recipe.digest
                tables = run_folds(games, folds, folder, execution=where, stages=stages, advance=advance)
                walks[name] = dict(zip(seasons, tables, strict=True))
        base, *others = walks
        found = {
            name: [*compared(compare_walks(walks[name], walks[base], forecaster, forecaster, len(others)))]
            for name in others
        }
    if as_json:
        documents = [
            {"recipe": name, "digest": read[name].digest, "metrics": [row._asdict() for row in rows]}
            for name, rows in found.items()
        ]
        print_json({"forecaster": forecaster, "base": base, "digest": read[base].digest, "compared": documents})
        return
    for name, rows in found.items():
        title = f"First: {forecaster} of {name}. Second: {forecaster} of {base}."
        print_report(Console(), comparison_report(title, rows, len(found)))
