"""Labels of forecasters and metrics, and formats of figures."""

from __future__ import annotations

from typing import Final

from dejavu_models.metrics import Estimate
from dejavu_trainer.evaluation.metrics import LEVELS
from dejavu_trainer.evaluation.scoring.totals import LINE as TOTAL_LINE
from dejavu_trainer.evaluation.scoring.totals import LINE_RATE

NAMES: Final = {
    "served": "Served",
    "frozen": "… ratings frozen",
    "no_teams": "… no teams",
    "no_live": "… no points, last score",
    "static": "… no factor of the season",
    "base": "Linear models alone",
    "dejavu": "Dejavu alone",
    "lstm": "LSTM alone",
    "documents": "0.4 Dejavu + 0.6 LSTM",
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

TOTAL_NAMES: Final = {
    "totals": "Total points",
    "frozen": "… ratings frozen",
    "no_teams": "… no teams",
    TOTAL_LINE: "… with the line",
    "pace": "Pace × time",
    "season_mean": "Season's mean",
    LINE_RATE: "Line's rate",
}
"""Labels of the forecasters of totals, in display order; those of the line may be missing."""

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


def number(estimate: Estimate | None, metric: str) -> str:
    """Format an estimate without its interval, with the digits of its metric."""
    if estimate is None:
        return ""
    if metric.startswith("coverage"):
        return f"{100 * estimate.value:.1f}"
    digits = 4 if metric in {"brier", "log_loss", "ece"} else 2 if metric.startswith(("winkler", "width")) else 3
    return f"{estimate.value:.{digits}f}"


def in_percent(estimate: Estimate | None) -> str:
    """Format a share with its interval, in percent and with a sign."""
    return "" if estimate is None else f"{estimate.scaled(100):+.2f}"
