"""Table rows of the ledger, derived from the entries alone; verification derives them again."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from dejavu_common.clock import microseconds
from dejavu_feed.game_ids import is_replay
from dejavu_models.betting import MarketSide
from dejavu_server.ledger.entries.codec import PreparedForecast
from dejavu_server.ledger.entries.settlement import Bet
from dejavu_server.records import IssuedForecast, ReportedOutcome, Settlement, game_day

Row = dict[str, Any]
"""Column name → value: the parameters of a statement."""

SCORES: Final = tuple(field.name for field in fields(Settlement))
"""Columns of `settlements` that are fields of a Settlement."""


def forecast_row(issued: IssuedForecast, prepared: PreparedForecast) -> Row:
    """Returns the row of `forecasts` for a recorded forecast."""
    forecast = issued.forecast
    return {
        "sequence": issued.sequence,
        "key": prepared.key,
        "revision": issued.revision,
        "pattern": prepared.pattern,
        "game_id": issued.game_id,
        "horizon": forecast.horizon.value,
        "generated_us": microseconds(issued.generated_time),
        "day": game_day(issued.generated_time).toordinal(),
        "home_team": issued.home_team,
        "away_team": issued.away_team,
        "model_version": forecast.model_version,
        "minute": int(forecast.elapsed_minutes),
        "alpha": float(forecast.alpha),
        "confidence": max(float(forecast.home_lead_probability), 1.0 - float(forecast.home_lead_probability)),
        "replay": is_replay(issued.game_id),
        "late": _late(issued),
    }


def outcome_row(outcome: ReportedOutcome, first_sequence: int) -> Row:
    """Returns the row of `outcomes` for a recorded outcome, given the sequence of its revision 0."""
    return {
        "sequence": outcome.sequence,
        "first_sequence": first_sequence,
        "game_id": outcome.game_id,
        "horizon": outcome.horizon.value,
        "revision": outcome.revision,
        "differential": outcome.differential,
        "home_team": outcome.home_team,
        "away_team": outcome.away_team,
        "observed_us": microseconds(outcome.observed_time),
        "day": game_day(outcome.observed_time).toordinal(),
        "replay": is_replay(outcome.game_id),
    }


def market_row(sequence: int, forecast_sequence: int, bet: Bet) -> Row:
    """Returns the row of `markets` for the market entry at `sequence`."""
    return {
        "sequence": sequence,
        "forecast_sequence": forecast_sequence,
        "line": bet.line,
        "side": "" if bet.side is None else bet.side.value,
        "decimal_odds": bet.decimal_odds,
        "stake_fraction": bet.stake_fraction,
    }


def _late(issued: IssuedForecast) -> str:
    return "" if issued.late is None else issued.late.value


def read_bet(line: float, side: str, decimal_odds: float, stake_fraction: float) -> Bet:
    """Returns the bet of a row of `markets`.

    Raises:
        ValueError: if the side is unknown.
    """
    return Bet(line, MarketSide(side) if side else None, decimal_odds, stake_fraction)


def settlement_row(
    issued: IssuedForecast,
    outcome: ReportedOutcome,
    settlement: Settlement,
    *,
    first_sequence: int,
    superseded: bool,
    bet: Bet | None,
) -> Row:
    """Returns the row of `settlements` for a forecast.

    Args:
        issued: the forecast.
        outcome: the newest revision of its outcome.
        settlement: the scores of the forecast against the outcome.
        first_sequence: sequence of the outcome's revision 0.
        superseded: whether a later revision that was recorded in time replaced the forecast.
        bet: the bet it advised, if it was sent a market.
    """
    forecast = issued.forecast
    return {
        "forecast_sequence": issued.sequence,
        **{name: getattr(settlement, name) for name in SCORES},
        "first_sequence": first_sequence,
        "game_id": issued.game_id,
        "horizon": forecast.horizon.value,
        "minute": int(forecast.elapsed_minutes),
        "model_version": forecast.model_version,
        "alpha": float(forecast.alpha),
        "day": game_day(issued.generated_time).toordinal(),
        "replay": is_replay(issued.game_id),
        "superseded": superseded,
        "late": _late(issued),
        "differential": outcome.differential,
        "width": forecast.interval.upper - forecast.interval.lower,
        "home_lead_probability": float(forecast.home_lead_probability),
        "home_led": outcome.differential > 0,
        "market_stake": None if bet is None else bet.stake_fraction,
    }
