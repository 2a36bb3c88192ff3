"""Text tables and their cells, for the terminal, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dejavu_models.metrics import Estimate
from dejavu_trainer.evaluation.metrics import LEVELS

NAMES: Final = {
    "served": "Served",
    "frozen": "… ratings frozen",
    "no_teams": "… no teams",
    "no_live": "… no points, last score",
    "static": "… no factor of the season",
    "dejavu": "Dejavu",
    "lstm": "LSTM",
    "mean": "Mean of both",
    "players": "… who plays",
    "line": "… the line",
    "linear": "Linear",
    "persistence": "Persistence",
    "logistic": "Logistic",
    "diffusion": "Diffusion",
    "hindsight": "Linear, ratings in hindsight",
    "linear_line": "Linear, the line",
    "logistic_line": "Logistic, the line",
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


@dataclass(frozen=True, slots=True)
class Table:
    """Text table; the first column contains the row labels, each row is as long as the header."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def number(estimate: Estimate | None, metric: str) -> str:
    """Format an estimate without its interval, with the digits of its metric."""
    if estimate is None:
        return ""
    return f"{100 * estimate.value:.1f}" if metric.startswith("coverage") else f"{estimate.value:.{digits(metric)}f}"


def in_percent(estimate: Estimate | None) -> str:
    """Format a share with its interval, in percent and with a sign."""
    return "" if estimate is None else f"{estimate.scaled(100):+.2f}"


def digits(metric: str) -> int:
    """Return the digits after the decimal point that a metric is shown with."""
    return 4 if metric in {"brier", "log_loss", "ece"} else 2 if metric.startswith(("winkler", "width")) else 3
