"""Tables of a result as text cells, for the terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dejavu_models.metrics import Estimate
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics
from dejavu_trainer.evaluation.result import EXPECTATIONS, BacktestResult
from dejavu_trainer.evaluation.verdict import Check

NAMES: Final = {
    "ensemble": "Ensemble",
    "frozen": "… ratings frozen",
    "no_teams": "… no teams",
    "fixed": "… weights 0.4/0.6",
    "dejavu": "Dejavu",
    "lstm": "LSTM",
    "linear": "Linear",
    "persistence": "Persistence",
    "logistic": "Logistic",
}
"""Labels of the forecasters, in display order."""

METRIC_NAMES: Final = {
    "mae": "MAE",
    "rmse": "RMSE",
    "crps": "CRPS",
    **{f"winkler_{level}": f"Winkler {level} %" for level in LEVELS},
    "brier": "Brier",
    "log_loss": "Log loss",
    "ece": "ECE",
    **{f"coverage_{level}": f"{level} % coverage" for level in LEVELS},
    **{f"width_{level}": f"{level} % width" for level in LEVELS},
}

SHOWN_MINUTES: Final = {
    Horizon.HALFTIME.value: ("1", "6", "12", "18", "20", "23"),
    Horizon.FINAL.value: ("1", "6", "12", "18", "24", "30", "36", "42", "47"),
}


@dataclass(frozen=True, slots=True)
class Table:
    """Text table; the first column contains the row labels, each row is as long as the header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(result: BacktestResult) -> Iterator[Table]:
    """Yields all tables of a result, grouped by horizon."""
    yield _tested(result)
    yield _ratings(result)
    for horizon in (each.value for each in HORIZONS):
        by_kind = result.figures[horizon]
        name = horizon.capitalize()
        overall = by_kind["all"]["all"]
        yield _scores(f"{name}: all minutes", overall)
        yield _differences(f"{name}: all minutes, relative to the references", overall)
        if horizon == Horizon.HALFTIME.value:
            minute = by_kind["minute"]["18"]
            yield _scores(f"{name} from minute 18", minute)
            yield _differences(f"{name} from minute 18, relative to the references", minute)
        shown = {minute: by_kind["minute"][minute] for minute in SHOWN_MINUTES[horizon]}
        yield _groups(f"{name}, by minute", "minute", shown)
        for kind, title in (("lead", "|lead|"), ("quarter", "quarter"), ("phase", "phase"), ("season", "season")):
            yield _groups(f"{name}, by {title}", title, by_kind[kind])


CHECKS_TITLES: Final = (
    "Acceptance checks (aims of the shipped recipe; they do not decide the verdict)",
    "Verdict checks",
)
"""Titles of the acceptance checks and of the checks that decide the verdict."""


def checks_table(title: str, checks: Sequence[Check]) -> Table:
    """Builds the table of checks and their results."""
    rows = tuple(("✓" if check.passed else "✗", check.name, check.found, check.promise) for check in checks)
    return Table(title, ("", "check", "result", "required"), rows)


def number(estimate: Estimate | None, metric: str) -> str:
    """Formats an estimate without its interval, with the digits of its metric."""
    if estimate is None:
        return ""
    return f"{100 * estimate.value:.1f}" if metric.startswith("coverage") else f"{estimate.value:.{_digits(metric)}f}"


def in_percent(estimate: Estimate | None) -> str:
    """Formats a share with its interval, in percent and with a sign."""
    return "" if estimate is None else f"{estimate.scaled(100):+.2f}"


def _digits(metric: str) -> int:
    return 4 if metric in {"brier", "log_loss", "ece"} else 2 if metric.startswith(("winkler", "width")) else 3


def _tested(result: BacktestResult) -> Table:
    rows = tuple(
        (
            str(fold.season),
            f"{fold.games:,}",
            _span(fold.train_seasons),
            _span(fold.calibration_seasons),
            f"{fold.calibration_games:,}",
        )
        for fold in result.folds
    )
    header = ("test season", "games", "training seasons", "calibration seasons", "calibration games")
    return Table("Tested seasons", header, rows)


def _span(seasons: Sequence[int]) -> str:
    return f"{seasons[0]}–{seasons[-1]}" if len(seasons) > 1 else "".join(map(str, seasons))


def _ratings(result: BacktestResult) -> Table:
    rows = tuple(
        (name, *(f"{result.ratings[name][metric]:.{_digits(metric)}f}" for metric in ("mae", "rmse")))
        for name in EXPECTATIONS
    )
    note = (
        "Carried: ratings updated after every game. Frozen: as of the start of the season. Home advantage: no ratings."
    )
    return Table("Expected margin before tip-off: error", ("source", "MAE", "RMSE"), rows, note)


def _scores(title: str, group: GroupMetrics) -> Table:
    coverages = (f"coverage_{level}" for level in LEVELS)
    metrics = ("mae", "rmse", "crps", "winkler_95", *coverages, "brier", "log_loss", "ece")
    shown = [metric for metric in metrics if metric in group.values["ensemble"]]
    rows = tuple(
        (label, *(number(group.values[name].get(metric), metric) for metric in shown)) for name, label in NAMES.items()
    )
    note = "Errors, CRPS and Winkler score in points, coverage in %; logistic: probabilities only."
    header = (f"{group.games:,} games", *(METRIC_NAMES[metric] for metric in shown))
    return Table(title, header, rows, note)


def _differences(title: str, group: GroupMetrics) -> Table:
    pairs = [
        (reference, metric)
        for reference, metrics in (
            ("persistence", ("mae", "crps", "brier")),
            ("linear", ("mae", "crps")),
            ("logistic", ("brier", "log_loss")),
        )
        for metric in metrics
    ]
    rows = tuple(
        (
            label,
            *(in_percent(group.relative.get(name, {}).get(reference, {}).get(metric)) for reference, metric in pairs),
        )
        for name, label in NAMES.items()
        if name not in {"persistence", "logistic"}
    )
    header = ("", *(f"{METRIC_NAMES[metric]} / {NAMES[reference].lower()}" for reference, metric in pairs))
    note = "Difference in % of the reference's score; below 0 is better. Paired 95 % bootstrap intervals over games."
    return Table(title, header, rows, note)


def _groups(title: str, kind: str, groups: dict[str, GroupMetrics]) -> Table:
    cells = [
        (name, metric)
        for metric, names in (
            ("mae", ("ensemble", "persistence")),
            ("crps", ("ensemble", "linear", "persistence")),
            ("brier", ("ensemble", "logistic", "persistence")),
            *((f"coverage_{level}", ("ensemble",)) for level in LEVELS),
        )
        for name in names
    ]
    rows = tuple(
        (
            group,
            f"{metrics_of_group.games:,}",
            *(number(metrics_of_group.values[name].get(metric), metric) for name, metric in cells),
        )
        for group, metrics_of_group in groups.items()
    )
    header = (kind, "games", *(_short(name, metric) for name, metric in cells))
    return Table(title, header, rows, "Columns that name no forecaster are the ensemble's.")


def _short(name: str, metric: str) -> str:
    return METRIC_NAMES[metric] if name == "ensemble" else f"{METRIC_NAMES[metric]} {NAMES[name].lower()[:4]}."
