"""Tables and JSON of a comparison of two walk-forwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.walk_comparison import ALL, PairedMetric
from dejavu_trainer.reports.labels import METRIC_NAMES
from dejavu_trainer.reports.render import Table, TableColumn, tabulate


def comparison_tables(paired: Sequence[PairedMetric], looks: int = 1) -> tuple[Table, ...]:
    """Return the tables of a comparison: for each horizon, metrics by season, beside persistence.

    Args:
        paired: the metrics.
        looks: number of comparisons for which their intervals hold together.
    """
    note = "Means over games and minutes; mean difference of games, with its 95 % interval. Lower scores are better."
    if looks > 1:
        note += f" The intervals of a row hold together for the {looks} recipes of the study."
    return tuple(
        tabulate(
            f"Forecasts of the {horizon.value}", _COMPARISON, [each for each in paired if each.horizon is horizon], note
        )
        for horizon in HORIZONS
    )


def _mean(each: PairedMetric, value: float) -> str:
    return f"{100 * value:.1f}" if each.metric.startswith("coverage") else f"{value:.4f}"


def _difference(each: PairedMetric) -> str:
    if each.metric.startswith("coverage"):
        return f"{each.difference.scaled(100):+.2f}"
    return f"{each.difference:+.4f}"


_COMPARISON = (
    TableColumn[PairedMetric]("", lambda each: "all seasons" if each.season == ALL else each.season),
    TableColumn[PairedMetric]("games", lambda each: f"{each.games:,}"),
    TableColumn[PairedMetric]("metric", lambda each: METRIC_NAMES[each.metric]),
    TableColumn[PairedMetric]("first", lambda each: _mean(each, each.value)),
    TableColumn[PairedMetric]("second", lambda each: _mean(each, each.against)),
    TableColumn[PairedMetric]("persistence", lambda each: _mean(each, each.persistence)),
    TableColumn[PairedMetric]("first − second", _difference),
)


def comparison_document(paired: Sequence[PairedMetric]) -> dict[str, Any]:
    """Return the comparison as JSON."""
    rows = [asdict(each) | {"horizon": each.horizon.value, "difference": each.difference._asdict()} for each in paired]
    return {"metrics": rows}
