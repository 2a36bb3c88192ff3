"""Tables of a comparison of two walk-forwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from dejavu_models.types import HORIZONS
from dejavu_trainer.evaluation.walk_comparison import ALL, PairedMetric
from dejavu_trainer.reports.cells import METRIC_NAMES, Table


def tables(paired: Sequence[PairedMetric]) -> Iterator[Table]:
    """Yield a table for each horizon: metrics by season, beside persistence."""
    header = ("", "games", "metric", "first", "second", "persistence", "first − second")
    for horizon in HORIZONS:
        rows = []
        of_horizon = [each for each in paired if each.horizon is horizon]
        for season, group in itertools.groupby(of_horizon, key=lambda each: each.season):
            for each in group:
                percent = 100 if each.metric.startswith("coverage") else 1
                values = (each.value, each.against, each.persistence)
                shown = tuple(f"{percent * value:.{1 if percent > 1 else 4}f}" for value in values)
                difference = f"{each.difference.scaled(percent):+.{2 if percent > 1 else 4}f}"
                label = "all seasons" if season == ALL else season
                rows.append((label, f"{each.games:,}", METRIC_NAMES[each.metric], *shown, difference))
        note = (
            "Means over games and minutes; mean difference of games, with its 95 % interval. Lower scores are better."
        )
        yield Table(f"Forecasts of the {horizon.value}", header, tuple(rows), note)


def document(paired: Sequence[PairedMetric]) -> dict[str, Any]:
    """Return the comparison as JSON."""
    rows = [asdict(each) | {"horizon": each.horizon.value, "difference": each.difference._asdict()} for each in paired]
    return {"metrics": rows}
