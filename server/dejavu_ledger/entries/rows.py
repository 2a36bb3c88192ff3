"""Table rows of the ledger, derived from the entries alone; verification derives them again."""

from __future__ import annotations

from typing import Any, NamedTuple

from dejavu_common.clock import game_day, microseconds
from dejavu_feed.box_score import PlayerLine
from dejavu_feed.game_ids import is_replay
from dejavu_ledger.entries import canonical_json, codec, scored_values
from dejavu_ledger.records import IssuedForecast, MarketEntry, ReportedOutcome, ShadowForecast
from dejavu_models.betting import MarketKind
from dejavu_models.types import PLAUSIBLE_GAP
from dejavu_store.stages import ModelChange

Row = dict[str, Any]
"""Column name → value: the parameters of a statement."""


class ForecastRow(NamedTuple):
    """Columns of a forecast's row that its shadows share or are checked against.

    Attributes:
        sequence: of the forecast.
        model_version: of the model that made it.
        scored_values: see `scored_values`.
    """

    sequence: int
    game_id: str
    horizon: str
    minute: int
    alpha: float
    model_version: str
    scored_values: bytes


def forecast_row(issued: IssuedForecast, key: str, pattern: str, *, owned: bool) -> Row:
    """Return the row of `forecasts` for a recorded forecast.

    Args:
        issued: the forecast.
        key: its identity, see `rules.key_of`.
        pattern: its pattern as canonical JSON.
        owned: whether it counts for its game, see `rules.GameRecord.owns`.
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


def outcome_row(outcome: ReportedOutcome, first_sequence: int) -> Row:
    """Return the row of `outcomes` for a recorded outcome.

    Args:
        outcome: the outcome.
        first_sequence: sequence of its first report since the last withdrawal, if any.
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
        "total_points": outcome.total_points,
        "overtimes": outcome.overtimes,
        "players": canonical_json.dumps(codec.players_rows(outcome.players)) if outcome.players else None,
        "recorded_by": outcome.recorded_by,
    }


def players_of(text: str | None) -> tuple[PlayerLine, ...]:
    """Return the box score in the column `players` of an outcome.

    Raises:
        ValueError: if the text is not a box score.
    """
    return () if text is None else codec.players_of(canonical_json.loads(text))


def market_row(market: MarketEntry) -> Row:
    """Return the row of `markets` for a recorded market; without the time when it was sent if its forecast has that."""
    return {
        "sequence": market.sequence,
        "forecast_sequence": market.forecast_sequence,
        "on_total": market.market.kind is MarketKind.TOTAL,
        "sent_us": None if market.requested_time is None else microseconds(market.requested_time),
    }


def change_row(change: ModelChange) -> Row:
    """Return the row of `model_changes` for a recorded change."""
    return {"sequence": change.sequence, "model_version": change.model_version, "from_version": change.from_version}


def shadow_row(shadow: ShadowForecast, of: ForecastRow) -> Row:
    """Return the row of `shadows` for a recorded shadow, given the row of the shadowed forecast.

    Raises:
        struct.error: if a value is not a number, or the row's scored values are damaged.
    """
    return {
        "sequence": shadow.sequence,
        "forecast_sequence": shadow.forecast_sequence,
        "model_version": shadow.forecast.model_version,
        "scored_values": scored_values.pack(shadow.forecast, scored_values.rival(of.scored_values)),
    }
