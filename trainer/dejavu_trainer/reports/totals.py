"""Tables of forecasts of total points and their references."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics
from dejavu_trainer.evaluation.totals.fold import LINE, LINE_RATE, RIVALS, SERVED
from dejavu_trainer.evaluation.totals.metrics import OTHER_RIVALS
from dejavu_trainer.reports.cells import METRIC_NAMES, Table, in_percent, number

TOTAL_NAMES: Final = {
    "totals": "Total points",
    "frozen": "… ratings frozen",
    "no_teams": "… no teams",
    LINE: "… with the line",
    "pace": "Pace × time",
    "season_mean": "Season's mean",
    LINE_RATE: "Line's rate",
}
"""Labels of the forecasters of totals, in display order; those of the line may be missing."""

SHOWN_MINUTES: Final = ("1", "6", "12", "18", "24", "30", "36", "42", "47")

_NOTE: Final = "Errors, CRPS and Winkler score in points, coverage in %."


def totals(horizon: str, by_kind: Mapping[str, Mapping[str, GroupMetrics]]) -> Iterator[Table]:
    """Yield the tables of a horizon: all minutes, some minutes, and seasons.

    Args:
        horizon: its name, capitalized as at the start of a title.
        by_kind: metrics by kind and name of the group (`compute_total_metrics`).
    """
    metrics = ("mae", "crps", "winkler_95", *(f"coverage_{level}" for level in LEVELS))
    overall = by_kind["all"]["all"]
    rows = tuple(
        (
            label,
            *(number(overall.values[name].get(metric), metric) for metric in metrics),
            *(in_percent(overall.relative.get(name, {}).get(rival, {}).get("crps")) for rival in RIVALS),
        )
        for name, label in TOTAL_NAMES.items()
        if name in overall.values
    )
    header = (f"{overall.games:,} games", *(METRIC_NAMES[metric] for metric in metrics), *_against(RIVALS))
    yield Table(f"{horizon}: total points, all minutes", header, rows, f"{_NOTE} {_PAIRED}")
    minutes = {minute: by_kind["minute"][minute] for minute in SHOWN_MINUTES if minute in by_kind["minute"]}
    minutes |= by_kind.get("late", {})
    for forecaster, rivals in ((SERVED[0], RIVALS), (LINE, OTHER_RIVALS[LINE])):
        if forecaster in overall.values:
            title = f"{horizon}: total points{' with the line' if forecaster == LINE else ''}"
            yield _groups(f"{title}, by minute", "minute", minutes, forecaster, rivals)
            yield _groups(f"{title}, by season", "season", by_kind["season"], forecaster, rivals)


_PAIRED: Final = (
    "Differences of the CRPS in % of the rival's; below 0 is better; paired 95 % bootstrap intervals over games."
)


def _against(rivals: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"CRPS / {TOTAL_NAMES[rival].lower()}" for rival in rivals)


def _groups(
    title: str, kind: str, groups: Mapping[str, GroupMetrics], forecaster: str, rivals: tuple[str, ...]
) -> Table:
    rows = tuple(
        (
            name,
            f"{group.games:,}",
            *(number(group.values[each]["crps"], "crps") for each in (forecaster, *rivals)),
            *(in_percent(group.relative[forecaster].get(rival, {}).get("crps")) for rival in rivals),
            *(number(group.values[forecaster][f"coverage_{level}"], "coverage") for level in LEVELS),
        )
        for name, group in groups.items()
    )
    crps = tuple(f"CRPS {TOTAL_NAMES[each].removeprefix('… ').lower()}" for each in (forecaster, *rivals))
    coverages = tuple(METRIC_NAMES[f"coverage_{level}"] for level in LEVELS)
    return Table(title, (kind, "games", *crps, *_against(rivals), *coverages), rows, _PAIRED)
