"""The command `ratings`: newer ratings for a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dejavu_common.rich_console import Console
from dejavu_trainer.cli.app import Json, app, exit_on_error, print_json
from dejavu_trainer.reports.ratings import print_refresh, refresh_document


@app.command()
def ratings(
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="LEDGER|GAMES",
            help="Later games: a folder with plays_{season}.parquet, one such file, or a ledger (its path, or "
            "sqlite:///PATH).",
        ),
    ],
    bundle: Annotated[Path, typer.Option(help="Folder of the bundle.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new bundle; by default it replaces the old one.")
    ] = None,
    next_season: Annotated[
        bool, typer.Option("--next-season", help="The season of the newest game is over: rate for the next one.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Update the teams' ratings of a bundle with later games, without fitting anything else."""
    from dejavu_models.registry.bundle import read_manifest
    from dejavu_trainer.data.ledger_export import games_folder
    from dejavu_trainer.refresh import load_later_games, refresh_ratings

    with exit_on_error():
        manifest = read_manifest(bundle)
        with games_folder(source) as folder:
            games = load_later_games(folder, manifest.ratings.date.year)
            refreshed = refresh_ratings(bundle, games, bundle if out is None else out, next_season=next_season)
    document = refresh_document(refreshed)
    if as_json:
        print_json(document)
    else:
        print_refresh(Console(), document)
