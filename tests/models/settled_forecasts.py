"""Settled forecasts for tests of scorecards."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np

from dejavu_models.scorecard import SettledForecasts, SettledMarket

_TYPICAL: dict[str, Any] = {
    "minute": 18,
    "error": 1.0,
    "covered": True,
    "alpha": 0.05,
    "width": 24.0,
    "probability": 0.6,
    "crps": 2.5,
    "home": 1,
    "away": 2,
    "in_league": True,
    "in_time": True,
}
_ABSENT = {"Floats": math.nan}


def settled(*rows: dict[str, Any]) -> SettledForecasts:
    """Build settled forecasts from the given fields, with defaults for the others.

    A row may have `home_led` in place of the differential, `persistence_error` in place of the lead, and the fields of
    its market in place of `markets`.
    """
    usual = {each.name: _ABSENT.get(str(each.type), 0) for each in fields(SettledForecasts)} | _TYPICAL
    columns: dict[str, list[Any]] = {name: [] for name in usual}
    for place, row in enumerate(rows):
        differential = row.get("differential", 3.0 if row.get("home_led", True) else -3.0)
        own = {
            "differential": differential,
            "lead": differential + row.get("persistence_error", 2.0),
            "order": place,
            "elapsed_s": 60.0 * row.get("minute", 18),
            "markets": (settled_market(**_market_fields(row, place)),) if "stake" in row else None,
        }
        for name, column in columns.items():
            column.append({**usual, **own, **row}[name])
    dtypes = {each.name: np.bool_ if "bool" in str(each.type) else None for each in fields(SettledForecasts)}
    arrays = {name: np.array(column, dtype=dtypes[name]) for name, column in columns.items() if name != "markets"}
    markets = np.full(len(rows), None, dtype=np.object_)
    for place, market in enumerate(columns["markets"]):
        markets[place] = market
    return SettledForecasts(**arrays, markets=markets)


def settled_market(**given: Any) -> SettledMarket:
    """Return a market of the lead at even odds, with the given fields and defaults for the others."""
    usual: dict[str, Any] = {
        "on_total": False,
        "line": 0.5,
        "spread": 9.0,
        "model_probability": 0.6,
        "fair_probability": 0.5,
        "home_won": 1.0,
        "side": 1 if given.get("stake") else 0,
        "odds": 2.0,
        "stake": 0.0,
        "profit": 0.0,
        "expected_profit": 0.0,
        "game_cap": math.inf,
        "evening_cap": math.inf,
    }
    return SettledMarket(**{**usual, **given})


def _market_fields(row: dict[str, Any], place: int) -> dict[str, Any]:
    names = {"market_sequence": "sequence", "late_market": "late"}
    given = {names.get(name, name): value for name, value in row.items()}
    return {"sequence": place, **{name: given[name] for name in SettledMarket._fields if name in given}}
