"""Output of `fit`, `import`, `simulate` and `fetch`: JSON documents and text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table
from rich.text import Text

from dejavu_common.rich_console import Console
from dejavu_feed.game_ids import regular_games
from dejavu_models.types import HORIZONS
from dejavu_trainer.data.games import ranges

if TYPE_CHECKING:
    from dejavu_trainer.pipeline import FitReport  # imports torch, which reports do not need


_EXPECTED = {
    "carried": "carried from game to game",
    "frozen": "frozen after training",
    "constant": "home advantage alone",
    "line": "line of a market",
}
"""Labels of the margin forecasts; see `dejavu_trainer.training.ratings.rating_errors`."""


def fit_document(fitted: FitReport, seconds: float) -> dict[str, Any]:
    """Return the result of a training run; docs/training.md lists the keys."""
    info, manifest, trained = fitted.forecaster.info, fitted.forecaster.manifest, fitted.trained
    settings = trained.dejavu.settings
    return {
        "bundle": str(fitted.bundle),
        "model_version": info.version,
        "recipe": fitted.recipe.digest,
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
            "entries": info.database_entries,
            "neighbours": settings.neighbours,
            "kernel": settings.kernel.value,
            "recency": settings.recency,
            "scale": dict(zip((horizon.value for horizon in HORIZONS), trained.dejavu.scale, strict=True)),
            "gain": trained.dejavu.gain,
        },
        "lstm": {"epochs": fitted.recipe.lstm.epochs, "parity": trained.lstm.parity},
        "verdict": manifest.verdict.model_dump(mode="json"),
        "note": fitted.note,
        "metrics": [metric.model_dump() for metric in manifest.metrics],
        "seconds": seconds,
    }


def print_fit(console: Console, document: dict[str, Any]) -> None:
    """Print the result of a training run."""
    dejavu, ratings, verdict = document["dejavu"], document["ratings"], document["verdict"]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    errors = [(_EXPECTED[name], error) for name, error in ratings["errors"].items()]
    gain = f"; removes {100 * dejavu['gain']:.1f} % of the linear models' squared error"
    nearest = f"{dejavu['neighbours']} nearest per minute"
    rows = [
        ("Bundle", f"{document['bundle']}, {document['bytes'] / 1e6:.1f} MB"),
        ("Model version", document["model_version"]),
        ("Trained on", f"{document['train_games']:,} games, seasons {ranges(document['train_seasons'])}"),
        (
            "Calibrated on",
            f"{document['calibration_games']:,} games, seasons {ranges(document['calibration_seasons'])}",
        ),
        ("Smallest alpha", f"{document['smallest_alpha']:.4g}"),
        ("Ratings", f"for season {ratings['season']}, as of {ratings['date']}"),
        ("Expected margin", "error before tip-off on the calibration games, by ratings and lines"),
        *((f"  {name}", f"MAE {error['mae']:.2f}, RMSE {error['rmse']:.2f} points") for name, error in errors),
        (
            "Dejavu",
            f"{dejavu['entries']:,} entries; {nearest}, kernel {dejavu['kernel']}{gain}",
        ),
        (
            "LSTM",
            f"{document['lstm']['epochs']} epochs; served vs. torch: at most {document['lstm']['parity']:.1e} points",
        ),
    ]
    for name, text in rows:
        table.add_row(Text(name, style="bold"), Text(text))
    table.add_row(
        Text("Verdict", style="bold"),
        Text("fit" if verdict["fit"] else "UNFIT", style="" if verdict["fit"] else "bold red")
        + Text(f": {verdict['reason']}"),
    )
    if document["note"]:
        table.add_row(Text("Note", style="bold"), Text(document["note"], style="bold red"))
    for metric in document["metrics"]:
        if metric["name"].endswith("mae_over_persistence"):
            _, horizon, minute, *_ = metric["name"].split(".")
            table.add_row(
                Text(f"{horizon} from {minute.replace('_', ' ')}"),
                Text(
                    f"MAE {metric['value']:.3f} × persistence [{metric['lower']:.3f}, {metric['upper']:.3f}],"
                    " on all games, by linear models of the other seasons"
                ),
            )
    if run := document.get("mlflow_run"):
        table.add_row(Text("MLflow", style="bold"), Text(f"run {run}"))
    console.print(table)
    console.print(f"Done in {document['seconds']:.0f} s.", highlight=False)


_WHOLE: Final = 0.97
"""Share of a regular season from which on it counts as complete."""


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
