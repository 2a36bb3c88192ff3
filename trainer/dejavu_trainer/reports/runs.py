"""Output of the commands that make games and bundles: JSON documents and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from dejavu_common.rich_console import Console
from dejavu_feed.game_ids import regular_games
from dejavu_models.manifest import Manifest
from dejavu_trainer.data.games import ranges
from dejavu_trainer.reports.render import print_rows

if TYPE_CHECKING:  # these import torch and scipy, which take seconds to load
    from dejavu_trainer.pipeline import FitReport
    from dejavu_trainer.publish import Promotion
    from dejavu_trainer.refresh import Refresh
    from dejavu_trainer.retraining.retrain import Challenger, Due

_EXPECTED: Final = {
    "carried": "carried from game to game",
    "frozen": "frozen after training",
    "constant": "home advantage alone",
    "line": "line of a market",
}
"""Labels of the margin forecasts; see `dejavu_trainer.training.ratings.rating_errors`."""

_WHOLE: Final = 0.97
"""Share of a regular season from which on it counts as complete."""


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


def _weights_line(weights: Sequence[Mapping[str, Any]]) -> str:
    """Return the ranges of the weights of the components."""
    by_component: dict[str, list[float]] = {}
    for each in weights:
        by_component.setdefault(each["component"], []).append(each["weight"])
    return ", ".join(f"{name} {min(of):.2f} to {max(of):.2f}" for name, of in by_component.items())


def print_fit(console: Console, document: dict[str, Any]) -> None:
    """Print the result of a training run."""
    dejavu, ratings, verdict = document["dejavu"], document["ratings"], document["verdict"]
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
        *(
            (f"  {_EXPECTED[name]}", f"MAE {error['mae']:.2f}, RMSE {error['rmse']:.2f} points")
            for name, error in ratings["errors"].items()
        ),
        ("Dejavu", f"{dejavu['games']:,} games, and as many mirror images; a forecast has {dejavu['similar_games']:,}"),
        ("Weights", _weights_line(document["weights"])),
        _verdict(verdict),
    ]
    if document["note"]:
        rows.append(("Note", document["note"]))
    for metric in document["metrics"]:
        if metric["name"].endswith("mae_over_persistence"):
            _, horizon, minute, *_ = metric["name"].split(".")
            shown = f"MAE {metric['value']:.3f} × persistence [{metric['lower']:.3f}, {metric['upper']:.3f}]"
            name = f"{horizon} from {minute.replace('_', ' ')}"
            rows.append((name, f"{shown}, on all games, by linear models of the other seasons"))
    if run := document.get("mlflow_run"):
        rows.append(("MLflow", f"run {run}"))
    print_rows(console, rows, alarming=("Note", *(() if verdict["fit"] else ("Verdict",))))
    console.print(f"Done in {document['seconds']:.0f} s.", highlight=False)


def _verdict(verdict: dict[str, Any]) -> tuple[str, str]:
    return "Verdict", f"{'fit' if verdict['fit'] else 'UNFIT'}: {verdict['reason']}"


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
        "ratings": {code: round(points, 2) for code, points in refreshed.forecaster.rating_filter.strengths.items()},
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
    strongest = sorted(document["ratings"].items(), key=lambda item: -item[1])
    teams = ", ".join(f"{code} {points:+.1f}" for code, points in [*strongest[:3], *strongest[-3:]])
    missing = ", ".join(map(_season, document["missing_seasons"]))
    rows = [
        ("bundle", document["bundle"]),
        ("model", f"{document['model_version']}, with the models of {document['of_version']}"),
        ("games", f"{document['games']:,}, {document['first_date']} to {document['ratings_date']}"),
        ("ratings", f"as of {document['ratings_date']} (before: {document['ratings_date_before']})"),
        ("season", _season(document["season"])),
        *([("warning", f"no games of {missing}: the ratings do not include them")] if missing else []),
        ("teams", f"{teams} (strongest and weakest, points)"),
    ]
    print_rows(console, rows, alarming=("warning",))


def _season(season: int) -> str:
    return f"{season - 1}–{season % 100:02d}"


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


def print_promotions(console: Console, promotions: Sequence[Promotion]) -> None:
    """Print the answers about staged models."""
    rows = [("Promoted", each.model_version) if each.promoted else ("Staged", each.reason) for each in promotions]
    print_rows(console, rows or [("Staged", "no model that could be promoted")])


def print_retrain(console: Console, due: Due, challenger: Challenger | None) -> None:
    """Print the met triggers, or that there are none, and the challenger if one was published."""
    model = due.basis.model_version + bool(due.basis.unfit_by) * ", a challenger that was found unfit"
    rows = [("Games", f"{due.games:,}, {due.newer:,} of them newer than those of {model}")]
    rows += [(f"Due: {each.kind.value}", each.details) for each in due.triggers] or [("Due", "no: no trigger is met")]
    if challenger is not None:
        plan, tracked, manifest = challenger.plan, challenger.tracked, challenger.manifest
        rows += [
            ("Trained on", ranges(list(plan.train))),
            ("Calibrated on", ranges(list(plan.calibrate))),
            ("Tested on", ranges(list(plan.test)) or "a part of the calibration games"),
            _verdict(manifest.verdict.model_dump(mode="json")),
            ("Challenger", manifest.version),
            ("Bundle", str(challenger.bundle)),
        ]
        if tracked is not None:
            rows.append(("MLflow", f"run {tracked.run_id}, version {tracked.registered_version} at {tracked.uri}"))
    print_rows(console, rows)
