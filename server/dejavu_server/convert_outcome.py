"""An outcome of the ledger as the contract's message."""

from __future__ import annotations

from dejavu.v1 import record_pb2
from dejavu_server.convert import timestamp
from dejavu_server.convert_horizon import HORIZON_VALUES
from dejavu_server.records import ReportedOutcome


def outcome_message(outcome: ReportedOutcome) -> record_pb2.Outcome:
    """An outcome, as streams send it and the record tells it."""
    return record_pb2.Outcome(
        game_id=outcome.game_id,
        horizon=HORIZON_VALUES[outcome.horizon],
        differential=outcome.differential,
        home_team=outcome.home_team,
        away_team=outcome.away_team,
        observed_time=timestamp(outcome.observed_time),
        recorded_time=timestamp(outcome.recorded_time),
        sequence=outcome.sequence,
        revision=outcome.revision,
    )
