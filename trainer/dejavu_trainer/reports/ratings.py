"""Output of `ratings`: the JSON document and the text."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from dejavu_common.rich_console import Console
from dejavu_trainer.refresh import Refresh


def refresh_document(refreshed: Refresh) -> dict[str, Any]:
    """Return the result of a refresh; docs/training.md lists the keys."""
    manifest, before = refreshed.forecaster.manifest, refreshed.before
    return {
        "bundle": str(refreshed.bundle),
        "model_version": manifest.version,
        "of_version": before.version,
        "games": refreshed.games.games,
        "first_date": refreshed.games.first_date.isoformat(),
        "ratings_date": manifest.ratings.date.isoformat(),
        "ratings_date_before": before.ratings.date.isoformat(),
        "season": manifest.ratings.season,
        "missing_seasons": list(refreshed.missing_seasons),
        "ratings": {code: round(points, 2) for code, points in refreshed.forecaster.ratings.strengths.items()},
    }


def print_refresh(console: Console, document: dict[str, Any]) -> None:
    """Print the document for people."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("bundle", document["bundle"])
    rows.add_row("model", f"{document['model_version']}, with the models of {document['of_version']}")
    rows.add_row("games", f"{document['games']:,}, {document['first_date']} to {document['ratings_date']}")
    rows.add_row("ratings", f"as of {document['ratings_date']} (before: {document['ratings_date_before']})")
    rows.add_row("season", _season(document["season"]))
    if missing := document["missing_seasons"]:
        told = f"no games of {', '.join(map(_season, missing))}: the ratings know nothing of them"
        rows.add_row("[bold red]warning", f"[bold red]{told}")
    strongest = sorted(document["ratings"].items(), key=lambda item: -item[1])
    shown = ", ".join(f"{code} {points:+.1f}" for code, points in [*strongest[:3], *strongest[-3:]])
    rows.add_row("teams", f"{shown} (strongest and weakest, points)")
    console.print(rows)


def _season(season: int) -> str:
    return f"{season - 1}–{season % 100:02d}"
