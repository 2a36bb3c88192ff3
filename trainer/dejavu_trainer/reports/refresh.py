"""Output of `refresh`: the JSON document and the text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from dejavu_common.rich_console import Console
from dejavu_models.manifest import Manifest
from dejavu_trainer.refresh import Refresh


def refresh_document(refreshed: Refresh, left_out: Sequence[str] = ()) -> dict[str, Any]:
    """Return the result of a refresh; docs/training.md lists the keys.

    Args:
        refreshed: the refresh.
        left_out: games without a usable result, each with the reason.
    """
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
        "left_out": list(left_out),
        "ratings": {code: round(points, 2) for code, points in refreshed.forecaster.ratings.strengths.items()},
    }


def unchanged_document(bundle: Path, manifest: Manifest, left_out: Sequence[str]) -> dict[str, Any]:
    """Return the result of a refresh without a newer game, which wrote nothing."""
    return {
        "bundle": str(bundle),
        "model_version": manifest.version,
        "games": 0,
        "ratings_date": manifest.ratings.date.isoformat(),
        "season": manifest.ratings.season,
        "left_out": list(left_out),
    }


def print_refresh(console: Console, document: dict[str, Any]) -> None:
    """Print the document as text."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("bundle", document["bundle"])
    rows.add_row("model", f"{document['model_version']}, with the models of {document['of_version']}")
    rows.add_row("games", f"{document['games']:,}, {document['first_date']} to {document['ratings_date']}")
    rows.add_row("ratings", f"as of {document['ratings_date']} (before: {document['ratings_date_before']})")
    rows.add_row("season", _season(document["season"]))
    if missing := document["missing_seasons"]:
        told = f"no games of {', '.join(map(_season, missing))}: the ratings do not include them"
        rows.add_row("warning", told, style="bold red")
    strongest = sorted(document["ratings"].items(), key=lambda item: -item[1])
    shown = ", ".join(f"{code} {points:+.1f}" for code, points in [*strongest[:3], *strongest[-3:]])
    rows.add_row("teams", f"{shown} (strongest and weakest, points)")
    console.print(rows)


def _season(season: int) -> str:
    return f"{season - 1}–{season % 100:02d}"
