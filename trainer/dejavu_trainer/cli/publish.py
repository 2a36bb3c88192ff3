"""The command `publish`: puts a bundle into a model store, and has a server stage it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dejavu_trainer.cli.app import Json, app, check_target_has_store, exit_on_error, print_json


@app.command()
def publish(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    store: Annotated[
        str, typer.Option(metavar="URL", help="Model store to put it into: a folder, or a URL such as s3://BUCKET/DIR.")
    ] = "",
    target: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Server of that store, to stage it: it forecasts in the shadow, as a challenger."
        ),
    ] = "",
    mlflow: Annotated[
        str, typer.Option(metavar="URI", help="MLflow server to register it with, with the alias challenger.")
    ] = "",
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Human-readable reason; by default the reason in the bundle's lineage.")
    ] = "",
    allow_unfit: Annotated[
        bool, typer.Option("--allow-unfit", help="Store a bundle whose recipe failed its backtest.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a bundle into a model store, and have a running server of this store stage it.

    The bundle is verified first: hashes, and answers to its golden queries. Repeating the command changes nothing.
    """
    if not (store or mlflow):
        raise typer.BadParameter("give --store or --mlflow", param_hint="'--store'")
    check_target_has_store(target, store)
    from dejavu_trainer.publish import publish_bundle
    from dejavu_trainer.tracking import MlflowTracker

    with exit_on_error():
        done = publish_bundle(bundle, store=store, server=target, reason=reason, allow_unfit=allow_unfit)
        tracked = MlflowTracker(mlflow).register(bundle) if mlflow else None
    document = {
        "model_version": done.manifest.version,
        "store": done.store,
        "added": done.added,
        "server": done.server,
        "staged": done.staged,
        "mlflow": None if tracked is None else asdict(tracked),
    }
    if as_json:
        print_json(document)
        return
    if done.store:
        typer.echo(f"{done.manifest.version} {'is' if done.added else 'was'} in {done.store}")
    if done.server:
        typer.echo(f"{done.manifest.version} {'is' if done.staged else 'was'} staged by {done.server}")
    if tracked is not None:
        typer.echo(f"{done.manifest.version} is version {tracked.registered_version} at {tracked.uri}")
