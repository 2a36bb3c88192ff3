"""The canonical form of an outcome's entry: how it is written, and read back."""

from __future__ import annotations

from dejavu_models.types import Horizon
from dejavu_server.ledger.entries.encoding import OUTCOME, decode_entry, dumps, from_microseconds, microseconds, reading
from dejavu_server.records import ReportedOutcome


def outcome_payload(outcome: ReportedOutcome) -> str:
    """The payload of an outcome's canonical form.

    Raises:
        ValueError: if it names no game, or ends a game level, or its times are not UTC.
    """
    if not outcome.game_id:
        raise ValueError("an outcome without a game is not recorded")
    if outcome.horizon is Horizon.FINAL and outcome.differential == 0:
        raise ValueError("no game ends level")
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
    """Reads the canonical form of an outcome's entry.

    Raises:
        ValueError: if it is not one.
    """
    entry = decode_entry(OUTCOME, canonical)
    with reading(OUTCOME):
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
