"""Outcomes and markets for tests of recording and settlement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from tests.support.builders.issued_forecasts import GAME

from dejavu_ledger.records import IssuedForecast, ReportedOutcome, SentMarket
from dejavu_models.betting import Market, MarketAnswer, MarketSide, MarketSideAnswer, RiskLevel
from dejavu_models.types import Horizon

MARKET = Market(line=-2.5, above_odds=1.9, below_odds=1.95, bankroll=100.0)


def outcome(
    differential: int,
    game_id: str = GAME,
    *,
    horizon: Horizon = Horizon.HALFTIME,
    home_team: str = "BKN",
    away_team: str = "GSW",
    observed_time: datetime | None = None,
    recorded_time: datetime | None = None,
) -> ReportedOutcome:
    """Return an outcome that is not yet recorded, observed now by default."""
    now = datetime.now(UTC) if observed_time is None else observed_time
    return ReportedOutcome(game_id, horizon, differential, home_team, away_team, now, recorded_time or now)


def answered(side: MarketSide | None, *, stake_fraction: float = 0.0) -> MarketAnswer:
    """Return an evaluation of `MARKET` that stakes a share of the bankroll on a side."""
    assert MARKET.prices is not None
    above, below = MARKET.prices
    home = MarketSideAnswer(0.64, 0.6, above, 0.56, 1 / above, 0.14, 0.15)
    away = MarketSideAnswer(0.36, 0.4, below, 0.44, 1 / below, -0.22)
    stake = stake_fraction * MARKET.bankroll
    if side is MarketSide.HOME:
        home = replace(home, stake_fraction=stake_fraction, stake=stake)
    elif side is MarketSide.AWAY:
        away = replace(away, stake_fraction=stake_fraction, stake=stake)
    return MarketAnswer(
        above=home,
        below=away,
        push_probability=0.0,
        overround=1 / above + 1 / below - 1,
        side=side,
        stake=stake,
        risk_level=RiskLevel.MODERATE,
        confidence_met=True,
    )


def asked(forecast: IssuedForecast, answer: MarketAnswer, market: Market = MARKET) -> IssuedForecast:
    """Return a forecast with a market and its evaluation."""
    return replace(forecast, markets=(SentMarket(market),), forecast=replace(forecast.forecast, market=answer))
