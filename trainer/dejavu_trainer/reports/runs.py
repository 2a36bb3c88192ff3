"""Output of the commands that make games and bundles: JSON documents, and the same as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dejavu_common.rich_console import Console
from dejavu_feed.game_ids import regular_games
from dejavu_models.manifest import Manifest
from dejavu_trainer.pipeline import FitReport, Refresh
from dejavu_trainer.publish import Promotion
from dejavu_trainer.reports.backtest import print_rows
from dejavu_trainer.retraining.retrain import Challenger, Due

MAX_ROWS: Final = 9
"""Maximum number of records in a list that is shown as text."""

_WHOLE: Final = 0.97
"""Share of a regular season from which on it counts as complete."""


def print_document(console: Console, document: Mapping[str, Any]) -> None:
    """Print a document as text, a row for each key; what is long is only counted: --json has it."""
    rows = [(key.replace("_", " "), text_of(value)) for key, value in document.items() if value not in (None, [], "")]
    verdict = document.get("verdict", {"fit": True})
    print_rows(console, rows, alarming=("note", "missing seasons", *(() if verdict["fit"] else ("verdict",))))


def text_of(value: object) -> str:
    """Return the text of a value of a document."""
    match value:
        case {"fit": bool(fit), "reason": reason}:
            return f"{'fit' if fit else 'UNFIT'}: {reason}"
        case dict():
            return ", ".join(f"{name.replace('_', ' ')} {text_of(each)}" for name, each in value.items())
        case [dict(), *_]:
            return f"{len(value):,} (see --json)" if len(value) > MAX_ROWS else "; ".join(map(text_of, value))
        case [*_]:
            return ", ".join(map(text_of, value))
        case float():
            return f"{value:.4g}"
    return str(value)


def fit_document(fitted: FitReport, seconds: float) -> dict[str, Any]:
    """Return the result of a training run; docs/training.md lists the keys."""
    info, manifest = fitted.forecaster.info, fitted.forecaster.manifest
    return {
        "bundle": str(fitted.bundle),
        "model_version": info.version,
        "recipe": manifest.verdict.recipe,
        "train_seasons": list(info.train_seasons),
        "train_games": info.train_games,
        "calibration_seasons": list(info.calibration_seasons),
        "calibration_games": info.calibration_games,
        "smallest_alpha": info.smallest_alpha,
        "bytes": sum(file.stat().st_size for file in fitted.bundle.iterdir()),
        "ratings": {
            **manifest.ratings.model_dump(mode="json"),
            "errors": {name: {"mae": mae, "rmse": rmse} for name, (mae, rmse) in fitted.ratings.items()},
        },
        "dejavu": {
            "games": info.past_games,
            "similar_games": info.similar_games,
        },
        "components": list(info.components),
        "weights": [
            each._asdict() | {"horizon": each.horizon.value, "margin_source": each.margin_source.name.lower()}
            for each in info.weights
        ],
        "verdict": manifest.verdict.model_dump(mode="json"),
        "note": fitted.note,
        "metrics": [metric.model_dump() for metric in manifest.metrics],
        "seconds": seconds,
    }


def season_document(path: Path, plays: pa.Table, counted: int, season: int | None = None) -> dict[str, Any]:
    """Return a summary of a season file (docs/training.md).

    Args:
        path: the file.
        plays: its plays.
        counted: number of eligible games.
        season: the year in which the season ends, of real games; None for others.
    """
    games = int(pc.count_distinct(plays["game_id"]).as_py())
    document = {"file": str(path), "rows": len(plays), "games": games, "left_out": games - counted}
    if season is not None:
        of_regular = plays.filter(pc.equal(plays["type"], "RS"))["game_id"]
        document["regular_games"] = int(pc.count_distinct(of_regular).as_py())
        document["regular_games_expected"] = regular_games(season)
    return document


def print_season(console: Console, document: dict[str, Any]) -> None:
    """Print the content of a season file."""
    excluded = f"; {document['left_out']} of them incomplete, left out of training" if document["left_out"] else ""
    regular, expected = (document.get(name, 0) for name in ("regular_games", "regular_games_expected"))
    if regular < _WHOLE * expected:
        excluded += f"; {regular:,} of about {expected:,} games of the regular season"
    console.print(
        f"{document['file']}: {document['rows']:,} rows, {document['games']:,} games{excluded}",
        highlight=False,
        soft_wrap=True,
    )


def refresh_document(
    bundle: Path, manifest: Manifest, left_out: Sequence[str], refreshed: Refresh | None = None
) -> dict[str, Any]:
    """Return the result of a refresh; docs/training.md lists the keys.

    Args:
        bundle: the bundle.
        manifest: its manifest.
        left_out: games without a usable result, each with the reason.
        refreshed: what was learned; None if there was no newer game, and nothing was written.
    """
    document = {
        "bundle": str(bundle),
        "model_version": manifest.version,
        "games": 0,
        "ratings_date": manifest.ratings.date.isoformat(),
        "season": manifest.ratings.season,
        "left_out": list(left_out),
    }
    if refreshed is None:
        return document
    strengths = refreshed.forecaster.rating_filter.strengths
    return document | {
        "of_version": refreshed.before.version,
        "games": refreshed.games.games,
        "first_date": refreshed.games.first_date.isoformat(),
        "ratings_date_before": refreshed.before.ratings.date.isoformat(),
        "missing_seasons": list(refreshed.missing_seasons),
        "ratings": {code: round(points, 2) for code, points in strengths.items()},
    }


def retrain_document(due: Due, challenger: Challenger | None, promotions: Sequence[Promotion] | None) -> dict[str, Any]:
    """Return the result of a retrain; docs/training.md lists the keys.

    Args:
        due: whether a new model is due.
        challenger: the one that was published; None if there is none.
        promotions: the answers about staged models; None if the server was not asked.
    """
    document: dict[str, Any] = {} if promotions is None else {"promotions": [asdict(each) for each in promotions]}
    document |= {
        "due": bool(due.triggers),
        "triggers": [
            {"kind": each.kind.value, "reason": each.reason, "details": each.details} for each in due.triggers
        ],
        "parent": due.parent,
        "compared_with": due.basis.model_version,
        "games": due.games,
        "newer_games": due.newer,
        "sources": [asdict(each) for each in due.sources],
    }
    if challenger is not None:
        document |= {
            "model_version": challenger.manifest.version,
            "bundle": str(challenger.bundle),
            "seasons": asdict(challenger.plan),
            "verdict": challenger.manifest.verdict.model_dump(mode="json"),
            "drift": challenger.drifts,
            "mlflow": None if challenger.tracked is None else asdict(challenger.tracked),
        }
    return document
