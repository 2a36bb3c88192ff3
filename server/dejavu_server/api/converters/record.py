"""Converts recorded forecasts, outcomes, scorecards and checkpoints to messages; record_requests.py reads requests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from dejavu.v1 import record_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu_models.scorecard import (
    Coverage,
    LeaderboardEntry,
    LeaderboardMetric,
    MarketRecord,
    Scorecard,
    ScoreEstimate,
)
from dejavu_server.api.converters.horizon import HORIZON_VALUES
from dejavu_server.api.converters.market import market_answer_message, market_message
from dejavu_server.api.converters.prediction import forecast_message, timestamp
from dejavu_server.ledger.queries.predictions import RecordedGame
from dejavu_server.records import Checkpoint, RecordedForecast, ReportedOutcome, Settlement

_METRIC_VALUES: Final = {
    LeaderboardMetric.CRPS: pb.LEADERBOARD_METRIC_CRPS,
    LeaderboardMetric.MAE: pb.LEADERBOARD_METRIC_MAE,
    LeaderboardMetric.BRIER: pb.LEADERBOARD_METRIC_BRIER,
    LeaderboardMetric.MAE_DIFFERENCE: pb.LEADERBOARD_METRIC_MAE_DIFFERENCE,
    LeaderboardMetric.COVERAGE_GAP: pb.LEADERBOARD_METRIC_COVERAGE_GAP,
}


def recorded_message(recorded: RecordedForecast) -> record_pb2.RecordedPrediction:
    """Converts a recorded forecast, with its outcome and settlement, to a message."""
    issued, market, answer = recorded.issued, recorded.market, recorded.market_answer
    return record_pb2.RecordedPrediction(
        forecast=forecast_message(issued, explanation=True, distribution=True),
        pattern=issued.pattern.differentials,
        outcome=None if recorded.outcome is None else outcome_message(recorded.outcome),
        settlement=None if recorded.settlement is None else settlement_message(recorded.settlement),
        superseded=recorded.superseded,
        market=None if market is None else market_message(market, issued.forecast.horizon),
        market_answer=None if answer is None else market_answer_message(answer),
    )


def settlement_message(settlement: Settlement) -> record_pb2.Settlement:
    """Converts a settlement to a message."""
    return record_pb2.Settlement(
        outcome_sequence=settlement.outcome_sequence,
        error=settlement.error,
        absolute_error=abs(settlement.error),
        persistence_absolute_error=abs(settlement.persistence_error),
        covered=settlement.covered,
        brier=settlement.brier,
        crps=settlement.crps,
    )


def game_message(game: RecordedGame) -> pb.GetPredictionResponse:
    """Converts the latest forecast of a game, its revisions and its outcomes to a message."""
    return pb.GetPredictionResponse(
        prediction=recorded_message(game.latest),
        revisions=[recorded_message(each) for each in game.revisions],
        outcomes=[outcome_message(each) for each in game.outcomes],
    )


def checkpoint_message(checkpoint: Checkpoint) -> record_pb2.Checkpoint:
    """Converts a checkpoint to a message."""
    return record_pb2.Checkpoint(
        ledger_id=checkpoint.ledger_id,
        epoch=checkpoint.epoch,
        sequence=checkpoint.sequence,
        hash=checkpoint.hash,
        signed_time=timestamp(checkpoint.signed_time),
        public_key=checkpoint.public_key,
        signature=checkpoint.signature,
    )


def scorecard_message(card: Scorecard) -> pb.Scorecard:
    """Converts a scorecard to a message."""
    return pb.Scorecard(
        games=card.games,
        forecasts=card.forecasts,
        mae=_estimate_message(card.mae),
        persistence_mae=_estimate_message(card.persistence_mae),
        mae_difference=_estimate_message(card.mae_difference),
        coverage=[_coverage_message(each) for each in card.coverage],
        crps=_estimate_message(card.crps),
        brier=_estimate_message(card.brier),
        ece=card.ece,
        market=None if card.market is None else _market_record_message(card.market),
    )


def leaderboard_message(
    entries: Iterable[LeaderboardEntry], metric: LeaderboardMetric, min_games: int
) -> pb.GetLeaderboardResponse:
    """Converts a leaderboard to a message."""
    return pb.GetLeaderboardResponse(
        rows=[
            pb.LeaderboardRow(
                rank=each.rank,
                model_version=each.model_version,
                value=each.value,
                scorecard=scorecard_message(each.scorecard),
            )
            for each in entries
        ],
        metric=_METRIC_VALUES[metric],
        min_games=min_games,
    )


def _estimate_message(estimate: ScoreEstimate | None) -> pb.Figure | None:
    return None if estimate is None else pb.Figure(value=estimate.value, lower=estimate.lower, upper=estimate.upper)


def _coverage_message(coverage: Coverage) -> pb.CoverageFigure:
    return pb.CoverageFigure(
        alpha=coverage.alpha,
        games=coverage.games,
        forecasts=coverage.forecasts,
        coverage=coverage.coverage,
        lower=coverage.lower,
        upper=coverage.upper,
        mean_width=coverage.mean_width,
    )


def _market_record_message(record: MarketRecord) -> pb.MarketRecord:
    return pb.MarketRecord(
        bets=record.bets,
        markets=record.markets,
        staked=record.staked,
        profit=record.profit,
        roi=record.roi,
        total_return=record.total_return,
        sharpe=record.sharpe,
        max_drawdown=record.max_drawdown,
    )


def outcome_message(outcome: ReportedOutcome) -> record_pb2.Outcome:
    """Converts an outcome to the message that streams and the record service send."""
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
