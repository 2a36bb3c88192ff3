"""Canonical form of an outcome entry: writes it and parses it."""

from __future__ import annotations

from dejavu_common.clock import from_microseconds, microseconds
from dejavu_models.types import Horizon
from dejavu_server.ledger.entries.encoding import (
    OUTCOME,
    decode_entry,
    dumps,
    parse_errors,
)
from dejavu_server.records import ReportedOutcome


def outcome_payload(outcome: ReportedOutcome) -> str:
    """Returns the payload of an outcome's canonical form.

    Raises:
        ValueError: if the game id is empty, a final differential is 0, or a time is not UTC.
    """
    if not outcome.game_id:
        raise ValueError("cannot record an outcome without a game")
    if outcome.horizon is Horizon.FINAL and outcome.differential == 0:
        raise ValueError("the final differential cannot be 0")
    return dumps(
        {
            "away_team": outcome.away_team,
            "differential": int(outcome.differential),
            "game_id": outcome.game_id,
            "home_team": outcome.home_team,
            "horizon": outcome.horizon.value,
            "observed_us": microseconds(outcome.observed_time),
            "recorded_us": microseconds(outcome.recorded_time),
        }
    )


def parse_outcome(canonical: str) -> ReportedOutcome:
    """Parses the canonical form of an outcome entry.

    Raises:
        ValueError: if the text is not one.
    """
    entry = decode_entry(OUTCOME, canonical)
    with parse_errors(OUTCOME):
        payload = entry["payload"]
        return ReportedOutcome(
            game_id=payload["game_id"],
            horizon=Horizon(payload["horizon"]),
            differential=payload["differential"],
            home_team=payload["home_team"],
            away_team=payload["away_team"],
            observed_time=from_microseconds(payload["observed_us"]),
            recorded_time=from_microseconds(payload["recorded_us"]),
            sequence=entry["sequence"],
            revision=entry["revision"],
        )
