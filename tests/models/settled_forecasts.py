"""Settled forecasts for tests of scorecards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dejavu_models.scorecard import SettledForecasts, SettledMarket


def settled(*rows: dict[str, Any]) -> SettledForecasts:
    """Build settled forecasts from the given fields, with defaults for the others."""
    usual = {
        "game": 0,
        "minute": 18,
        "error": 1.0,
        "persistence_error": 2.0,
        "covered": True,
        "alpha": 0.05,
        "width": 24.0,
        "probability": 0.6,
        "home_led": True,
        "brier": 0.16,
        "leader_brier": 0.0,
        "crps": 2.5,
        "day": 0,
        "exclusion": 0,
        "total_points": math.nan,
        "total_open": False,
        "total_error": math.nan,
        "total_pace_error": math.nan,
        "total_covered": False,
        "total_width": math.nan,
        "total_crps": math.nan,
        "home": 1,
        "away": 2,
        "other_teams": False,
        "in_league": True,
        "in_time": True,
        "replay": False,
        "margin": math.nan,
        "pregame_total": math.nan,
        "neutral_site": math.nan,
        "missing_players": math.nan,
        "made_us": 0,
        "outcome_doubtful": False,
        "corrected": False,
    }
    whole = [
        {**usual, "order": place, "elapsed_s": 60.0 * row.get("minute", 18), **row} for place, row in enumerate(rows)
    ]
    columns = {name: np.array([row[name] for row in whole]) for name in [*usual, "order", "elapsed_s"]}
    columns["markets"] = np.full(len(rows), None, dtype=np.object_)
    for place, row in enumerate(rows):
        given = row.get("markets", (settled_market(**_market_fields(row, place)),) if "stake" in row else None)
        columns["markets"][place] = given
    return SettledForecasts(**columns)


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
    fields = {names.get(name, name): value for name, value in row.items()}
    return {"sequence": place, **{name: fields[name] for name in SettledMarket._fields if name in fields}}
