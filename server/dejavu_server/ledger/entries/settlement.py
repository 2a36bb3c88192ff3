"""How a forecast fared against an outcome: arithmetic alone, so that anybody can do it again from the entries."""

from __future__ import annotations

from typing import NamedTuple

from dejavu_models.betting import Market, MarketAnswer, MarketSide
from dejavu_models.metrics import crps_of_quantiles
from dejavu_models.uncertainty.adaptive import static_score
from dejavu_server.records import IssuedForecast, ReportedOutcome, Settlement


class Bet(NamedTuple):
    """What a forecast's answer to a market comes to.

    Attributes:
        line: the differential at which both sides are level, in points.
        side: the one with a stake; None without one.
        decimal_odds: of that side; 0 without one.
        stake_fraction: on that side, as a share of the bankroll; 0 without one.
    """

    line: float
    side: MarketSide | None
    decimal_odds: float
    stake_fraction: float

    @classmethod
    def from_market(cls, market: Market, answer: MarketAnswer) -> Bet:
        """The bet that an answer advises."""
        if answer.side is None:
            return cls(market.line, None, 0.0, 0.0)
        side = answer.home if answer.side is MarketSide.HOME else answer.away
        return cls(market.line, answer.side, side.decimal_odds, side.stake_fraction)

    def profit(self, differential: int) -> float:
        """What it brings if the differential comes, as a share of the bankroll; the stake comes back on the line."""
        if self.side is None or differential == self.line:
            return 0.0
        won = (differential > self.line) == (self.side is MarketSide.HOME)
        return self.stake_fraction * (self.decimal_odds - 1.0) if won else -self.stake_fraction


def settle(issued: IssuedForecast, outcome: ReportedOutcome, bet: Bet | None = None) -> Settlement:
    """How a forecast fared.

    The Brier score is that of Brier, Monthly Weather Review 78 (1950); the CRPS that of Gneiting & Raftery, JASA 102
    (2007), from the quantiles that the forecast keeps.

    Args:
        issued: the forecast.
        outcome: of its game and horizon.
        bet: what it advised, if it was asked about a market.

    Raises:
        ValueError: if the outcome is of another game or horizon.
    """
    forecast, came = issued.forecast, outcome.differential
    if (issued.game_id, forecast.horizon) != (outcome.game_id, outcome.horizon):
        raise ValueError("an outcome settles forecasts of its own game and horizon alone")
    known = bool(forecast.distribution)  # release 0.1.0 recorded none
    return Settlement(
        outcome_sequence=outcome.sequence,
        error=forecast.point - came,
        persistence_error=issued.pattern.last - came,
        covered=came in forecast.interval,
        brier=(forecast.home_lead_probability - (1.0 if came > 0 else 0.0)) ** 2,
        crps=crps_of_quantiles(forecast.distribution, came) if known else None,
        score=static_score(forecast.distribution, forecast.static_scores, came) if known else None,
        market_profit=None if bet is None else bet.profit(came),
    )
