"""What a forecast means for a bet at given odds: expected value, Kelly's fraction, stake, risk."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class MarketSide(enum.Enum):
    """A side of a bet; its value is the name used in files."""

    HOME = "home"
    AWAY = "away"


class RiskLevel(enum.Enum):
    """How much is at stake, or how unsettled a game is."""

    LOW = "low"
    MODERATE = "moderate"
    HIGH = "high"
    EXTREME = "extreme"


@dataclass(frozen=True, slots=True)
class Market:
    """Odds on who is ahead by more than a line at a horizon.

    Attributes:
        line: the differential (home − away, in points) at which both sides are level: a multiple of 0.5 within ±100.
        home_odds, away_odds: decimal odds, above 1 and at most 1000.
        bankroll: what can be staked, above 0 and finite; 1 where stakes are wanted as shares.
        confidence_threshold: least win probability of a bet worth considering, in [0, 1); None for the server's.
    """

    line: float
    home_odds: float
    away_odds: float
    bankroll: float = 1.0
    confidence_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class MarketSideAnswer:
    """What a forecast says of one side of a market.

    Attributes:
        win_probability: P(it wins).
        implied_probability: 1 / decimal_odds, the bookmaker's margin included.
        expected_value: expected profit for a stake of 1.
        kelly_fraction: share of a bankroll that makes it grow fastest, in [0, 1); not capped.
        stake_fraction: what is left of it after fraction and cap.
        stake: that share of the bankroll.
    """

    decimal_odds: float
    win_probability: float
    implied_probability: float
    expected_value: float
    kelly_fraction: float
    stake_fraction: float
    stake: float


@dataclass(frozen=True, slots=True)
class MarketAnswer:
    """What a forecast says of a market.

    Attributes:
        push_probability: P(differential = line).
        overround: what the odds add up to beyond 1.
        side: the side with a stake; None without one.
        stake: on that side, in the bankroll's currency; 0 without one.
        confidence_met: whether the side's win probability (without a side: the likelier one's) reaches the threshold.
    """

    home: MarketSideAnswer
    away: MarketSideAnswer
    push_probability: float
    overround: float
    side: MarketSide | None
    stake: float
    risk_level: RiskLevel
    confidence_met: bool
    confidence_threshold: float
