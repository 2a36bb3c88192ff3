"""Commands that compare recipes: `compare` and `study`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dejavu_common.files import write_atomic
from dejavu_common.rich_console import Console
from dejavu_trainer.cli.app import (
    Data,
    Jobs,
    Json,
    ProgressBars,
    Where,
    app,
    exit_on_error,
    parsed_execution,
    print_json,
)
from dejavu_trainer.data.games import load_games

RESULT, PAGE, SUMMARY, STAGES = "study.json", "study.html", "study.md", "stages"
"""What `study` writes into its folder, beside the folds of each recipe."""

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
            help="Forecaster of the first, such as served, static, dejavu, lstm or mean.",
        ),
    ] = "served",
    other: Annotated[
        str,
        typer.Option("--against", metavar="NAME", help="Of the second; by default the same."),
    ] = "",
    as_json: Json = False,
) -> None:
    """Compare the forecasts of two walk-forwards game by game, beside persistence."""
    from dejavu_trainer.evaluation.walk_comparison import compare_walks, read_walk
    from dejavu_trainer.reports.render import print_report
    from dejavu_trainer.reports.studies import comparison_document, comparison_report

    other = other or forecaster
    with exit_on_error():
        paired = compare_walks(read_walk(walk), read_walk(against), forecaster, other)
    if as_json:
        print_json(comparison_document(paired))
    else:
        first, second = (f"{name} of {folder}" for name, folder in ((forecaster, walk), (other, against)))
        print_report(Console(), comparison_report(f"First: {first}. Second: {second}.", paired))


@app.command()
def study(
    plan: Annotated[Path, typer.Argument(metavar="GRID.toml", help="File of the study: seasons, recipe and grid.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder for folds and reports; a later run resumes from it.")],
    looks: Annotated[
        Path | None,
        typer.Option(help="File that counts the recipes looked at by season; by default looks.json beside GRID.toml."),
    ] = None,
    mlflow: Annotated[str, typer.Option(metavar="URI", help="MLflow server to log every recipe to.")] = "",
    jobs: Jobs = None,
    execution: Where = "loky",
    as_json: Json = False,
) -> None:
    """Choose a recipe on some seasons, and judge it on others that no choice has seen.

    Writes study.json, study.html and study.md into the folder. A run that was killed resumes with the unfinished folds.
    """
    from dejavu_trainer.evaluation import study as studies
    from dejavu_trainer.evaluation.backtest import available_seasons
    from dejavu_trainer.reports.render import markdown, page, print_report
    from dejavu_trainer.reports.studies import metrics_of, study_document, study_plot, study_report
    from dejavu_trainer.tracking import MlflowTracker, TrackingError
    from dejavu_trainer.training import lstm_config
    from dejavu_trainer.training.stage_cache import NO_CACHE, StageCache

    where = parsed_execution(execution, jobs)
    with exit_on_error(lstm_config.FitError, TrackingError), ProgressBars() as bars:
        tracker = MlflowTracker(mlflow) if mlflow else None  # first of all: report missing packages before the work
        read = studies.read_plan(plan)
        trials = studies.trials_of(read, str(plan))
        seen = studies.Looks(looks or plan.with_name("looks.json"))
        last = max(*read.choose, *read.judge)
        available = [season for season in available_seasons(data) if season <= last]
        with bars.step("Read the games", len(available)) as advance:
            games = load_games(data, available, advance)
        with bars.step("Walk forward", studies.folds_of(read, trials)) as advance:
            # The machines of a cluster need not share a disk.
            stages = StageCache(out / STAGES) if where.address == "loky" else NO_CACHE
            result = studies.run_study(games, read, trials, out, seen, execution=where, stages=stages, advance=advance)
        report, document = study_report(f"Study {plan.stem}: {len(trials)} recipes", result), study_document(result)
        write_atomic(out / RESULT, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())
        write_atomic(out / SUMMARY, markdown(report).encode())
        write_atomic(out / PAGE, page(report, [study_plot(result)]).encode())
        if tracker is not None:
            for trial in trials:
                tracker.log_trial(plan.stem, trial.name, asdict(trial.recipe), metrics_of(result, trial))
    if as_json:
        print_json(document)
    else:
        print_report(Console(), report)
