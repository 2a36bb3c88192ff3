"""Scores a forecast against an outcome: pure arithmetic, reproducible from the entries alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from dejavu_ledger.entries import total_values
from dejavu_ledger.records import (
    IssuedForecast,
    MarketResult,
    ReportedOutcome,
    Settlement,
    TotalSettlement,
)
from dejavu_models.betting import Market, MarketAnswer, MarketKind, MarketSide
from dejavu_models.metrics import crps_of_quantiles
from dejavu_models.uncertainty.adaptive import static_score


class Bet(NamedTuple):
    """The bet that a forecast's answer to a market advises.

    Attributes:
        line: the differential, or total, at which the bet is a push, in points.
        side: the side to bet on; None if no bet is advised.
        decimal_odds: decimal odds of that side; 0 without a bet.
        stake_fraction: stake on that side, as a share of the bankroll; 0 without a bet.
    """

    line: float
    side: MarketSide | None
    decimal_odds: float
    stake_fraction: float

    @classmethod
    def from_market(cls, market: Market, answer: MarketAnswer) -> Bet:
        """Return the bet that an answer advises."""
        if (chosen := answer.chosen) is None:
            return cls(market.line, None, 0.0, 0.0)
        return cls(market.line, answer.side, chosen.decimal_odds, chosen.stake_fraction)

    def profit(self, points: int) -> float:
        """Return the profit at a differential or total, as a share of the bankroll; 0 on a push."""
        match self.result(points):
            case MarketResult.WON:
                return self.stake_fraction * (self.decimal_odds - 1.0)
            case MarketResult.LOST:
                return -self.stake_fraction
            case _:
                return 0.0

    def result(self, points: int) -> MarketResult | None:
        """Return the result of the bet at a differential or total; None if there is no bet."""
        if self.side is None:
            return None
        if points == self.line:
            return MarketResult.PUSH
        won = (points > self.line) == self.side.is_above
        return MarketResult.WON if won else MarketResult.LOST


_NO_BETS: Final[Mapping[MarketKind, Bet]] = MappingProxyType({})


def settle(issued: IssuedForecast, outcome: ReportedOutcome, bets: Mapping[MarketKind, Bet] = _NO_BETS) -> Settlement:
    """Score a forecast against its outcome.

    The Brier score is that of Brier, Monthly Weather Review 78 (1950); the CRPS that of Gneiting & Raftery, JASA 102
    (2007), from the quantiles recorded with the forecast.

    Args:
        issued: the forecast.
        outcome: the outcome of its game and horizon.
        bets: by kind, the bets that the forecast's answers to the markets of its request advised.

    Raises:
        ValueError: if the outcome is of another game or horizon.
    """
    forecast, differential, bet = issued.forecast, outcome.differential, bets.get(MarketKind.LEAD)
    if (issued.game_id, forecast.horizon) != (outcome.game_id, outcome.horizon):
        raise ValueError("an outcome settles only forecasts of its own game and horizon")
    has_distribution = bool(forecast.distribution)
    return Settlement(
        outcome_sequence=outcome.sequence,
        error=forecast.point - differential,
        persistence_error=issued.last_known - differential,
        covered=differential in forecast.interval,
        brier=(forecast.home_lead_probability - (1.0 if differential > 0 else 0.0)) ** 2,
        crps=crps_of_quantiles(forecast.distribution, differential) if has_distribution else None,
        score=static_score(forecast.distribution, forecast.static_scores, differential) if has_distribution else None,
        market_profit=None if bet is None else bet.profit(differential),
        market_result=None if bet is None else bet.result(differential),
        total=_settle_total(issued, outcome, bets.get(MarketKind.TOTAL)),
    )


def _settle_total(issued: IssuedForecast, outcome: ReportedOutcome, bet: Bet | None) -> TotalSettlement | None:
    total, pace = issued.forecast.total, total_values.pace(issued)
    if total is None or pace is None or outcome.total_points is None:
        return None
    return TotalSettlement(
        error=total.point - outcome.total_points,
        pace_error=pace - outcome.total_points,
        covered=outcome.total_points in total.interval,
        crps=crps_of_quantiles(total.distribution, outcome.total_points),
        market_profit=None if bet is None else bet.profit(outcome.total_points),
        market_result=None if bet is None else bet.result(outcome.total_points),
    )
