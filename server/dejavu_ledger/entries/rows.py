"""Table rows of the ledger, derived from the entries alone; verification derives them again."""

from __future__ import annotations

from typing import Any

from dejavu_common.clock import game_day, microseconds
from dejavu_feed.game_ids import is_replay
from dejavu_ledger.entries import box_scores, scored_values, total_values
from dejavu_ledger.entries.codec import PreparedForecast
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.betting import Market, MarketKind
from dejavu_models.types import PLAUSIBLE_GAP

Row = dict[str, Any]
"""Column name → value: the parameters of a statement."""


def forecast_row(issued: IssuedForecast, prepared: PreparedForecast) -> Row:
    """Return the row of `forecasts` for a recorded forecast."""
    forecast, terms = issued.forecast, issued.forecast.expected_margin_terms
    return {
        "sequence": issued.sequence,
        "key": prepared.key,
        "revision": issued.revision,
        "pattern": prepared.pattern,
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
        "margin_given": issued.pregame_margin is not None,
        "margin_plausible": _is_plausible(issued),
        "pregame_total": issued.live.pregame_total,
        "neutral_site": issued.live.neutral_site,
        "missing_players": None if terms is None else terms.missing_players or None,
        "late": "" if issued.late is None else issued.late.value,
        "scored_values": scored_values.pack(
            forecast.point,
            issued.last_known,
            (forecast.interval.lower, forecast.interval.upper),
            forecast.home_lead_probability,
            forecast.distribution,
        ),
        "recorded_by": issued.recorded_by,
        "total_values": total_values.pack(issued),
    }


def _is_plausible(issued: IssuedForecast) -> bool:
    """Return whether the request of a forecast gave no margin, or one near that of the ratings."""
    given, rated = issued.pregame_margin, issued.forecast.rated_margin
    return given is None or (rated is not None and abs(given - rated) <= PLAUSIBLE_GAP)


def outcome_row(outcome: ReportedOutcome, first_sequence: int) -> Row:
    """Return the row of `outcomes` for a recorded outcome, given the sequence of its first report (see `outcomes`)."""
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
        "total_points": outcome.total_points,
        "players": box_scores.text_of(outcome.players),
    }


def market_row(sequence: int, forecast_sequence: int, market: Market) -> Row:
    """Return the row of `markets` for the market entry at `sequence`."""
    on_total = market.kind is MarketKind.TOTAL
    return {"sequence": sequence, "forecast_sequence": forecast_sequence, "on_total": on_total}
