"""Converts recorded forecasts, outcomes, scorecards and checkpoints to messages; record_requests.py reads requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dejavu.v1 import record_pb2, scorecard_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu_models.comparison import ShadowRow
from dejavu_models.comparison.shadow_rows import PairedScore
from dejavu_models.scorecard import (
    LeaderboardEntry,
    LeaderboardMetric,
    MarketRecord,
    Scorecard,
    ScoreEstimate,
    TotalScorecard,
)
from dejavu_server.api.converters.fields import HORIZON_VALUES, message_of, timestamp
from dejavu_server.api.converters.forecast_parts import CourseOf
from dejavu_server.api.converters.market import NOTICE, recorded_market_message
from dejavu_server.api.converters.prediction import forecast_message
from dejavu_server.ledger.queries.predictions import RecordedGame
from dejavu_server.records import (
    Checkpoint,
    MarketResult,
    RecordedForecast,
    ReportedOutcome,
    Settlement,
    TotalSettlement,
)

METRIC_VALUES = {
    metric: pb.LeaderboardMetric.Value(f"LEADERBOARD_METRIC_{metric.name}") for metric in LeaderboardMetric
}
"""Enum numbers by domain metric."""

_RESULT_VALUES = {result: record_pb2.MarketResult.Value(f"MARKET_RESULT_{result.name}") for result in MarketResult}


def recorded_message(recorded: RecordedForecast, course_of: CourseOf | None = None) -> record_pb2.RecordedPrediction:
    """Convert a recorded forecast, with its outcome, its settlement and courses of similar games, to a message."""
    issued = recorded.issued
    return record_pb2.RecordedPrediction(
        forecast=forecast_message(issued, explanation=True, distribution=True, course_of=course_of),
        pattern=issued.pattern.differentials,
        outcome=None if recorded.outcome is None else outcome_message(recorded.outcome),
        settlement=None
        if recorded.settlement is None
        else settlement_message(recorded.settlement, recorded.first_outcome_sequence),
        superseded=recorded.superseded,
        recorded_by=issued.recorded_by,
        markets=[recorded_market_message(issued, each) for each in recorded.markets],
    )


def settlement_message(settlement: Settlement, first_outcome_sequence: int) -> record_pb2.Settlement:
    """Convert a settlement to a message.

    Args:
        settlement: the settlement.
        first_outcome_sequence: sequence of the first report of its outcome.
    """
    return message_of(
        record_pb2.Settlement,
        settlement,
        absolute_error=abs(settlement.error),
        persistence_absolute_error=abs(settlement.persistence_error),
        first_outcome_sequence=first_outcome_sequence,
        **_bet_fields(settlement),
        total=None if settlement.total is None else _total_settlement_message(settlement.total),
    )


def _total_settlement_message(settlement: TotalSettlement) -> record_pb2.TotalSettlement:
    return message_of(
        record_pb2.TotalSettlement,
        settlement,
        absolute_error=abs(settlement.error),
        pace_absolute_error=abs(settlement.pace_error),
        **_bet_fields(settlement),
    )


def _bet_fields(settlement: Settlement | TotalSettlement) -> dict[str, Any]:
    """Return the result of a bet and its profit; both are absent without a stake."""
    if settlement.market_result is None:
        return {"market_result": None, "market_profit": None}
    return {"market_result": _RESULT_VALUES[settlement.market_result], "market_profit": settlement.market_profit}


def game_message(game: RecordedGame, course_of: CourseOf | None = None) -> pb.GetPredictionResponse:
    """Convert the latest forecast of a game, its revisions and its outcomes to a message."""
    return pb.GetPredictionResponse(
        prediction=recorded_message(game.latest, course_of),
        revisions=[recorded_message(each) for each in game.revisions],
        outcomes=[outcome_message(each) for each in game.outcomes],
    )


def checkpoint_message(checkpoint: Checkpoint) -> record_pb2.Checkpoint:
    """Convert a checkpoint to a message."""
    return message_of(record_pb2.Checkpoint, checkpoint, signed_time=timestamp(checkpoint.signed_time))


def scorecard_message(card: Scorecard) -> scorecard_pb2.Scorecard:
    """Convert a scorecard to a message."""
    return message_of(
        scorecard_pb2.Scorecard,
        card,
        mae=_estimate_message(card.mae),
        persistence_mae=_estimate_message(card.persistence_mae),
        mae_difference=_estimate_message(card.mae_difference),
        coverage=[message_of(scorecard_pb2.CoverageFigure, each) for each in card.coverage],
        crps=_estimate_message(card.crps),
        brier=_estimate_message(card.brier),
        market=None if card.market is None else _market_record_message(card.market),
        total=None if card.total is None else _total_message(card.total),
        left_out=message_of(scorecard_pb2.LeftOut, card.left_out) if any(card.left_out) else None,
        leader_brier=_estimate_message(card.leader_brier),
        brier_difference=_estimate_message(card.brier_difference),
        reliability=[message_of(scorecard_pb2.ReliabilityBin, each) for each in card.reliability],
    )


def leaderboard_message(
    entries: Iterable[LeaderboardEntry],
    metric: LeaderboardMetric,
    min_games: int,
    shadows: Iterable[ShadowRow] = (),
) -> pb.GetLeaderboardResponse:
    """Convert a leaderboard and the staged models to a message."""
    return pb.GetLeaderboardResponse(
        rows=[message_of(pb.LeaderboardRow, each, scorecard=scorecard_message(each.scorecard)) for each in entries],
        metric=METRIC_VALUES[metric],
        min_games=min_games,
        shadows=[
            message_of(pb.ShadowRow, each, crps=_paired_message(each.crps), brier=_paired_message(each.brier))
            for each in shadows
        ],
    )


def _paired_message(paired: PairedScore) -> pb.PairedFigure:
    return message_of(pb.PairedFigure, paired, difference=_estimate_message(paired.difference))


def _total_message(card: TotalScorecard) -> scorecard_pb2.TotalScorecard:
    return message_of(
        scorecard_pb2.TotalScorecard,
        card,
        mae=_estimate_message(card.mae),
        pace_mae=_estimate_message(card.pace_mae),
        mae_difference=_estimate_message(card.mae_difference),
        relative_difference=_estimate_message(card.relative_difference),
        crps=_estimate_message(card.crps),
        coverage=[message_of(scorecard_pb2.CoverageFigure, each) for each in card.coverage],
    )


def _market_record_message(record: MarketRecord) -> scorecard_pb2.MarketRecord:
    names = ("closing_line_value", "model_brier", "market_brier", "brier_difference")
    figures = {name: _estimate_message(getattr(record, name)) for name in names}
    return message_of(scorecard_pb2.MarketRecord, record, notice=NOTICE, **figures)


def _estimate_message(estimate: ScoreEstimate | None) -> scorecard_pb2.Figure | None:
    return None if estimate is None else message_of(scorecard_pb2.Figure, estimate)


def outcome_message(outcome: ReportedOutcome) -> record_pb2.Outcome:
    """Convert an outcome to the message that streams and the record service send."""
    return message_of(
        record_pb2.Outcome,
        outcome,
        horizon=HORIZON_VALUES[outcome.horizon],
        observed_time=timestamp(outcome.observed_time),
        recorded_time=timestamp(outcome.recorded_time),
    )
