"""Report of a walk-forward, of a bundle on a season, or of a comparison: checks, verdict and tables.

Reports are rendered for the terminal, as Markdown, and as an HTML page that needs no network.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from dejavu_common.rich_console import Console
from dejavu_models.types import HORIZONS, Horizon
from dejavu_trainer.evaluation.backtest import BacktestResult, references_of
from dejavu_trainer.evaluation.figures import LATE_NAME, LEVELS, MARGINS, MOMENTS, TIP_OFF, TOTALS, Figures
from dejavu_trainer.evaluation.fold_scores import (
    ALONE,
    EXPECTATIONS,
    LINE,
    NO_LIVE,
    PARTS,
    PLAYERS,
    REFERENCES,
    SERVED,
    STATIC,
)
from dejavu_trainer.evaluation.study import Compared
from dejavu_trainer.evaluation.totals import LINE_RATE, RIVALS
from dejavu_trainer.evaluation.verdict import Check, missed

MIN_WIDTH: Final = 150
"""Minimum width of the tables; a terminal that wraps lines is more readable than numbers broken inside cells."""

PASSED, FAILED = "✓", "✗"
"""Cells of checks."""

_TEMPLATES: Final = Path(__file__).parent
_STYLES: Final = {PASSED: "green", FAILED: "bold red"}


@dataclass(frozen=True, slots=True)
class TextTable:
    """Text table; the first column contains the row labels, each row is as long as the header.

    Attributes:
        title: heading.
        header: titles of the columns.
        rows: cells.
        note: remark below the table, which may be empty.
        prose: whether the cells are texts rather than numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    prose: bool = False


class Plot(NamedTuple):
    """A plot: heading of its section in the report, explanation, and svg element."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """A report in any of its formats.

    Attributes:
        title: heading.
        method: line that describes what was tested.
        tables: the figures.
        checks: tables of the checks behind the verdict; none in a comparison.
        fit: whether the tested forecasts may be served; None without a verdict.
        reason: reason of the verdict, in sentences.
        warning: limits of the figures; empty if there are none.
    """

    title: str
    method: str
    tables: tuple[TextTable, ...]
    checks: tuple[TextTable, ...] = ()
    fit: bool | None = None
    reason: str = ""
    warning: str = ""

    @property
    def verdict(self) -> str:
        """Whether the tested forecasts may be served, in a sentence; empty without a verdict."""
        return "" if self.fit is None else "Fit to be served." if self.fit else "Unfit."


def print_report(console: Console, report: EvaluationReport) -> None:
    """Print a report, its verdict last; widens the console to the width of the tables."""
    console.width = max(console.width, MIN_WIDTH)
    console.print(Text(report.title, style="bold"), soft_wrap=True)
    if report.warning:
        console.print(Text(f"!! {report.warning}", style="bold red"), soft_wrap=True)
    for table in (*report.tables, *report.checks):
        console.print(_rich_table(table))
        console.print(Text(table.note + "\n" * bool(table.note), style="dim"), soft_wrap=True)
    console.print(Text(report.verdict.upper(), style="bold green" if report.fit else "bold red"))
    console.print(Text(report.reason), soft_wrap=True)


def _rich_table(table: TextTable) -> RichTable:
    shown = RichTable(
        title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column, name in enumerate(table.header):
        left = column == 0 or table.prose
        shown.add_column(name, justify="left" if left else "right", no_wrap=column == 0, overflow="fold")
    for row in table.rows:  # an interval below its estimate
        shown.add_row(
            *(Text(cell if table.prose else cell.replace(" [", "\n["), _STYLES.get(cell, "")) for cell in row)
        )
    return shown


def print_rows(console: Console, rows: Iterable[tuple[str, str]], alarming: Collection[str] = ()) -> None:
    """Print names with their texts; the texts of the names in `alarming` stand out."""
    table = RichTable(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in rows:
        table.add_row(Text(name, style="bold"), Text(text, style="bold red" if name in alarming else ""))
    console.print(table)


def markdown(report: EvaluationReport) -> str:
    """Format a report as a Markdown document."""
    return _rendered("report.md.j2", report=report)


def page(report: EvaluationReport, plots: Iterable[Plot]) -> str:
    """Render a report with plots as an HTML page."""
    return _rendered("report.html.j2", report=report, plots=list(plots))


def _rendered(template: str, **values: object) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


NAMES: Final = {
    "served": "Served",
    "frozen": "… ratings frozen",
    "no_teams": "… no teams",
    "no_live": "… no points, last score",
    STATIC: "… no factor of the season",
    "base": "Linear models alone",
    "dejavu": "Dejavu alone",
    "lstm": "LSTM alone",
    "documents": "0.4 Dejavu + 0.6 LSTM",
    PLAYERS: "… who plays",
    LINE: "… the line",
    "linear": "Linear",
    "normal": "Linear, normal",
    "logistic": "Logistic",
    **{
        f"{name}_{source}": f"{label}, {knows}"
        for source, knows in ((PLAYERS, "who plays"), (LINE, "the line"))
        for name, label in (("linear", "Linear"), ("normal", "Linear, normal"), ("logistic", "Logistic"))
    },
    "persistence": "Persistence",
    "pace": "Pace × time",
    "season_mean": "Season's mean",
    LINE_RATE: "Line's rate",
    "leader": "Leader",
}
"""Labels of the forecasters, in display order."""

METRIC_NAMES: Final = {
    "mae": "MAE",
    "rmse": "RMSE",
    "crps": "CRPS",
    "brier": "Brier",
    "log_loss": "Log loss",
    "ece": "ECE",
    **{f"winkler_{level}": f"Winkler {level} %" for level in LEVELS},
    **{f"{name}_{level}": f"{level} % {name}" for name in ("coverage", "width") for level in LEVELS},
}

_DIGITS: Final = {"brier": 4, "log_loss": 4, "ece": 4, "winkler": 2, "width": 2}

COMPARED: Final = (*SERVED, NO_LIVE, STATIC, *REFERENCES, *RIVALS, LINE_RATE)
"""Forecasters that are compared with all references, since they know no more than these."""

COVERAGES: Final = tuple(f"coverage_{level}" for level in LEVELS)

SHOWN_MINUTES: Final = (1, 6, 12, 18, 20, 23, 24, 30, 36, 42, 45, 47)
"""Minutes in tables by minute; of the half, those before its end."""

_RELATIVE: Final = {"persistence": ("mae", "crps", "brier"), "logistic": ("brier", "log_loss")}
"""Scores that are shown relative to a reference; of others, MAE and CRPS."""

Key = Mapping[str, str]
"""Some of the arguments of `Figures.get`; those of a row and of a column together give the cell. Two more metrics are
the numbers of games and of rows of the group."""

PLACES: Final[dict[str, Key]] = {
    "half from minute 18": {"target": "halftime", "kind": "minute", "group": "18"},
    "half, minutes 1–23": {"target": "halftime"},
    "end, minutes 1–47": {"target": "final"},
    f"end, minutes {LATE_NAME}": {"target": "final", "kind": "late", "group": LATE_NAME},
}
"""Groups of forecasts on which the served ones are compared with the references."""

_PAIRED: Final = (
    "Differences in % of the reference's score; below 0 is better; paired 95 % bootstrap intervals over games."
)

_FAIR_NOTE: Final = (
    f"{_PAIRED} By season: the mean difference of the seasons, with an interval of Student's t for which a season is"
    " one observation. The references know what the row knows. Normal: the point of the linear model with a normal"
    " distribution on whole numbers, whose spread is that of the two newest seasons by size of lead."
)


def report_of(title: str, result: BacktestResult, warning: str = "") -> EvaluationReport:
    """Return the report of a result, with a warning if there is one."""
    method = result.method
    return EvaluationReport(
        title,
        f"Recipe {method.recipe}, seed {method.seed}; {len(result.table):,} test games; data {method.data[:16]}.",
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


def _checks(title: str, checks: Iterable[Check], note: str = "") -> TextTable:
    rows = tuple((PASSED if each.passed else FAILED, each.name, each.found, each.promise) for each in checks)
    return TextTable(title, ("", "check", "result", "required"), rows, note, prose=True)


def cell(figures: Figures, **key: Any) -> str:
    """Return the text of a figure: without its interval, or as a difference in percent with it; empty without any."""
    metric = key["metric"]
    if metric in ("games", "rows"):
        place = key["target"], key.get("kind", "all"), key.get("group", "all")
        return f"{figures.games(*place) if metric == 'games' else len(figures.groups(*place[:2])[place[2]]):,}"
    found = figures.get(**key)
    if found is None:
        return ""
    if key.get("reference"):
        return f"{found.in_percent:+.2f}"
    return f"{found:.3f}" if key["target"] == TIP_OFF else value_text(metric, found.value)


def value_text(metric: str, value: float) -> str:
    """Return the text of the value of a metric."""
    digits = _DIGITS.get(metric.partition("_")[0], _DIGITS.get(metric, 3))
    return f"{100 * value:.1f}" if metric.startswith("coverage") else f"{value:.{digits}f}"


def figures_table(
    figures: Figures,
    title: str,
    head: str,
    rows: Iterable[tuple[str, Key]],
    columns: Mapping[str, Key],
    note: str = "",
) -> TextTable:
    """Return a table whose rows and columns name the figures of its cells; columns without any figure are left out."""
    shown = [(head, *columns)]
    shown += [(label, *(cell(figures, **{**row, **column}) for column in columns.values())) for label, row in rows]
    labels, *others = zip(*shown, strict=True)
    header, *cells = zip(labels, *(column for column in others if any(column[1:])), strict=True)
    return TextTable(title, header, tuple(cells), note)


def _columns(*metrics: str, of: str = "", over: str = "") -> dict[str, Key]:
    """Return columns of metrics, of one forecaster or of that of the row, or of their differences from a reference."""
    key = ({"forecaster": of} if of else {}) | ({"reference": over} if over else {})
    name = f" / {_plain(over)}" if over else f" {_plain(of)}" if of not in ("", "served") else ""
    return {f"{METRIC_NAMES[metric]}{name}": {"metric": metric, **key} for metric in metrics}


def _labels(known: Sequence[str]) -> dict[str, str]:
    """Return the labels of forecasters, in display order; components of other packages are last."""
    alone = {name: f"{name.removeprefix(ALONE)} alone" for name in known if name.startswith(ALONE)}
    return {name: label for name, label in (NAMES | alone).items() if name in known}


def _plain(forecaster: str) -> str:
    return NAMES[forecaster].lower().removeprefix("… ")


_GAMES: Final[dict[str, Key]] = {"games": {"metric": "games"}}


def tables(result: BacktestResult) -> Iterator[TextTable]:
    """Yield all tables of a result, grouped by horizon."""
    figures = result.figures
    yield _tested(result)
    rows = [(name, {"target": TIP_OFF, "forecaster": name}) for name in EXPECTATIONS]
    note = (
        "Carried: ratings updated after every game. Frozen: as of the start of the season. Home advantage: no ratings."
    )
    yield figures_table(figures, "Expected margin before tip-off: error", "source", rows, _columns("mae", "rmse"), note)
    yield from fair_tables(figures)
    for horizon in HORIZONS:
        title = horizon.value.capitalize()
        for target, name in ((MARGINS[horizon], title), (TOTALS[horizon], f"{title}: total points")):
            if target in figures.table.targets:
                yield from _by_forecaster(figures, f"{name}, all minutes", {"target": target})
                yield from _in_detail(figures, target, name)
        if horizon is Horizon.HALFTIME:
            yield from _by_forecaster(figures, f"{title}, from minute 18", PLACES["half from minute 18"])
        if MOMENTS[horizon] in figures.table.targets:
            yield _moments(figures, horizon)


def _tested(result: BacktestResult) -> TextTable:
    names = ("season", "train_seasons", "calibration_seasons", "calibration_games")
    rows = zip(*(result.table.columns[f"fold.{name}"].tolist() for name in names), strict=True)
    games = result.figures.groups(TIP_OFF, "season")
    return TextTable(
        "Tested seasons",
        ("test season", "games", "training seasons", "calibration seasons", "calibration games"),
        tuple(
            (f"{season}", f"{len(games[f'{season}']):,}", _span(train), _span(calibrated), f"{behind:,}")
            for season, train, calibrated, behind in rows
        ),
    )


def _span(seasons: str) -> str:
    first, *_, last = seasons.split() * 2
    return first if first == last else f"{first}–{last}"


def fair_tables(figures: Figures) -> Iterator[TextTable]:
    """Yield the comparisons with references that know the same: ratings, who plays, the line; by game and by season."""
    known = figures.table.forecasters(MARGINS[Horizon.FINAL])
    for forecaster, knows in (("served", "ratings"), (PLAYERS, "who plays"), (LINE, "the line")):
        if forecaster in known:
            suffix = "" if forecaster == "served" else f"_{forecaster}"
            columns = _columns("crps", "brier")
            for reference, metric in zip(REFERENCES, ("crps", "crps", "brier"), strict=True):
                title = f"{METRIC_NAMES[metric]} / {NAMES[reference].lower()}"
                key = {"metric": metric, "reference": f"{reference}{suffix}"}
                columns |= {title: key, f"{title}, by season": {**key, "compare": "seasons"}}
            rows = [(place, {**key, "forecaster": forecaster}) for place, key in PLACES.items()]
            yield figures_table(figures, f"Against references that know {knows} too", "", rows, columns, _FAIR_NOTE)


def _by(figures: Figures, target: str, kind: str, **more: str) -> list[tuple[str, Key]]:
    """Return the rows of the groups of a kind; by minute, of SHOWN_MINUTES and of all and the late ones together."""
    shown = [f"{minute}" for minute in SHOWN_MINUTES]
    names = [name for name in figures.groups(target, kind) if kind != "minute" or name in shown]
    rows: list[tuple[str, Key]] = [(name, {"target": target, "kind": kind, "group": name, **more}) for name in names]
    if kind != "minute":
        return rows
    late: list[tuple[str, Key]] = [
        (name, {"target": target, "kind": "late", "group": name, **more}) for name in figures.groups(target, "late")
    ]
    return [("all", {"target": target, **more}), *rows, *late]


def _by_forecaster(figures: Figures, title: str, key: Key) -> Iterator[TextTable]:
    """Yield the scores of all forecasters of a group, and the differences of some from the references."""
    target, games = key["target"], f"{figures.games(key['target']):,} games"
    names = _labels(figures.table.forecasters(target))
    rows = [(label, {**key, "forecaster": name}) for name, label in names.items()]
    scores = _columns("mae", "rmse", "crps", "winkler_95", *COVERAGES, "brier", "log_loss", "ece")
    note = "Errors, CRPS and Winkler score in points, coverage in %; logistic: probabilities only."
    yield figures_table(figures, title, games, rows, scores, note)
    differences: dict[str, Key] = {}
    for reference in references_of(target, "served"):
        differences |= _columns(*_RELATIVE.get(reference, ("mae", "crps")), over=reference)
    rows = [row for row in rows if row[1]["forecaster"] in COMPARED]
    yield figures_table(figures, f"{title}, relative to the references", "", rows, differences, _PAIRED)


def _in_detail(figures: Figures, target: str, title: str) -> Iterator[TextTable]:
    """Yield the scores of single forecasters by group, with their differences from what they are compared with."""
    note = f"{_PAIRED} The factor of a day is that of a server that has received the outcomes of the days before."
    for name, label in _labels(figures.table.forecasters(target)).items():
        columns = _GAMES | _columns("mae", "crps", "brier", *COVERAGES, "width_95", "winkler_95")
        for reference in references_of(target, name):
            score = "brier" if reference.startswith("logistic") else "crps"
            columns |= _columns(*(("crps", "brier") if reference in ("served", STATIC) else (score,)), over=reference)
        for kind in _kinds(target, name):
            heading = f"{title}: {label.lower().removeprefix('… ')}, by {kind}"
            yield figures_table(figures, heading, kind, _by(figures, target, kind, forecaster=name), columns, note)


def _kinds(target: str, forecaster: str) -> tuple[str, ...]:
    """Return the kinds of groups by which a forecaster is shown."""
    if forecaster in PARTS or forecaster.startswith(ALONE):
        return ("minute",)
    if forecaster == "served" and target in MARGINS.values():
        return "minute", "lead", "quarter", "season"
    if forecaster == STATIC:
        return ("season",)
    return ("minute", "season") if forecaster in ("served", PLAYERS, LINE) else ()


def _moments(figures: Figures, horizon: Horizon) -> TextTable:
    """Return the table of forecasts at moments and their references, by time left."""
    note = (
        "After each play that changes score, possession or free throws to come; a game's moments count as one."
        " Logistic: on lead, seconds left and rating alone, fitted on all earlier seasons. Leader: the team that leads"
        f" wins. {_PAIRED}"
    )
    columns = {**_GAMES, "plays": {"metric": "rows"}}
    for name in ("served", "logistic", "leader"):
        columns |= _columns("brier", of=name)
    columns |= _columns("brier", "log_loss", of="served", over="logistic")
    columns |= _columns("log_loss", "ece", "crps", *COVERAGES, of="served")
    rows = _by(figures, MOMENTS[horizon], "band")
    return figures_table(figures, f"{horizon.value.capitalize()}: at moments", "moments", rows, columns, note)


def comparison_report(title: str, rows: Iterable[Compared], looks: int = 1) -> EvaluationReport:
    """Return the report of a comparison of two walk-forwards: a table a horizon.

    Args:
        title: what is compared.
        rows: see `study.compared`.
        looks: number of comparisons for which their intervals hold together.
    """
    note = "Means over games and minutes; mean difference of games, with its 95 % interval. Lower scores are better."
    if looks > 1:
        note += f" The intervals of a row hold together for the {looks} recipes of the study."
    cells: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        values = (value_text(row.metric, each.value) for each in (row.first, row.second, row.persistence))
        difference = f"{row.difference.in_percent:+.2f}" if row.metric.startswith("cov") else f"{row.difference:+.4f}"
        label = f"{row.season}, {METRIC_NAMES[row.metric]}"
        cells.setdefault(row.horizon, []).append((label, f"{row.games:,}", *values, difference))
    header = ("", "games", "first", "second", "persistence", "first − second")
    tables_of = (TextTable(f"Forecasts of the {horizon}", header, tuple(of), note) for horizon, of in cells.items())
    return EvaluationReport(title, "Figures of the same games.", tuple(tables_of))
