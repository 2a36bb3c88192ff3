"""Converts recorded forecasts, outcomes, scorecards and checkpoints to messages; record_requests.py reads requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from dejavu.v1 import record_pb2, scorecard_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu_ledger.queries.predictions import RecordedGame
from dejavu_ledger.queries.scorecards import TEAM_CODES
from dejavu_ledger.records import Checkpoint, RecordedForecast, ReportedOutcome, Settlement, TotalSettlement
from dejavu_models.comparison import Comparison
from dejavu_models.scorecard.cards import LeaderboardEntry, LeaderboardMetric, Scorecard
from dejavu_models.scorecard.market_record import MarketRecord
from dejavu_server.api.converters.fields import message_of
from dejavu_server.api.converters.forecast import CourseOf, forecast_message
from dejavu_server.api.converters.market import NOTICE, recorded_market_message

METRIC_VALUES = {
    metric: pb.LeaderboardMetric.Value(f"LEADERBOARD_METRIC_{metric.name}") for metric in LeaderboardMetric
}
"""Enum numbers by domain metric."""

_TEAMS: Final = {code: team for team, code in TEAM_CODES.items()}


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
        of_others=recorded.of_others,
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
        total=None if settlement.total is None else _total_settlement_message(settlement.total),
    )


def _total_settlement_message(settlement: TotalSettlement) -> record_pb2.TotalSettlement:
    return message_of(
        record_pb2.TotalSettlement,
        settlement,
        absolute_error=abs(settlement.error),
        pace_absolute_error=abs(settlement.pace_error),
    )


def game_message(game: RecordedGame, course_of: CourseOf | None = None) -> pb.GetPredictionResponse:
    """Convert the latest forecast of a game, its revisions and its outcomes to a message."""
    return pb.GetPredictionResponse(
        prediction=recorded_message(game.latest, course_of),
        revisions=[recorded_message(each) for each in game.revisions],
        outcomes=[outcome_message(each) for each in game.outcomes],
    )


def checkpoint_message(checkpoint: Checkpoint) -> record_pb2.Checkpoint:
    """Convert a checkpoint to a message."""
    return message_of(record_pb2.Checkpoint, checkpoint)


def scorecard_message(card: Scorecard, games: Mapping[int, str]) -> scorecard_pb2.Scorecard:
    """Convert a scorecard to a message, given the ids of the games of its bets by their order."""
    return message_of(
        scorecard_pb2.Scorecard,
        card,
        market=None if card.market is None else _market_message(card.market, games),
        left_out=card.left_out if any(card.left_out) else None,
    )


def _market_message(market: MarketRecord, games: Mapping[int, str]) -> scorecard_pb2.MarketRecord:
    roi = market.roi
    value, lower, upper = (None, None, None) if roi is None else (roi.value, roi.lower, roi.upper)
    placed = [
        message_of(
            scorecard_pb2.PlacedBet,
            each,
            game_id=games[each.order],
            game_date=date.fromordinal(each.day),
            home_team=_TEAMS[each.home],
            away_team=_TEAMS[each.away],
        )
        for each in market.placed
    ]
    ends = {"roi": value, "roi_lower": lower, "roi_upper": upper}
    return message_of(scorecard_pb2.MarketRecord, market, notice=NOTICE, placed=placed, **ends)


def leaderboard_message(
    entries: Iterable[LeaderboardEntry], metric: LeaderboardMetric, min_games: int, shadows: Iterable[pb.ShadowRow] = ()
) -> pb.GetLeaderboardResponse:
    """Convert a leaderboard and the staged models to a message."""
    return pb.GetLeaderboardResponse(
        rows=[message_of(pb.LeaderboardRow, each, scorecard=scorecard_message(each.scorecard, {})) for each in entries],
        metric=METRIC_VALUES[metric],
        min_games=min_games,
        shadows=shadows,
    )


def shadow_message(rank: int, model_version: str, against_version: str, comparison: Comparison) -> pb.ShadowRow:
    """Convert the comparison of a staged model with the champion to a row of a leaderboard."""
    return message_of(pb.ShadowRow, comparison, rank=rank, model_version=model_version, against_version=against_version)


def outcome_message(outcome: ReportedOutcome) -> record_pb2.Outcome:
    """Convert an outcome to the message that streams and the record service send."""
    return message_of(record_pb2.Outcome, outcome)
