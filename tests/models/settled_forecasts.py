"""Settled forecasts for tests of scorecards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dejavu_models.scorecard import SettledForecasts


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
        "stake": math.nan,
        "profit": math.nan,
        "expected_profit": math.nan,
        "game_cap": math.inf,
        "evening_cap": math.inf,
        "late_market": False,
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
        {**usual, "order": place, "market_sequence": place, "elapsed_s": 60.0 * row.get("minute", 18), **row}
        for place, row in enumerate(rows)
    ]
    names = [*usual, "order", "market_sequence", "elapsed_s"]
    return SettledForecasts(**{name: np.array([row[name] for row in whole]) for name in names})
