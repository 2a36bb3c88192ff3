"""Tables of the forecasts that know the line of a betting market, and of what the line is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics
from dejavu_trainer.evaluation.scoring.fold_scores import LINE
from dejavu_trainer.reports.cells import METRIC_NAMES, NAMES, Table, in_percent, number

SHOWN_MINUTES: Final = ("1", "6", "12", "18", "24", "30", "36", "42", "45", "47")

_AGAINST: Final = (
    ("ensemble", "crps"),
    ("linear_line", "crps"),
    ("ensemble", "brier"),
    ("logistic_line", "brier"),
)
"""References and scores of the differences."""

_NOTE: Final = (
    "Differences in % of the reference's score; below 0 is better; paired 95 % bootstrap intervals over games. Against"
    " the ensemble: what the line tells beyond the ratings. The other references know the same line."
)


def line(horizon: str, by_kind: Mapping[str, Mapping[str, GroupMetrics]]) -> Iterator[Table]:
    """Yield the tables of a horizon: some minutes, and seasons; nothing if the tested games have no lines.

    Args:
        horizon: its name, capitalized as at the start of a title.
        by_kind: metrics by kind and name of the group (`compute_metrics`).
    """
    if LINE not in by_kind["all"]["all"].values:
        return
    minutes = {minute: by_kind["minute"][minute] for minute in SHOWN_MINUTES if minute in by_kind["minute"]}
    by_minute = {**by_kind["all"], **minutes, **by_kind.get("late", {})}
    yield _groups(f"{horizon}: with the line, by minute", "minute", by_minute)
    yield _groups(f"{horizon}: with the line, by season", "season", by_kind["season"])


def _groups(title: str, kind: str, groups: Mapping[str, GroupMetrics]) -> Table:
    rows = tuple(
        (
            name,
            f"{group.games:,}",
            *(number(group.values[LINE][metric], metric) for metric in ("crps", "brier")),
            *(in_percent(group.relative[LINE].get(reference, {}).get(metric)) for reference, metric in _AGAINST),
            *(number(group.values[LINE].get(f"coverage_{level}"), "coverage") for level in LEVELS),
        )
        for name, group in groups.items()
    )
    scores = tuple(METRIC_NAMES[metric] for metric in ("crps", "brier"))
    against = tuple(f"{METRIC_NAMES[metric]} / {NAMES[reference].lower()}" for reference, metric in _AGAINST)
    coverages = tuple(METRIC_NAMES[f"coverage_{level}"] for level in LEVELS)
    return Table(title, (kind, "games", *scores, *against, *coverages), rows, _NOTE)
