"""The command `publish`: puts a bundle into a model store, and has a server stage it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dejavu_trainer.cli.app import (
    AllowUnfit,
    Json,
    Mlflow,
    Store,
    Target,
    app,
    check_target_has_store,
    exit_on_error,
    print_json,
)


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
    from dejavu_trainer.publish import publish_bundle

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
