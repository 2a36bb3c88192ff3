"""What commands say: documents for programs (--json; docs/data.md lists their keys) and tables for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dejavu_models.scores import Estimate
from dejavu_trainer.evaluate import BASELINE, Evaluation, GroupFigures, IntervalFigures

if TYPE_CHECKING:
    from dejavu_trainer.pipeline import FitReport  # it imports torch, which no report needs

METRICS = {"mae": ("MAE", 3), "rmse": ("RMSE", 3), "crps": ("CRPS", 3), "brier": ("Brier", 4)}
"""Their names for people, and digits: a Brier score is a probability squared."""
NAMES = {"ensemble": "Ensemble", "dejavu": "Dejavu", "lstm": "LSTM", BASELINE: "Persistence"}


def fit_document(fitted: FitReport, seconds: float) -> dict[str, Any]:
    """What a training run made."""
    info = fitted.forecaster.info
    return {
        "bundle": str(fitted.bundle),
        "model_version": fitted.version,
        "train_seasons": list(info.train_seasons),
        "train_games": info.train_games,
        "calibration_seasons": list(info.calibration_seasons),
        "calibration_games": info.calibration_games,
        "smallest_alpha": info.smallest_alpha,
        "dejavu": {
            "entries": info.database_entries,
            "neighbours": fitted.settings.neighbours,
            "kernel": fitted.settings.kernel.value,
            "recency": fitted.settings.recency,
            "selection_mse": fitted.selection_mse,
        },
        "lstm": {
            "epochs": fitted.lstm.epochs,
            "best_epoch": fitted.lstm.best_epoch,
            "validation_mse": fitted.lstm.validation_mse,
            "parity": fitted.lstm.parity,
        },
        "metrics": [metric.model_dump() for metric in fitted.metrics],
        "seconds": seconds,
    }


def print_fit(console: Console, document: dict[str, Any]) -> None:
    """What a training run made, for people."""
    dejavu, lstm = document["dejavu"], document["lstm"]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in (
        ("Bundle", document["bundle"]),
        ("Model version", document["model_version"]),
        ("Trained on", f"{document['train_games']:,} games, seasons {_ranges(document['train_seasons'])}"),
        (
            "Calibrated on",
            f"{document['calibration_games']:,} games, seasons {_ranges(document['calibration_seasons'])}",
        ),
        ("Smallest alpha", f"{document['smallest_alpha']:.4g}"),
        ("Dejavu", f"{dejavu['entries']:,} entries; the nearest {dejavu['neighbours']}, {dejavu['kernel']} kernel"),
        ("LSTM", f"best of {lstm['epochs']} epochs: {lstm['best_epoch']}; torch − ONNX at most {lstm['parity']:.1e}"),
    ):
        table.add_row(f"[bold]{name}", Text(text))
    for metric in document["metrics"]:
        interval = "" if metric["lower"] is None else f"  [{metric['lower']:.3f}, {metric['upper']:.3f}]"
        table.add_row(Text(metric["name"].replace("_", " "), style="dim"), Text(f"{metric['value']:.3f}{interval}"))
    console.print(table)
    console.print(f"Done in {document['seconds']:.0f} s.", highlight=False)


def season_document(path: Path, plays: pa.Table, counted: int) -> dict[str, Any]:
    """What a season on disk holds; `counted` is how many games the rule of docs/data.md leaves."""
    games = int(pc.count_distinct(plays["game_id"]).as_py())
    return {"file": str(path), "rows": len(plays), "games": games, "left_out": games - counted}


def print_season(console: Console, document: dict[str, Any]) -> None:
    """What a season on disk holds, for people."""
    left_out = f"; {document['left_out']} of them incomplete, left out of training" if document["left_out"] else ""
    console.print(
        f"{document['file']}: {document['rows']:,} rows, {document['games']:,} games{left_out}",
        highlight=False,
        soft_wrap=True,
    )


def print_evaluation(console: Console, found: Evaluation) -> None:
    """An evaluation for people: errors, differences from persistence, intervals, groups, and what that comes to."""
    overall = found.overall
    console.print(
        f"Model {found.model_version} on the season of {found.season}: {overall.games:,} games,"
        f" minute {found.slots} to {found.horizon}. In brackets: 95 % bootstrap intervals over games."
        " ✓ ✗: a coverage within or outside of its 99 % binomial interval.",
        highlight=False,
    )
    if found.seen is not None:
        part = {"train": "TRAINED", "calibrate": "CALIBRATED"}[found.seen]
        warning = f"The model was {part} on this season: these figures flatter it and say nothing about new games."
        console.print(Text(f"!! {warning}", style="bold red"))
    console.print(_errors(overall), _differences(overall), _intervals(overall), _groups(found.by_lead))
    for line in _verdicts(found):
        console.print(line, highlight=False)


def _errors(group: GroupFigures) -> Table:
    table = _table("Errors, in points (Brier: of the probability that the home team leads)", "", *_names(group))
    figures = group.models.values()
    for metric, (label, digits) in METRICS.items():
        table.add_row(label, *(_cell(getattr(it, metric), digits) for it in figures))
    return table


def _differences(group: GroupFigures) -> Table:
    table = _table("The same less persistence's, paired (below 0 is better)", "", *_names(group)[:-1])
    figures = [it for name, it in group.models.items() if name != BASELINE]
    for metric, (label, digits) in METRICS.items():
        table.add_row(label, *(_signed(getattr(it, f"{metric}_difference"), digits) for it in figures))
    return table


def _intervals(group: GroupFigures) -> Table:
    table = _table("Intervals (coverage in %, width and Winkler score in points)", "", *_names(group))
    for same_level in zip(*(it.intervals for it in group.models.values()), strict=True):
        label = _percent(same_level[0].nominal_coverage)
        table.add_row(f"{label} held", *(_coverage(each) for each in same_level))
        table.add_row("width", *(f"{each.width.value:.1f}" for each in same_level))
        table.add_row("Winkler", *(_cell(each.winkler, 2) for each in same_level))
        table.add_row("less pers.", *(_signed(each.winkler_difference, 2) for each in same_level))
        table.add_section()
    return table


def _groups(groups: tuple[GroupFigures, ...]) -> Table:
    nominal = next((it.intervals for group in groups for it in group.models.values()), ())
    levels = [_percent(each.nominal_coverage) for each in nominal]
    title = "By lead at the last known minute (right: coverage in %, by nominal coverage)"
    table = _table(title, "|lead|", "games", "", "MAE", "CRPS", "Brier", *levels)
    for group in groups:
        for name, it in group.models.items():
            first = name == next(iter(group.models))
            table.add_row(
                group.name if first else "",
                f"{group.games:,}" if first else "",
                NAMES[name],
                f"{it.mae.value:.2f}",
                f"{it.crps.value:.2f}",
                f"{it.brier.value:.3f}",
                *(_held(each) for each in it.intervals),
            )
        table.add_section()
    return table


def _verdicts(found: Evaluation) -> list[Text]:
    """What the ensemble's figures come to, in a sentence each."""
    ensemble = found.overall.models["ensemble"]
    lines = [
        Text(f"Coverage at {_percent(each.nominal_coverage)}: {100 * each.coverage.value:.1f} %, ")
        + _placed(each.agrees, "its 99 % binomial interval", each.region)
        + Text("; ")
        + _placed(each.agrees_conformal, "that with the calibration's own chance counted", each.conformal_region)
        for each in ensemble.intervals
    ]
    ratio, difference = ensemble.mae_ratio, ensemble.mae_difference
    if ratio is not None and difference is not None:
        lines.append(
            Text(
                f"MAE: {ratio.value:.4f} × persistence [{ratio.lower:.4f}, {ratio.upper:.4f}]:"
                f" the ensemble {_comparison(difference)}"
            )
        )
    return lines


def _placed(agrees: bool, what: str, region: tuple[float, float]) -> Text:
    low, high = region
    place = "within" if agrees else "OUTSIDE OF"
    return Text(f"{place} {what} [{100 * low:.1f}, {100 * high:.1f}]", style="" if agrees else "bold red")


def _comparison(difference: Estimate) -> str:
    if difference.upper < 0:
        return "beats it"
    if difference.lower > 0:
        return "is worse than repeating the score"
    return "does not beat it: the difference may be chance"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column in {"", "|lead|"} else "right", no_wrap=True)
    return table


def _names(group: GroupFigures) -> list[str]:
    return [NAMES[name] for name in group.models]


def _cell(it: Estimate, digits: int = 3) -> Text:
    value, low, high = (f"{x:.{digits}f}" for x in (it.value, it.lower, it.upper))
    return Text(value) + Text(f"\n[{low}, {high}]", style="dim")


def _coverage(each: IntervalFigures) -> Text:
    low, high = 100 * each.coverage.lower, 100 * each.coverage.upper
    return _held(each) + Text(f"\n[{low:.1f}, {high:.1f}]", style="dim")


def _held(each: IntervalFigures) -> Text:
    mark = Text("✓", style="green") if each.agrees else Text("✗", style="bold red")
    return Text(f"{100 * each.coverage.value:.1f} ") + mark


def _signed(it: Estimate | None, digits: int = 3) -> Text:
    if it is None:
        return Text("")
    value, low, high = (f"{x:+.{digits}f}" for x in (it.value, it.lower, it.upper))
    style = "green" if it.upper < 0 else "red" if it.lower > 0 else ""
    return Text(value, style=style) + Text(f"\n[{low}, {high}]", style="dim")


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _ranges(seasons: list[int]) -> str:
    """Ascending seasons as `parse_seasons` takes them: 2015-2017,2019."""
    runs = list[list[int]]()
    for season in seasons:
        if runs and season == runs[-1][-1] + 1:
            runs[-1].append(season)
        else:
            runs.append([season])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
