"""The command `refresh`: newer ratings for a bundle, from the NBA's lists of games, from files or from a ledger."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote

import typer

from dejavu_common.clock import game_day
from dejavu_common.files import state_folder
from dejavu_common.rich_console import Console
from dejavu_feed.nba.stats_service import STATS_URL, NbaStats
from dejavu_store.bundle import check_target, read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle
from dejavu_trainer.cli.app import Json, Url, app, exit_on_error, parsed, print_json
from dejavu_trainer.data.retries import FetchStopped, RetryingClient
from dejavu_trainer.reports.runs import print_document, refresh_document

if TYPE_CHECKING:
    from dejavu_models.live_ratings import GameResult
    from dejavu_models.manifest import Manifest

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
    from dejavu_trainer.refresh import NothingNewer, refresh_ratings

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
    from dejavu_trainer.data.fetch import fetch_finals
    from dejavu_trainer.refresh import seasons_to_learn

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
    from dejavu_trainer.data.ledger_export import games_folder
    from dejavu_trainer.refresh import load_results

    with games_folder(source, results=True) as folder:
        return load_results(folder, manifest.ratings.date.year)


def _say(text: str) -> None:
    typer.echo(text, err=True)
