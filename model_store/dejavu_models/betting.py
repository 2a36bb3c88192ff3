"""What a forecast means for a bet at given odds: expected value, Kelly's fraction, stake, risk.

A bet at decimal odds 1 + b wins b with probability w, loses its stake with probability l, and else gives it back (a
push). For a stake of 1 it is worth b·w − l. The share of a bankroll that makes its logarithm grow fastest is the f that
maximises w·ln(1 + b·f) + l·ln(1 − f): (b·w − l) / (b·(w + l)), or nothing where that is negative (Kelly, A new
interpretation of information rate, 1956; Thorp, The Kelly criterion in blackjack, sports betting and the stock market,
2006). As the probabilities are estimates, only a fraction of it is staked, and never more than a cap (Thorp 2006,
section 7; MacLean, Ziemba & Blazenko, Growth versus security in dynamic investment analysis, 1992).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dejavu_models.errors import InvalidMarket

MAX_LINE = 100.0
"""Bound of a market's line, in points."""

MAX_ODDS = 1000.0
"""The highest decimal odds."""

MIN_AMERICAN = 100
"""American odds are at least this, or at most minus this."""

RISK_BOUNDS: Final = (0.005, 0.01, 0.02)
"""Where a bet's risk is moderate, high and extreme: shares of the bankroll, stake × P(it is lost)."""


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
        confidence_threshold: least win probability of a bet worth considering, in [0, 1); None for the policy's.

    Raises:
        InvalidMarket: if a value is out of bounds; names it as the contract does.
    """

    line: float
    home_odds: float
    away_odds: float
    bankroll: float = 1.0
    confidence_threshold: float | None = None

    def __post_init__(self) -> None:
        # Each comparison is false for NaN too.
        if not (-MAX_LINE <= self.line <= MAX_LINE and float(2 * self.line).is_integer()):
            raise InvalidMarket(f"{self.line}", f"a multiple of 0.5 within ±{MAX_LINE:g}", field="market.line")
        for side, odds in (("home", self.home_odds), ("away", self.away_odds)):
            if not 1.0 < odds <= MAX_ODDS:
                expected = f"a number above 1, at most {MAX_ODDS:g}"
                raise InvalidMarket(f"{odds}", expected, field=f"market.{side}.decimal")
        if not 0.0 < self.bankroll < math.inf:
            raise InvalidMarket(f"{self.bankroll}", "a finite number above 0", field="market.bankroll")
        threshold = self.confidence_threshold
        if threshold is not None and not 0.0 <= threshold < 1.0:
            expected = "a number from 0 on, below 1"
            raise InvalidMarket(f"{threshold}", expected, field="market.confidence_threshold")


@dataclass(frozen=True, slots=True)
class StakingPolicy:
    """How much of what Kelly's fraction says is staked.

    Attributes:
        kelly_fraction: which part of it, in [0, 1].
        kelly_cap: the largest share of a bankroll, in [0, 1].
        confidence_threshold: least win probability of a bet worth considering where a market names none, in [0, 1).

    Raises:
        ValueError: if a value is out of bounds.
    """

    kelly_fraction: float = 0.25
    kelly_cap: float = 0.05
    confidence_threshold: float = 0.55

    def __post_init__(self) -> None:
        for name in ("kelly_fraction", "kelly_cap"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name}: {getattr(self, name)}; expected a number from 0 to 1")
        if not 0.0 <= self.confidence_threshold < 1.0:
            raise ValueError(f"confidence_threshold: {self.confidence_threshold}; expected a number from 0 on, below 1")


DEFAULT_POLICY: Final = StakingPolicy()


@dataclass(frozen=True, slots=True)
class MarketSideAnswer:
    """What a forecast says of one side of a market.

    Attributes:
        win_probability: P(it wins).
        implied_probability: 1 / decimal_odds, the bookmaker's margin included.
        expected_value: expected profit for a stake of 1.
        kelly_fraction: share of a bankroll that makes it grow fastest, in [0, 1]; not capped.
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
        side: the side with a stake: the one worth more, if it is worth anything; None without one. Of a market whose
            odds add up to less than 1, both may be.
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


def american_to_decimal(american: int) -> float:
    """American odds as decimal ones: +150 is 2.5, −200 is 1.5.

    Raises:
        ValueError: if they lie between −100 and +100.
    """
    if abs(american) < MIN_AMERICAN:
        raise ValueError(f"{american}; expected at least {MIN_AMERICAN}, or at most −{MIN_AMERICAN}")
    return 1.0 + (american / 100 if american > 0 else 100 / -american)


def american_of(decimal: float) -> int:
    """The American odds nearest to decimal ones: 2.5 is +150, 1.5 is −200; even odds are +100.

    Raises:
        ValueError: if they are not above 1 and finite.
    """
    if not 1.0 < decimal < math.inf:
        raise ValueError(f"{decimal}; expected a finite number above 1")
    profit = decimal - 1.0
    return round(100 * profit) if profit >= 1.0 else round(-100 / profit)


def evaluate_market(
    market: Market, at_least: Callable[[int], float], policy: StakingPolicy = DEFAULT_POLICY
) -> MarketAnswer:
    """What a forecast says of a market.

    A stake is told whether or not the win probability reaches the confidence threshold; `confidence_met` tells that.

    Args:
        market: the odds.
        at_least: k → P(differential ≥ k) at the market's horizon; does not rise with k.
        policy: how much is staked.
    """
    # The same for whole lines and for half ones, on which nothing is pushed.
    home_wins = float(at_least(math.floor(market.line) + 1))
    home_stays = float(at_least(math.ceil(market.line)))
    push = max(0.0, home_stays - home_wins)
    away_wins = 1.0 - home_stays
    home = _side(market.home_odds, home_wins, away_wins, market.bankroll, policy)
    away = _side(market.away_odds, away_wins, home_wins, market.bankroll, policy)
    staked = [
        (MarketSide.HOME, home, away_wins),
        (MarketSide.AWAY, away, home_wins),
    ]
    side, chosen, loses = max(staked, key=lambda each: each[1].expected_value)
    threshold = policy.confidence_threshold if market.confidence_threshold is None else market.confidence_threshold
    bet = chosen.stake_fraction > 0.0
    confidence = chosen.win_probability if bet else max(home_wins, away_wins)
    return MarketAnswer(
        home=home,
        away=away,
        push_probability=push,
        overround=home.implied_probability + away.implied_probability - 1.0,
        side=side if bet else None,
        stake=chosen.stake if bet else 0.0,
        risk_level=risk_of(chosen.stake_fraction, loses) if bet else RiskLevel.LOW,
        confidence_met=confidence >= threshold,
        confidence_threshold=threshold,
    )


def risk_of(stake_fraction: float, loss_probability: float) -> RiskLevel:
    """How much a bet puts at risk: by the share of the bankroll that it loses, times how likely that is."""
    at_risk = stake_fraction * loss_probability
    return list(RiskLevel)[sum(at_risk >= bound for bound in RISK_BOUNDS)]


def _side(odds: float, wins: float, loses: float, bankroll: float, policy: StakingPolicy) -> MarketSideAnswer:
    profit = odds - 1.0
    expected = profit * wins - loses
    # Where it is worth something it can be won, so that nothing is divided by 0; rounding can carry it beyond 1.
    kelly = min(1.0, expected / (profit * (wins + loses))) if expected > 0.0 else 0.0
    fraction = min(policy.kelly_cap, policy.kelly_fraction * kelly)
    return MarketSideAnswer(
        decimal_odds=odds,
        win_probability=wins,
        implied_probability=1.0 / odds,
        expected_value=expected,
        kelly_fraction=kelly,
        stake_fraction=fraction,
        stake=fraction * bankroll,
    )
