"""Table rows of the ledger, derived from the entries alone; verification derives them again."""

from __future__ import annotations

from typing import Any

from dejavu_common.clock import game_day, microseconds
from dejavu_feed.game_ids import is_replay
from dejavu_ledger.entries import box_scores, scored_values
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.betting import Market, MarketKind
from dejavu_models.types import PLAUSIBLE_GAP

Row = dict[str, Any]
"""Column name → value: the parameters of a statement."""


def forecast_row(issued: IssuedForecast, key: str, pattern: str, *, owned: bool) -> Row:
    """Return the row of `forecasts` for a recorded forecast.

    Args:
        issued: the forecast.
        key: its identity, see `record.key_of`.
        pattern: its pattern as canonical JSON.
        owned: whether it counts for its game, see `record.GameRecord.owns`.
    """
    forecast, terms = issued.forecast, issued.forecast.expected_margin_terms
    return {
        "sequence": issued.sequence,
        "key": key,
        "revision": issued.revision,
        "pattern": pattern,
        "game_id": issued.game_id,
        "horizon": forecast.horizon.value,
        "generated_us": microseconds(issued.generated_time),
        "day": issued.listed_day.toordinal(),
        "home_team": issued.home_team,
        "away_team": issued.away_team,
        "model_version": forecast.model_version,
        "minute": int(forecast.elapsed_minutes),
        "elapsed_s": float(forecast.elapsed_seconds),
        "at_moment": forecast.moment is not None,
        "alpha": float(forecast.alpha),
        "confidence": max(float(forecast.home_lead_probability), 1.0 - float(forecast.home_lead_probability)),
        "replay": is_replay(issued.game_id),
        "margin_plausible": _is_plausible(issued),
        "pregame_margin": None if issued.pregame_margin is None else float(issued.pregame_margin),
        "pregame_total": issued.live.pregame_total,
        "neutral_site": issued.live.neutral_site,
        "missing_players": None if terms is None else terms.missing_players or None,
        "late": "" if issued.late is None else issued.late.value,
        "scored_values": scored_values.pack(forecast, issued.last_known),
        "recorded_by": issued.recorded_by,
        "owned": owned,
        "lease": issued.lease,
        "total_values": scored_values.pack_total(issued),
    }


def _is_plausible(issued: IssuedForecast) -> bool:
    """Return whether the request of a forecast gave no margin, or one near that of the ratings."""
    given, rated = issued.pregame_margin, issued.forecast.rated_margin
    return given is None or (rated is not None and abs(given - rated) <= PLAUSIBLE_GAP)


def outcome_row(outcome: ReportedOutcome, first_sequence: int, *, has_forecasts: bool) -> Row:
    """Return the row of `outcomes` for a recorded outcome.

    Args:
        outcome: the outcome.
        first_sequence: sequence of its first report since the last withdrawal, if any.
        has_forecasts: whether a forecast of its game is recorded before it.
    """
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
        "withdrawn": outcome.withdrawn,
        "void": outcome.withdrawn and not has_forecasts,
        "total_points": outcome.total_points,
        "overtimes": outcome.overtimes,
        "players": box_scores.text_of(outcome.players),
        "recorded_by": outcome.recorded_by,
    }


def market_row(sequence: int, forecast_sequence: int, market: Market, sent_us: int | None) -> Row:
    """Return the row of `markets` for the market entry at a sequence; `sent_us`: None if it came with its forecast."""
    on_total = market.kind is MarketKind.TOTAL
    return {
        "sequence": sequence,
        "forecast_sequence": forecast_sequence,
        "on_total": on_total,
        "sent_us": sent_us,
    }
