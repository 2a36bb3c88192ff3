"""Commands that make bundles and publish them: `fit`, `publish` and `refresh`."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from dejavu_common.clock import game_day
from dejavu_common.files import state_folder
from dejavu_common.rich_console import Console
from dejavu_feed.nba.stats_service import STATS_URL, NbaStats
from dejavu_models.live_ratings import GameResult
from dejavu_models.manifest import Manifest
from dejavu_store.bundle import check_target, read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle
from dejavu_trainer import pipeline
from dejavu_trainer.cli.app import (
    AllowUnfit,
    Config,
    Data,
    Json,
    Mlflow,
    ProgressBars,
    Seed,
    Store,
    Target,
    Url,
    app,
    check_target_has_store,
    exit_on_error,
    parsed,
    print_json,
    training_config,
)
from dejavu_trainer.data.fetch import FetchStopped, RetryingClient, fetch_finals
from dejavu_trainer.data.games import load_games, parse_seasons
from dejavu_trainer.data.ledger_export import games_folder
from dejavu_trainer.pipeline import NothingNewer, load_results, refresh_ratings, seasons_to_learn
from dejavu_trainer.publish import MlflowTracker, publish_bundle
from dejavu_trainer.reports import runs
from dejavu_trainer.reports.runs import print_document, refresh_document


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
def publish(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    store: Store = "",
    target: Target = "",
    mlflow: Mlflow = "",
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Human-readable reason; by default the reason in the bundle's lineage.")
    ] = "",
    allow_unfit: AllowUnfit = False,
    as_json: Json = False,
) -> None:
    """Put a bundle into a model store, and have a running server of this store stage it.

    The bundle is verified first: hashes, and answers to its golden queries. Repeating the command changes nothing.
    """
    if not (store or mlflow):
        raise typer.BadParameter("give --store or --mlflow", param_hint="'--store'")
    check_target_has_store(target, store)

    with exit_on_error():
        done = publish_bundle(bundle, store=store, server=target, mlflow=mlflow, reason=reason, allow_unfit=allow_unfit)
    if as_json:
        print_json(asdict(done))
        return
    if done.store:
        typer.echo(f"{done.model_version} {'is' if done.added else 'was'} in {done.store}")
    if done.server:
        typer.echo(f"{done.model_version} {'is' if done.staged else 'was'} staged by {done.server}")
    if done.mlflow is not None:
        typer.echo(f"{done.model_version} is version {done.mlflow.registered_version} at {done.mlflow.uri}")


_ATTEMPTS: Final = 3
"""Fewer attempts than in a fetch of seasons: somebody is waiting for the result of a refresh."""


@app.command()
def refresh(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="Folder of the bundle; by default the shipped one.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the new bundle. By default, it replaces the old one; a refreshed copy of the shipped "
            "bundle goes to the folder where servers without --bundle look for it."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="LEDGER|GAMES",
            help="Later games, instead of the NBA's list: a folder with plays_{season}.parquet, one such file, or a "
            "ledger (its path, or sqlite:///PATH).",
        ),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Bring the teams' ratings of a bundle up to date with later games, without fitting anything else.

    By default fetches the finals of all days before today from the NBA, at most
    one request every 0.6 s: four for each season since the ratings end, and one
    for each game on neutral ground. Writes the whole bundle or nothing.
    """
    old = bundle or default_bundle()
    target = out or bundle or refreshed_bundle()
    today = game_day(datetime.now(UTC))
    with exit_on_error():
        manifest = read_manifest(old)
        check_target(target)
        results, left_out = _fetched(manifest, url, today) if source is None else (_read(source, manifest), [])
        try:
            learned = refresh_ratings(old, results, target, today)
            document = refresh_document(learned.bundle, learned.forecaster.manifest, left_out, learned)
        except NothingNewer as nothing:
            document = refresh_document(old, manifest, left_out)
            typer.echo(f"{nothing}; nothing was written", err=True)
    if as_json:
        print_json(document)
    elif document["games"]:
        print_document(Console(), document)
        served = "dejavu-server" if target == refreshed_bundle() else f"dejavu-server --bundle {target}"
        typer.echo(f"{served} serves it from its next start, or from a SIGHUP on.")


def _fetched(manifest: Manifest, url: str | None, today: date) -> tuple[list[GameResult], list[str]]:
    """Return the finals from the NBA that the ratings may lack, and the games that have no usable result."""
    folder = state_folder() / "refresh" / quote(url or STATS_URL, safe="")
    client = RetryingClient(
        lambda seconds, reason: _say(f"{reason}; retrying in {seconds:.0f} s"), max_attempts=_ATTEMPTS
    )
    with closing(parsed("--url", NbaStats, url)) as stats:
        try:
            results, left_out = fetch_finals(stats, seasons_to_learn(manifest, today), today, folder, client, _say)
        except FetchStopped as stopped:
            raise FetchStopped(
                f"{stopped}; the bundle is as it was; run the same command again, or give games with --from"
            ) from stopped
    for game in left_out:
        _say(f"left out: {game}")
    return results, left_out


def _read(source: str, manifest: Manifest) -> list[GameResult]:

    with games_folder(source, results=True) as folder:
        return load_results(folder, manifest.ratings.date.year)


def _say(text: str) -> None:
    typer.echo(text, err=True)
