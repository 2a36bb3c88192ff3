"""Settled forecasts for tests of scorecards."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from dejavu_models.scorecard.settled import SettledForecasts, SettledMarket

_TYPICAL: dict[str, Any] = dict.fromkeys(("covered", "in_league", "in_time"), True)
_TYPICAL |= {"minute": 18, "error": 1.0, "alpha": 0.05, "width": 24.0, "probability": 0.6, "crps": 2.5}
_TYPICAL |= {"home": 1, "away": 2, "differential": 3.0, "markets": None}
_DTYPES = {"Floats": np.float64, "NDArray[np.bool_]": np.bool_, "NDArray[np.object_]": np.object_}


def settled(*rows: dict[str, Any]) -> SettledForecasts:
    """Build settled forecasts from the given fields, with defaults for the others; a lead is 2 above its outcome."""
    columns: dict[str, Any] = {}
    for each in fields(SettledForecasts):
        default = _TYPICAL.get(each.name, math.nan if each.type == "Floats" else 0)
        columns[each.name] = np.empty(len(rows), dtype=_DTYPES.get(str(each.type), np.int64))
        for place, row in enumerate(rows):
            own = {
                "order": place,
                "elapsed_s": 60.0 * row.get("minute", 18),
                "lead": row.get("differential", 3.0) + 2.0,
            }
            columns[each.name][place] = (own | row).get(each.name, default)
    return SettledForecasts(**columns)


def settled_market(**given: Any) -> SettledMarket:
    """Return a market of the lead at even odds, with the given fields and defaults for the others."""
    usual = dict.fromkeys(("on_total", "stake", "profit", "expected_profit"), 0.0)
    usual |= {"line": 0.5, "spread": 9.0, "model_probability": 0.6, "fair_probability": 0.5, "odds": 2.0}
    usual |= {"home_won": 1.0, "side": 1 if given.get("stake") else 0, "game_cap": math.inf, "evening_cap": math.inf}
    return SettledMarket(**{**usual, **given})
