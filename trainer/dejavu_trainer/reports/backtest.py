"""Report of a walk-forward or of a bundle on a season: checks, verdict and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from dejavu_models.metrics import Estimate
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.acceptance import missed
from dejavu_trainer.evaluation.coverage import POWER, GroupPower
from dejavu_trainer.evaluation.metrics import LATE_NAME, LEVELS, GroupMetrics
from dejavu_trainer.evaluation.moments import MomentBand
from dejavu_trainer.evaluation.result import EXPECTATIONS, BacktestResult, FoldInfo
from dejavu_trainer.evaluation.scoring.fold_scores import CEILING, LINE, OF_LINE, PARTS, PLAYERS, STATIC
from dejavu_trainer.evaluation.scoring.totals import LINE as TOTAL_LINE
from dejavu_trainer.evaluation.scoring.totals import RIVALS, SERVED
from dejavu_trainer.evaluation.season_coverage import SeasonCoverage
from dejavu_trainer.evaluation.total_metrics import OTHER_RIVALS
from dejavu_trainer.evaluation.verdict import Check
from dejavu_trainer.reports.labels import METRIC_NAMES, NAMES, TOTAL_NAMES, in_percent, number
from dejavu_trainer.reports.render import FAILED, PASSED, EvaluationReport, Table, TableColumn, tabulate

COVERAGES: Final = tuple(f"coverage_{level}" for level in LEVELS)

SHOWN_MINUTES: Final = {
    Horizon.HALFTIME.value: ("1", "6", "12", "18", "20", "23"),
    Horizon.FINAL.value: ("1", "6", "12", "18", "24", "30", "36", "42", "47"),
}

COMPARED_MINUTES: Final = ("1", "6", "12", "18", "24", "30", "36", "42", "45", "47")
"""Minutes in the tables of what forecasters with other inputs add."""

_SCORES_NOTE: Final = "Errors, CRPS and Winkler score in points, coverage in %"

_PAIRED: Final = "below 0 is better; paired 95 % bootstrap intervals over games."

_CEILING_NOTE: Final = (
    "Linear and logistic: fitted on all earlier games. Diffusion: a Brownian motion with the expected margin as its"
    " drift and one volatility (Stern 1994). Linear, ratings in hindsight: the linear models with expected margins from"
    " all other games of the season, later ones too, which no forecast can have: what perfect knowledge of each team's"
    " mean strength would bring. It does not know who plays, how often a team rests or how its strength changes, and"
    " uses nothing of the game but the lead. Published models: of ESPN's win probabilities, Yeh, Rice & Dubin (The"
    " American Statistician 76, 2022, abstract) found that they are well calibrated and better than naive models, but"
    " not significantly better than logistic regressions on the teams' relative strength and the score difference,"
    " which is what the logistic row is; their games are others, so no figure stands here. Relative columns: % of the"
    " reference's score, below 0 is better, paired 95 % bootstrap intervals over games."
)


def report_of(title: str, result: BacktestResult, warning: str = "") -> EvaluationReport:
    """Return the report of a result, with a warning if there is one."""
    return EvaluationReport(
        title,
        _method_line(result),
        tuple(tables(result)),
        (
            _checks(
                "Acceptance checks (aims of the recipe; they do not decide the verdict)",
                result.promises,
                f"Of the aims, {missed(result.promises)}",
            ),
            _checks("Verdict checks", result.verdict.checks),
        ),
        result.verdict.fit,
        result.verdict.reason,
        warning,
    )


def _method_line(result: BacktestResult) -> str:
    method = result.method
    return f"Recipe {method.recipe}, seed {method.seed}; {result.games:,} test games; data {method.data[:16]}."


def _checks(title: str, checks: Iterable[Check], note: str = "") -> Table:
    rows = tuple((PASSED if each.passed else FAILED, each.name, each.found, each.promise) for each in checks)
    return Table(title, ("", "check", "result", "required"), rows, note, prose=True)


def tables(result: BacktestResult) -> Iterator[Table]:
    """Yield all tables of a result, grouped by horizon."""
    yield tabulate("Tested seasons", _TESTED, result.folds)
    errors = [(name, result.ratings[name]) for name in EXPECTATIONS]
    yield tabulate("Expected margin before tip-off: error", _RATINGS, errors, _RATINGS_NOTE)
    yield _ceiling(result)
    yield from _season_coverage(result)
    if result.power:
        title = "Power of the test of groups by minute and |lead|"
        yield tabulate(title, _POWER, result.power, _POWER_NOTE)
    for horizon in (each.value for each in HORIZONS):
        by_kind = result.figures[horizon]
        name = horizon.capitalize()
        overall = by_kind["all"]["all"]
        yield _scores(f"{name}: all minutes", overall)
        yield _differences(f"{name}: all minutes, relative to the references", overall)
        yield _season_intervals(f"{name}: intervals that follow the season", {**by_kind["season"], **by_kind["all"]})
        if horizon == Horizon.HALFTIME.value:
            minute = by_kind["minute"]["18"]
            yield _scores(f"{name} from minute 18", minute)
            yield _differences(f"{name} from minute 18, relative to the references", minute)
        shown = {minute: by_kind["minute"][minute] for minute in SHOWN_MINUTES[horizon]}
        yield _groups(f"{name}, by minute", "minute", shown)
        yield from added_knowledge(name, by_kind)
        if result.totals is not None:
            yield from _totals(name, result.totals[horizon])
        if result.moments is not None and result.moments.get(horizon):
            yield moments(name, result.moments[horizon])
        for kind, title in (("lead", "|lead|"), ("quarter", "quarter"), ("phase", "phase"), ("season", "season")):
            yield _groups(f"{name}, by {title}", title, by_kind[kind])


class _Row(NamedTuple):
    """Row of a table of metrics: its label, the group of forecasts, and a forecaster if it has one of its own."""

    label: str
    group: GroupMetrics
    forecaster: str = ""


def _score(metric: str, forecaster: str = "", title: str = "") -> TableColumn[_Row]:
    """Return the column of a metric of a forecaster; by default of that of the row."""
    return TableColumn(
        title or METRIC_NAMES[metric],
        lambda row: number(row.group.values.get(forecaster or row.forecaster, {}).get(metric), metric),
    )


def _relative(
    metric: str, reference: str, forecaster: str = "", title: str = "", names: Mapping[str, str] = NAMES
) -> TableColumn[_Row]:
    """Return the column of a score's difference from the reference's, in % of this; see `_score`."""
    return TableColumn(
        title or f"{METRIC_NAMES[metric]} / {names[reference].lower()}",
        lambda row: in_percent(row.group.relative.get(forecaster or row.forecaster, {}).get(reference, {}).get(metric)),
    )


def _by_forecaster(
    title: str,
    head: str,
    group: GroupMetrics,
    names: Mapping[str, str],
    columns: Iterable[TableColumn[_Row]],
    note: str,
) -> Table:
    rows = [_Row(label, group, name) for name, label in names.items()]
    return tabulate(title, [TableColumn(head, lambda row: row.label), *columns], rows, note)


def _by_group(
    title: str, kind: str, groups: Mapping[str, GroupMetrics], columns: Iterable[TableColumn[_Row]], note: str
) -> Table:
    games = TableColumn[_Row]("games", lambda row: f"{row.group.games:,}")
    rows = [_Row(name, group) for name, group in groups.items()]
    return tabulate(title, [TableColumn(kind, lambda row: row.label), games, *columns], rows, note)


_TESTED: Final = (
    TableColumn[FoldInfo]("test season", lambda fold: f"{fold.season}"),
    TableColumn[FoldInfo]("games", lambda fold: f"{fold.games:,}"),
    TableColumn[FoldInfo]("training seasons", lambda fold: _span(fold.train_seasons)),
    TableColumn[FoldInfo]("calibration seasons", lambda fold: _span(fold.calibration_seasons)),
    TableColumn[FoldInfo]("calibration games", lambda fold: f"{fold.calibration_games:,}"),
)


def _span(seasons: Sequence[int]) -> str:
    return f"{seasons[0]}–{seasons[-1]}" if len(seasons) > 1 else "".join(map(str, seasons))


_Errors = tuple[str, dict[str, Estimate]]

_RATINGS: Final = (
    TableColumn[_Errors]("source", lambda row: row[0]),
    TableColumn[_Errors]("MAE", lambda row: f"{row[1]['mae']:.3f}"),
    TableColumn[_Errors]("RMSE", lambda row: f"{row[1]['rmse']:.3f}"),
)

_RATINGS_NOTE: Final = (
    "Hindsight: ratings from all other games of the season, later ones too, for comparison only. Carried: ratings"
    " updated after every game. Frozen: as of the start of the season. Home advantage: no ratings."
)


def _ceiling(result: BacktestResult) -> Table:
    """Return the metrics of simple models and of ratings in hindsight, on the same games."""
    half, final = (result.figures[horizon.value] for horizon in (Horizon.HALFTIME, Horizon.FINAL))
    columns: list[TableColumn[str]] = [TableColumn("", lambda name: NAMES[name])]
    for title, group, metric, reference in (
        ("half from 18", half["minute"]["18"], "crps", "linear"),
        ("end", final["all"]["all"], "crps", "linear"),
        (f"end, {LATE_NAME}", final["late"][LATE_NAME], "crps", "linear"),
        ("winner", final["all"]["all"], "brier", "logistic"),
        (f"winner, {LATE_NAME}", final["late"][LATE_NAME], "brier", "logistic"),
    ):
        columns.append(_in_group(group, _score(metric, title=f"{title}: {METRIC_NAMES[metric]}")))
        columns.append(_in_group(group, _relative(metric, reference, title=f"/ {NAMES[reference].lower()}")))
    return tabulate("The ceiling", columns, ("served", "linear", "logistic", *CEILING), _CEILING_NOTE)


def _in_group(group: GroupMetrics, column: TableColumn[_Row]) -> TableColumn[str]:
    """Return a column of the metrics of one group, for rows of forecasters."""
    return TableColumn(column.title, lambda name: column.cell(_Row("", group, name)))


def _season_coverage(result: BacktestResult) -> Iterator[Table]:
    """Yield the tables of coverage by season, with the spread expected by chance; none for a single season."""
    note = (
        "Coverage in %, with a 99 % interval that counts the chance in the season and its calibration; ✗: does not"
        " contain the expected coverage. Standard deviation between the seasons in points: found, expected if"
        " seasons differed by chance alone, and the bound of the verdict, which no row exceeds with probability"
        " 99 % if they did."
    )
    for horizon in HORIZONS:
        series = [each for each in result.season_coverages if each.horizon == horizon.value]
        if series:
            columns: list[TableColumn[SeasonCoverage]] = [
                TableColumn("", lambda each: NAMES[each.forecaster]),
                TableColumn("level", lambda each: f"{each.level} %"),
                *map(_of_season, series[0].seasons),
                TableColumn("standard deviation", lambda each: f"{100 * each.spread:.2f}{'' if each.agrees else ' ✗'}"),
                TableColumn("by chance", lambda each: f"{100 * each.chance:.2f}"),
                TableColumn("at most", lambda each: f"{100 * each.bound:.2f}"),
            ]
            yield tabulate(f"{horizon.value.capitalize()}: coverage by season, all minutes", columns, series, note)


def _of_season(season: str) -> TableColumn[SeasonCoverage]:
    def cell(series: SeasonCoverage) -> str:
        value, lower, upper = (100 * each for each in series.seasons[season])
        return f"{value:.1f} [{lower:.1f}, {min(upper, 100):.1f}]{' ✗' if season in series.excluded else ''}"

    return TableColumn(season, cell)


def _excluded(share: float | None, side: str) -> str:
    return "no" if share is None else f"{100 * share:.1f} or {side}"


_POWER: Final = (
    TableColumn[GroupPower]("level", lambda each: f"{each.level} %"),
    TableColumn[GroupPower]("games of the group", lambda each: f"{each.games:,}"),
    TableColumn[GroupPower]("passes", lambda each: f"{100 * each.passes_from:.1f}–{100 * each.passes_to:.1f}"),
    TableColumn[GroupPower](
        f"true coverage excluded with {100 * POWER:g} %: too low", lambda each: _excluded(each.excluded_below, "less")
    ),
    TableColumn[GroupPower]("too high", lambda each: _excluded(each.excluded_above, "more")),
)

_POWER_NOTE: Final = (
    "Coverage in %; for each level the smallest, the median and the largest group. A group that passes may have any"
    " true coverage between the last two columns."
)


def _scores(title: str, group: GroupMetrics) -> Table:
    metrics = ("mae", "rmse", "crps", "winkler_95", *COVERAGES, "brier", "log_loss", "ece")
    columns = [_score(metric) for metric in metrics if metric in group.values["served"]]
    names = {name: label for name, label in NAMES.items() if name not in CEILING and name in group.values}
    note = f"{_SCORES_NOTE}; logistic: probabilities only."
    return _by_forecaster(title, f"{group.games:,} games", group, names, columns, note)


def _differences(title: str, group: GroupMetrics) -> Table:
    columns = [
        _relative(metric, reference)
        for reference, metrics in (
            ("persistence", ("mae", "crps", "brier")),
            ("linear", ("mae", "crps")),
            ("logistic", ("brier", "log_loss")),
        )
        for metric in metrics
    ]
    left_out = {"persistence", "logistic", *CEILING, *PARTS, LINE, *OF_LINE, PLAYERS}
    names = {name: label for name, label in NAMES.items() if name not in left_out}
    note = "Difference in % of the reference's score; below 0 is better. Paired 95 % bootstrap intervals over games."
    return _by_forecaster(title, "", group, names, columns, note)


def _season_intervals(title: str, groups: Mapping[str, GroupMetrics]) -> Table:
    """Return the table of intervals with and without the factor of the season, by season."""
    columns = [
        TableColumn[_Row]("season", lambda row: row.label),
        TableColumn[_Row]("games", lambda row: f"{row.group.games:,}"),
        TableColumn[_Row]("intervals", lambda row: NAMES[row.forecaster]),
        *map(_score, (*COVERAGES, "width_95", "winkler_95")),
    ]
    rows = [_Row(season, group, each) for season, group in groups.items() for each in (STATIC["served"], "served")]
    note = "The factor of a day is that of a server that has received the outcomes of the season's days before."
    return tabulate(title, columns, rows, note)


def _groups(title: str, kind: str, groups: Mapping[str, GroupMetrics]) -> Table:
    columns = [
        _score(metric, name, METRIC_NAMES[metric] + (f" {NAMES[name].lower()[:4]}." if name != "served" else ""))
        for metric, names in (
            ("mae", ("served", "persistence")),
            ("crps", ("served", "linear", "persistence")),
            ("brier", ("served", "logistic", "persistence")),
            *((coverage, ("served",)) for coverage in COVERAGES),
        )
        for name in names
    ]
    note = "Columns without a forecaster's name are those of the served forecasts."
    return _by_group(title, kind, groups, columns, note)


_ADDED: Final = {
    PLAYERS: (
        "with who plays",
        (("served", "crps"), ("linear", "crps"), ("served", "brier"), ("logistic", "brier")),
        "Against the served: what line-ups tell beyond the teams' ratings, which linear and logistic have.",
    ),
    LINE: (
        "with the line",
        (("served", "crps"), ("linear_line", "crps"), ("served", "brier"), ("logistic_line", "brier")),
        "Against the served: what the line tells beyond the ratings. The other references know the same line.",
    ),
}
"""Forecasters that know more than the served: their titles, references and scores of the differences, and notes."""


def added_knowledge(horizon: str, by_kind: Mapping[str, Mapping[str, GroupMetrics]]) -> Iterator[Table]:
    """Yield the tables of line-ups, of the line and of the components, by minute and season.

    Those of inputs that the tested games do not have are left out.

    Args:
        horizon: its name, capitalized as at the start of a title.
        by_kind: metrics by kind and name of the group (`compute_metrics`).
    """
    by_minute = {**by_kind["all"], **_at(by_kind, COMPARED_MINUTES)}
    differences = f"Differences in % of the reference's score; {_PAIRED}"
    for name, (title, compared, note) in _ADDED.items():
        if name in by_kind["all"]["all"].values:
            columns = [
                *(_score(metric, name) for metric in ("crps", "brier")),
                *(_relative(metric, reference, name) for reference, metric in compared),
                *(_score(coverage, name) for coverage in COVERAGES),
            ]
            for kind, groups in (("minute", by_minute), ("season", by_kind["season"])):
                yield _by_group(f"{horizon}: {title}, by {kind}", kind, groups, columns, f"{differences} {note}")
    columns = [
        _score("crps", STATIC["served"]),
        *(
            _relative(metric, STATIC["served"], part, f"{METRIC_NAMES[metric]} {NAMES[part]}")
            for metric in ("crps", "brier")
            for part in PARTS
        ),
    ]
    note = "Against the learned weights, with the same tables and ranks, and without the factor of the season."
    title = f"{horizon}: other weights of the components, by minute"
    yield _by_group(title, "minute", by_minute, columns, f"{differences} {note}")


def _at(by_kind: Mapping[str, Mapping[str, GroupMetrics]], minutes: Sequence[str]) -> dict[str, GroupMetrics]:
    """Return the groups of those minutes that the horizon has, and of the late ones together."""
    of_minutes = {minute: by_kind["minute"][minute] for minute in minutes if minute in by_kind["minute"]}
    return {**of_minutes, **by_kind.get("late", {})}


def _totals(horizon: str, by_kind: Mapping[str, Mapping[str, GroupMetrics]]) -> Iterator[Table]:
    """Yield the tables of total points: all minutes, some minutes, and seasons; see `added_knowledge`."""
    note = f"Differences of the CRPS in % of the rival's; {_PAIRED}"
    overall = by_kind["all"]["all"]
    names = {name: label for name, label in TOTAL_NAMES.items() if name in overall.values}
    columns = [_score(metric) for metric in ("mae", "crps", "winkler_95", *COVERAGES)]
    columns += [_relative("crps", rival, names=TOTAL_NAMES) for rival in RIVALS]
    title = f"{horizon}: total points, all minutes"
    yield _by_forecaster(title, f"{overall.games:,} games", overall, names, columns, f"{_SCORES_NOTE}. {note}")
    minutes = _at(by_kind, SHOWN_MINUTES[Horizon.FINAL.value])
    for forecaster, rivals in ((SERVED[0], RIVALS), (TOTAL_LINE, OTHER_RIVALS[TOTAL_LINE])):
        if forecaster in overall.values:
            title = f"{horizon}: total points{' with the line' if forecaster == TOTAL_LINE else ''}"
            columns = [
                *(
                    _score("crps", name, f"CRPS {TOTAL_NAMES[name].removeprefix('… ').lower()}")
                    for name in (forecaster, *rivals)
                ),
                *(_relative("crps", rival, forecaster, names=TOTAL_NAMES) for rival in rivals),
                *(_score(coverage, forecaster) for coverage in COVERAGES),
            ]
            yield _by_group(f"{title}, by minute", "minute", minutes, columns, note)
            yield _by_group(f"{title}, by season", "season", by_kind["season"], columns, note)


_Band = tuple[str, MomentBand]


def _held_at_moments(level: int) -> TableColumn[_Band]:
    return TableColumn(f"{level} % coverage", lambda row: number(row[1].coverage[f"{level}"], "coverage"))


_MOMENTS: Final = (
    TableColumn[_Band]("moments", lambda row: row[0]),
    TableColumn[_Band]("games", lambda row: f"{row[1].games:,}"),
    TableColumn[_Band]("plays", lambda row: f"{row[1].moments:,}"),
    TableColumn[_Band]("Brier", lambda row: number(row[1].brier["served"], "brier")),
    TableColumn[_Band]("Brier logistic", lambda row: number(row[1].brier["logistic"], "brier")),
    TableColumn[_Band]("Brier leader", lambda row: number(row[1].brier["leader"], "brier")),
    TableColumn[_Band]("Brier / logistic", lambda row: in_percent(row[1].brier_difference)),
    TableColumn[_Band]("Log loss", lambda row: number(row[1].log_loss["served"], "log_loss")),
    TableColumn[_Band]("Log loss / logistic", lambda row: in_percent(row[1].log_loss_difference)),
    TableColumn[_Band]("ECE", lambda row: f"{row[1].ece:.4f}"),
    TableColumn[_Band]("CRPS", lambda row: number(row[1].crps, "crps")),
    *map(_held_at_moments, LEVELS),
)


def moments(horizon: str, bands: Mapping[str, MomentBand]) -> Table:
    """Return the table of forecasts at moments and their references, by time left.

    Args:
        horizon: its name, capitalized as at the start of a title.
        bands: scores by the name of the group.
    """
    note = (
        "After each play that changes score, possession or free throws to come; a game's moments count as one."
        " Logistic: on lead, seconds left and rating alone, fitted on all earlier seasons. Leader: the team that leads"
        f" wins. Differences in % of the logistic regression's score; {_PAIRED}"
    )
    return tabulate(f"{horizon}: at moments", _MOMENTS, bands.items(), note)
