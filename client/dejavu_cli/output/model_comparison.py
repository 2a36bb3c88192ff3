"""Prints the comparison of two models: scores, e-values over the games as a chart, and the decision of the gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dejavu.v1 import model_comparison_pb2 as pb
from dejavu_cli.output.responsive_table import figure_rows
from dejavu_cli.output.scores import between
from dejavu_client.formatting import percent, pluralize, signed
from dejavu_common.rich_console import Console, titled_panel

THRESHOLD: Final = 20.0
"""E-value from which a statement counts as shown, with an error rate of at most 1 in 20 over all looks."""

_NOT_WORSE, _WORSE, _BOTH = "●", "○", "◉"
_CHART_ROWS: Final = 11
_MOST_COLUMNS: Final = 64
_LEAST, _MOST = -3.0, 6.0
"""Bounds of the chart, as powers of 10."""

_DECISIONS: Final = {
    pb.GATE_DECISION_PROMOTE: ("promote: it is not worse, and its intervals hold", "green"),
    pb.GATE_DECISION_RETIRE: ("retire: it is worse", "red"),
    pb.GATE_DECISION_CONTINUE: ("go on: there is not enough evidence yet", "yellow"),
}


def print_comparison(comparison: pb.ModelComparison, horizon: str = "") -> None:
    """Print a comparison, with the name of its horizon."""
    title = f"{comparison.model_version} against {comparison.against_version}" + (f", {horizon}" if horizon else "")
    parts: list[RenderableType] = [_scores(comparison)]
    for name, score in (("CRPS", comparison.crps), ("Brier score", comparison.brier)):
        if len(score.path) > 1:
            parts += [
                "",
                Text(f"e-values by the {name}, after each game", style="dim"),
                *map(Text, chart_lines(score.path)),
            ]
    if any(len(score.path) > 1 for score in (comparison.crps, comparison.brier)):
        parts.append(Text(f"{_NOT_WORSE} it is not worse by the margin   {_WORSE} it is worse", style="dim"))
    parts += ["", _decision(comparison)]
    Console().print(titled_panel(Group(*parts), title))


def _scores(comparison: pb.ModelComparison) -> Table:
    rows = figure_rows()
    rows.add_row("games", f"{comparison.games:,}", pluralize(comparison.forecasts, "forecast"))
    if not comparison.games:  # without games, zeros would look like equal scores
        return rows
    for name, score, digits in (("CRPS", comparison.crps, 3), ("Brier score", comparison.brier, 4)):
        ends = between(score, digits, sign=True)
        rows.add_row(name, f"{score.score:.{digits}f}", f"of the other {score.against_score:.{digits}f}")
        margin = f"{score.margin:.{digits + 1}f}"
        rows.add_row("  difference", signed(score.difference, digits), f"{ends and f'{ends}, '}may be {margin} worse")
        enough = ": enough" if score.divergence <= score.margin else ""
        rows.add_row("  divergence", f"{score.divergence:.{digits + 1}f}", f"not worse up to {margin}{enough}")
        rows.add_row("  not worse", e_value_text(score.not_worse_e_value), _shown_by(score.not_worse_e_value))
        rows.add_row("  worse", e_value_text(score.worse_e_value), _shown_by(score.worse_e_value))
    for each in comparison.coverage:
        rows.add_row(
            f"{percent(1 - each.alpha)} intervals", percent(each.coverage), f"held; {percent(each.bound)} needed"
        )
    return rows


def _shown_by(e_value: float) -> str:
    return f"e-value; shown from {THRESHOLD:g} on{': it is' if e_value >= THRESHOLD else ''}"


def _decision(comparison: pb.ModelComparison) -> Text:
    words, style = _DECISIONS.get(comparison.decision, ("the server did not say what to do", "dim"))
    reason = f" ({comparison.decision_reason})" if comparison.decision_reason else ""
    return Text(f"The gate says {words}{reason}.", style=style)


def e_value_text(value: float) -> str:
    """Return an e-value in a few characters."""
    return f"{value:.2f}" if 0.01 <= value < 1000 else f"{value:.1e}"


def chart_lines(path: Sequence[pb.EValuePoint], columns: int = _MOST_COLUMNS) -> list[str]:
    """Draw e-values over games, on a logarithmic scale from 1/1,000 to 1,000,000 at most, with the threshold.

    Args:
        path: the e-values, at least two.
        columns: maximum number of columns of points.
    """
    columns = min(columns, len(path))
    points = [path[round(index * (len(path) - 1) / (columns - 1))] for index in range(columns)]
    series = [[_power(each.not_worse_e_value) for each in points], [_power(each.worse_e_value) for each in points]]
    threshold = math.log10(THRESHOLD)
    low, high = min(-1.0, *series[0], *series[1]), max(threshold + 0.5, *series[0], *series[1])

    def row_of(power: float) -> int:
        return round((high - power) / (high - low) * (_CHART_ROWS - 1))

    grid = [[" "] * columns for _ in range(_CHART_ROWS)]
    labels = [""] * _CHART_ROWS
    for power, label in ((0.0, "1"), (threshold, f"{THRESHOLD:g}")):
        grid[row_of(power)] = ["·" if label == "1" else "─"] * columns
        labels[row_of(power)] = label
    for column, (not_worse, worse) in enumerate(zip(*series, strict=True)):
        rows = row_of(not_worse), row_of(worse)
        grid[rows[1]][column] = _WORSE
        grid[rows[0]][column] = _BOTH if rows[0] == rows[1] else _NOT_WORSE
    lines = [f"{label:>4} ┤{''.join(row)}" for label, row in zip(labels, grid, strict=True)]
    last = pluralize(path[-1].games, "game")
    return [*lines, f"     └{'─' * columns}", f"      {path[0].games:<{max(1, columns - len(last))}}{last}"]


def _power(value: float) -> float:
    return min(_MOST, max(_LEAST, math.log10(value))) if value > 0 else _LEAST
