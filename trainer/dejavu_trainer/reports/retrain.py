"""Output of `retrain`: JSON documents and text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from dejavu_common.rich_console import Console
from dejavu_trainer.data.games import ranges

if TYPE_CHECKING:  # scipy, which reports do not need, takes seconds to load
    from dejavu_trainer.retraining.promotion import Promotion
    from dejavu_trainer.retraining.settings import Challenger, Due


def due_document(due: Due) -> dict[str, Any]:
    """Return whether a new model is due; docs/training.md lists the keys."""
    return {
        "due": bool(due.triggers),
        "triggers": [
            {"kind": each.kind.value, "reason": each.reason, "details": each.details} for each in due.triggers
        ],
        "parent": due.parent,
        "compared_with": due.compared_with,
        "games": due.games,
        "newer_games": due.newer,
        "sources": [asdict(each) for each in due.sources],
    }


def challenger_document(challenger: Challenger) -> dict[str, Any]:
    """Return a challenger that was published; docs/training.md lists the keys."""
    return {
        **due_document(challenger.due),
        "model_version": challenger.model_version,
        "bundle": str(challenger.bundle),
        "seasons": challenger.plan,
        "verdict": challenger.verdict,
        "drift": challenger.drifts,
        "mlflow": None if challenger.tracked is None else asdict(challenger.tracked),
    }


def promotions_document(promotions: Sequence[Promotion] | None) -> dict[str, Any]:
    """Return the answers about staged models; docs/training.md lists the keys. Empty if the server was not asked."""
    return {} if promotions is None else {"promotions": [asdict(each) for each in promotions]}


def print_promotions(console: Console, promotions: Sequence[Promotion]) -> None:
    """Print the answers about staged models."""
    rows = [("Promoted", each.model_version) if each.promoted else ("Staged", each.reason) for each in promotions]
    console.print(_rows(rows or [("Staged", "no model that could be promoted")]))


def print_due(console: Console, due: Due) -> None:
    """Print the met triggers, or that there are none."""
    console.print(_rows(_due_rows(due)))


def print_challenger(console: Console, challenger: Challenger) -> None:
    """Print the published challenger with the reason."""
    plan, verdict, tracked = challenger.plan, challenger.verdict, challenger.tracked
    rows = _due_rows(challenger.due)
    rows += [
        ("Trained on", ranges(list(plan["train"]))),
        ("Calibrated on", ranges(list(plan["calibrate"]))),
        ("Tested on", ranges(list(plan["test"])) or "a part of the calibration games"),
        ("Verdict", f"{'fit' if verdict['fit'] else 'UNFIT'}: {verdict['reason']}"),
        ("Challenger", challenger.model_version),
        ("Bundle", str(challenger.bundle)),
    ]
    if tracked is not None:
        rows.append(("MLflow", f"run {tracked.run_id}, version {tracked.registered_version} at {tracked.uri}"))
    console.print(_rows(rows))


def _due_rows(due: Due) -> list[tuple[str, str]]:
    model = (due.compared_with or "no model") + due.unfit * ", a challenger that was found unfit"
    games = f"{due.games:,}, {due.newer:,} of them newer than those of {model}"
    rows = [("Games", games)]
    rows += [(f"Due: {each.kind.value}", each.details) for each in due.triggers]
    return rows if due.triggers else [*rows, ("Due", "no: no trigger is met")]


def _rows(rows: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in rows:
        table.add_row(Text(name, style="bold"), Text(text))
    return table
