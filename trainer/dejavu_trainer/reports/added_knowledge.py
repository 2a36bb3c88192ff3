"""Tables of forecasts with line-ups, with the line of a betting market and by components, and of the gain of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics
from dejavu_trainer.evaluation.scoring.fold_scores import LINE, PARTS, PLAYERS, STATIC
from dejavu_trainer.reports.cells import METRIC_NAMES, NAMES, Table, in_percent, number

SHOWN_MINUTES: Final = ("1", "6", "12", "18", "24", "30", "36", "42", "45", "47")

_AGAINST: Final = {
    PLAYERS: (("served", "crps"), ("linear", "crps"), ("served", "brier"), ("logistic", "brier")),
    LINE: (("served", "crps"), ("linear_line", "crps"), ("served", "brier"), ("logistic_line", "brier")),
}
"""References and scores of the differences."""

_TITLES: Final = {PLAYERS: "with who plays", LINE: "with the line"}

_NOTES: Final = {
    PLAYERS: "Against the served: what line-ups tell beyond the teams' ratings, which linear and logistic have.",
    LINE: "Against the served: what the line tells beyond the ratings. The other references know the same line.",
}

_NOTE: Final = (
    "Differences in % of the reference's score; below 0 is better; paired 95 % bootstrap intervals over games. {note}"
)


def added_knowledge(horizon: str, by_kind: Mapping[str, Mapping[str, GroupMetrics]]) -> Iterator[Table]:
    """Yield the tables of a horizon by minute and season, without inputs that the tested games do not have.

    Args:
        horizon: its name, capitalized as at the start of a title.
        by_kind: metrics by kind and name of the group (`compute_metrics`).
    """
    minutes = {minute: by_kind["minute"][minute] for minute in SHOWN_MINUTES if minute in by_kind["minute"]}
    by_minute = {**by_kind["all"], **minutes, **by_kind.get("late", {})}
    for name, title in _TITLES.items():
        if name in by_kind["all"]["all"].values:
            yield _groups(f"{horizon}: {title}, by minute", "minute", name, by_minute)
            yield _groups(f"{horizon}: {title}, by season", "season", name, by_kind["season"])
    yield _components(f"{horizon}: point forecasts by components, by minute", by_minute)


def _components(title: str, groups: Mapping[str, GroupMetrics]) -> Table:
    """Return the table of the components as point forecasts."""
    reference = STATIC["served"]
    rows = tuple(
        (
            name,
            f"{group.games:,}",
            number(group.values[reference]["crps"], "crps"),
            *(
                in_percent(group.relative[part].get(reference, {}).get(metric))
                for metric in ("crps", "brier")
                for part in PARTS
            ),
        )
        for name, group in groups.items()
    )
    header = (f"{METRIC_NAMES[metric]} {NAMES[part]}" for metric in ("crps", "brier") for part in PARTS)
    note = "Against the linear models' point with the same tables: no component is part of the served forecast."
    return Table(title, ("minute", "games", "CRPS", *header), rows, _NOTE.format(note=note))


def _groups(title: str, kind: str, forecaster: str, groups: Mapping[str, GroupMetrics]) -> Table:
    compared, note = _AGAINST[forecaster], _NOTES[forecaster]
    rows = tuple(
        (
            name,
            f"{group.games:,}",
            *(number(group.values[forecaster][metric], metric) for metric in ("crps", "brier")),
            *(in_percent(group.relative[forecaster].get(reference, {}).get(metric)) for reference, metric in compared),
            *(number(group.values[forecaster].get(f"coverage_{level}"), "coverage") for level in LEVELS),
        )
        for name, group in groups.items()
    )
    scores = tuple(METRIC_NAMES[metric] for metric in ("crps", "brier"))
    against = tuple(f"{METRIC_NAMES[metric]} / {NAMES[reference].lower()}" for reference, metric in compared)
    coverages = tuple(METRIC_NAMES[f"coverage_{level}"] for level in LEVELS)
    return Table(title, (kind, "games", *scores, *against, *coverages), rows, _NOTE.format(note=note))
