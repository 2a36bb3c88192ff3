"""Commands that make games and fit models: `fit` and `simulate`.

evaluate.py has the commands that evaluate models, import_games.py the one that imports games.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from dejavu_common.rich_console import Console
from dejavu_trainer.cli.app import (
    Config,
    Data,
    Json,
    Overwrite,
    ProgressBars,
    Seed,
    app,
    check_free,
    exit_on_error,
    parsed,
    print_json,
    training_config,
)
from dejavu_trainer.data.games import count_games, load_games, parse_seasons
from dejavu_trainer.data.plays import write_plays
from dejavu_trainer.data.simulate import GAMES_A_SEASON, simulate_season
from dejavu_trainer.reports import runs


@app.command()
def fit(
    data: Data,
    train: Annotated[str, typer.Option(help="Seasons to train on, such as 2015-2021 or 2015,2017-2019.")],
    calibrate: Annotated[
        str,
        typer.Option(
            help="The newest seasons, which calibrate the forecasts: models and their tables are fitted without them, "
            "totals and players' ratings with them. The holdout test is on their last games."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an existing bundle there is replaced.")],
    seed: Seed = 0,
    config: Config = None,
    backtest: Annotated[
        Path | None,
        typer.Option(
            help="Result of a backtest with the same recipe, to take the verdict from; by default, one holdout test."
        ),
    ] = None,
    mlflow: Annotated[
        str, typer.Option(metavar="URI", help="MLflow server to log parameters, metrics, report and bundle to.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Train and calibrate the models, and publish them as a bundle."""
    # Imported late: torch takes seconds to load, and only this command needs it.
    from dejavu_trainer import pipeline
    from dejavu_trainer.tracking import MlflowTracker

    to_train = parsed("--train", parse_seasons, train)
    to_calibrate = parsed("--calibrate", parse_seasons, calibrate)
    recipe = training_config(config)
    started = time.monotonic()
    with exit_on_error():
        tracker = MlflowTracker(mlflow) if mlflow else None  # first of all: report missing packages before the work
        with ProgressBars() as bars:
            seasons = sorted({*to_train, *to_calibrate})
            with bars.step("Read the games", len(seasons)) as advance:
                games = load_games(data, seasons, advance)
            report = pipeline.fit(
                games,
                train=to_train,
                calibrate=to_calibrate,
                out=out,
                seed=seed,
                recipe=recipe,
                backtest=backtest,
                progress=bars,
            )
        document = runs.fit_document(report, seconds=time.monotonic() - started)
        if tracker is not None:
            document["mlflow_run"] = tracker.log(report.bundle, document).run_id
        if as_json:
            print_json(document)
        else:
            runs.print_document(Console(), document)


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
