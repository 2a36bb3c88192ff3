"""Schedule of a season before a game, and the terms by which it enters the expected margin."""

from dejavu_models.schedule.history import (
    MAX_BREAK,
    MAX_REST,
    Appearance,
    GameSchedule,
    ScheduleHistory,
    TeamSchedule,
)
from dejavu_models.schedule.terms import HIGH_ALTITUDE, NO_TERMS, GameTerms, TotalTerms, game_terms, total_terms

__all__ = [
    "HIGH_ALTITUDE",
    "MAX_BREAK",
    "MAX_REST",
    "NO_TERMS",
    "Appearance",
    "GameSchedule",
    "GameTerms",
    "ScheduleHistory",
    "TeamSchedule",
    "TotalTerms",
    "game_terms",
    "total_terms",
]
