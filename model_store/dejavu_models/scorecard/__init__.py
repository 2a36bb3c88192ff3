"""Scorecards of settled forecasts, and leaderboards of model versions."""

from dejavu_models.scorecard.cards import (
    LeaderboardEntry,
    LeaderboardMetric,
    LeftOut,
    Scorecard,
    leaderboard,
    ranked,
    scorecard,
)
from dejavu_models.scorecard.estimates import Coverage, ScoreEstimate
from dejavu_models.scorecard.market_record import MarketRecord
from dejavu_models.scorecard.settled import Exclusion, SettledForecasts, SettledMarket
from dejavu_models.scorecard.totals import TotalScorecard

__all__ = [
    "Coverage",
    "Exclusion",
    "LeaderboardEntry",
    "LeaderboardMetric",
    "LeftOut",
    "MarketRecord",
    "ScoreEstimate",
    "Scorecard",
    "SettledForecasts",
    "SettledMarket",
    "TotalScorecard",
    "leaderboard",
    "ranked",
    "scorecard",
]
