"""Tables of a result as text cells, for the terminal, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.acceptance import missed
from dejavu_trainer.evaluation.checks import Check
from dejavu_trainer.evaluation.metrics import LEVELS, GroupMetrics
from dejavu_trainer.evaluation.result import EXPECTATIONS, BacktestResult
from dejavu_trainer.evaluation.scoring.fold_scores import CEILING, LINE, OF_LINE, PARTS, PLAYERS
from dejavu_trainer.reports.added_knowledge import added_knowledge
from dejavu_trainer.reports.cells import METRIC_NAMES, NAMES, Table, digits, in_percent, number
from dejavu_trainer.reports.limits import ceiling, group_power, season_coverage
from dejavu_trainer.reports.moments import moments
from dejavu_trainer.reports.totals import totals

SHOWN_MINUTES: Final = {
    Horizon.HALFTIME.value: ("1", "6", "12", "18", "20", "23"),
    Horizon.FINAL.value: ("1", "6", "12", "18", "24", "30", "36", "42", "47"),
}


def tables(result: BacktestResult) -> Iterator[Table]:
    """Yield all tables of a result, grouped by horizon."""
    yield _tested(result)
    yield _ratings(result)
    yield from ceiling(result)
    yield from season_coverage(result)
    yield from group_power(result)
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
        yield from added_knowledge(name, by_kind)
        if result.totals is not None:
            yield from totals(name, result.totals[horizon])
        if result.moments is not None and result.moments.get(horizon):
            yield moments(name, result.moments[horizon])
        for kind, title in (("lead", "|lead|"), ("quarter", "quarter"), ("phase", "phase"), ("season", "season")):
            yield _groups(f"{name}, by {title}", title, by_kind[kind])


class CheckList(NamedTuple):
    """Checks under a title, with a common remark, which may be empty."""

    title: str
    summary: str
    checks: tuple[Check, ...]


def check_lists(result: BacktestResult) -> tuple[CheckList, CheckList]:
    """Return the acceptance checks and the checks that decide the verdict."""
    return (
        CheckList(
            "Acceptance checks (aims of the recipe; they do not decide the verdict)",
            f"Of the aims, {missed(result.promises)}",
            result.promises,
        ),
        CheckList("Verdict checks", "", result.verdict.checks),
    )


def checks_table(checks: CheckList) -> Table:
    """Build the table of checks and their results."""
    rows = tuple(("✓" if check.passed else "✗", check.name, check.found, check.promise) for check in checks.checks)
    return Table(checks.title, ("", "check", "result", "required"), rows, checks.summary)


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
        (name, *(f"{result.ratings[name][metric]:.{digits(metric)}f}" for metric in ("mae", "rmse")))
        for name in EXPECTATIONS
    )
    note = (
        "Hindsight: ratings from all other games of the season, later ones too, for comparison only. Carried: ratings"
        " updated after every game. Frozen: as of the start of the season. Home advantage: no ratings."
    )
    return Table("Expected margin before tip-off: error", ("source", "MAE", "RMSE"), rows, note)


def _scores(title: str, group: GroupMetrics) -> Table:
    coverages = (f"coverage_{level}" for level in LEVELS)
    metrics = ("mae", "rmse", "crps", "winkler_95", *coverages, "brier", "log_loss", "ece")
    shown = [metric for metric in metrics if metric in group.values["served"]]
    rows = tuple(
        (label, *(number(group.values[name].get(metric), metric) for metric in shown))
        for name, label in NAMES.items()
        if name not in CEILING and name in group.values
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
        if name not in {"persistence", "logistic", *CEILING, *PARTS, LINE, *OF_LINE, PLAYERS}
    )
    header = ("", *(f"{METRIC_NAMES[metric]} / {NAMES[reference].lower()}" for reference, metric in pairs))
    note = "Difference in % of the reference's score; below 0 is better. Paired 95 % bootstrap intervals over games."
    return Table(title, header, rows, note)


def _groups(title: str, kind: str, groups: dict[str, GroupMetrics]) -> Table:
    cells = [
        (name, metric)
        for metric, names in (
            ("mae", ("served", "persistence")),
            ("crps", ("served", "linear", "persistence")),
            ("brier", ("served", "logistic", "persistence")),
            *((f"coverage_{level}", ("served",)) for level in LEVELS),
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
    return Table(title, header, rows, "Columns without a forecaster's name are those of the served forecasts.")


def _short(name: str, metric: str) -> str:
    return METRIC_NAMES[metric] if name == "served" else f"{METRIC_NAMES[metric]} {NAMES[name].lower()[:4]}."
