"""Commands that compare recipes: `compare` and `study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dejavu_common.rich_console import Console
from dejavu_trainer.cli.app import (
    CalibrateSeasons,
    Data,
    Jobs,
    Json,
    ProgressBars,
    Seed,
    Test,
    Where,
    app,
    exit_on_error,
    games_until,
    parsed_execution,
    print_json,
)

STAGES = "stages"
"""Folder of a study beside the folds of each recipe: results of stages that recipes share."""

_Walk = Annotated[
    Path, typer.Argument(help="Folder of a walk-forward: --out of `backtest`, or of a recipe of `study`.")
]


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
    from dejavu_trainer.evaluation.study import compare_walks, compared, read_walk
    from dejavu_trainer.reports.backtest import comparison_tables
    from dejavu_trainer.reports.render import print_tables

    other = other or forecaster
    with exit_on_error():
        rows = [*compared(compare_walks(read_walk(walk), read_walk(against), forecaster, other))]
    if as_json:
        print_json({"metrics": [row._asdict() for row in rows]})
    else:
        first, second = (f"{name} of {folder}" for name, folder in ((forecaster, walk), (other, against)))
        print_tables(Console(), f"First: {first}. Second: {second}.", comparison_tables(rows))


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
    from dejavu_trainer.evaluation.backtest import backtest
    from dejavu_trainer.evaluation.study import check_recipes, compare_walks, compared
    from dejavu_trainer.reports.backtest import comparison_tables
    from dejavu_trainer.reports.render import print_tables
    from dejavu_trainer.training.recipe import parse_recipe, read_toml
    from dejavu_trainer.training.stage_cache import NO_CACHE, StageCache

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
                folds = backtest(
                    games,
                    seasons,
                    recipe,
                    out / recipe.digest,
                    calibrate_seasons=calibrate_seasons,
                    seed=seed,
                    execution=where,
                    stages=stages,
                    advance=advance,
                )
                walks[name] = dict(zip(seasons, folds, strict=True))
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
        print_tables(Console(), title, comparison_tables(rows, len(found)))
