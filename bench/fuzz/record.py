"""The track record in a fuzzing run: valid requests to its service, and checks of the responses."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from google.protobuf.message import Message

from dejavu.v1 import forecast_pb2, record_pb2, scorecard_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, HORIZON_UNSPECIFIED

HORIZONS = [HORIZON_HALFTIME, HORIZON_FINAL]
METRICS = pb.LeaderboardMetric.values()[1:]  # without the unspecified one, which is refused
MOST_MINUTES = 47


class RecordRpc(NamedTuple):
    """A method of RecordService, with the type of its request and a function that builds valid ones."""

    path: str
    request: type[Message]
    valid: Callable[[random.Random, Sequence[str]], Message]


def _report(rng: random.Random, games: Sequence[str]) -> Message:
    home, away = rng.choice([("", ""), ("", ""), ("BOS", "LAL"), ("brk", "gs")])
    return pb.ReportOutcomeRequest(
        # Only a few games: once a game has an outcome, no new forecast of it is recorded.
        game_id=rng.choice(games[: max(1, len(games) // 4)]),
        horizon=rng.choice(HORIZONS),
        differential=rng.choice([-7, 3, 11]),
        home_team=home,
        away_team=away,
    )


def _prediction(rng: random.Random, games: Sequence[str]) -> Message:
    minute = rng.choice([*[None] * 7, rng.randint(1, MOST_MINUTES)])  # few minutes of a game are recorded in a run
    return pb.GetPredictionRequest(game_id=rng.choice(games), horizon=rng.choice(HORIZONS), elapsed_minutes=minute)


def _days(rng: random.Random) -> tuple[str, str]:
    first = date(2000, 1, 1) + timedelta(days=rng.randrange(20_000))
    last = first + timedelta(days=rng.randrange(20_000))
    return rng.choice(["", "", first.isoformat()]), rng.choice(["", "", last.isoformat()])


def _list(rng: random.Random, games: Sequence[str]) -> Message:
    first, last = _days(rng)
    return pb.ListPredictionsRequest(
        page_size=rng.choice([0, 1, 7, 500]),
        game_id=rng.choice(["", "", rng.choice(games)]),
        from_date=first,
        to_date=last,
        team=rng.choice(["", "", "BOS", "gs"]),
        horizon=rng.choice([HORIZON_UNSPECIFIED, *HORIZONS]),
        min_confidence=rng.choice([None, None, rng.uniform(0.5, 1.0)]),
        settled=rng.choice([None, True, False]),
        elapsed_minutes=rng.choice([None, None, rng.randint(1, MOST_MINUTES)]),
        include_superseded=rng.random() < 0.5,
        include_replays=rng.random() < 0.8,
        return_explanation=rng.random() < 0.5,
    )


def _filter(rng: random.Random, games: Sequence[str]) -> pb.ScoreFilter:
    first, last = _days(rng)
    minute = rng.randint(1, MOST_MINUTES)
    return pb.ScoreFilter(
        horizon=rng.choice(HORIZONS),
        from_date=first,
        to_date=last,
        min_minutes=rng.choice([None, minute]),
        max_minutes=rng.choice([None, rng.randint(minute, MOST_MINUTES)]),
        game_id=rng.choice(["", "", rng.choice(games)]),
        team=rng.choice(["", "", "BOS", "gs"]),
        min_confidence=rng.choice([None, None, rng.uniform(0.5, 1.0)]),
        include_replays=rng.random() < 0.8,
    )


def _scorecard(rng: random.Random, games: Sequence[str]) -> Message:
    return pb.GetScorecardRequest(filter=_filter(rng, games))


def _leaderboard(rng: random.Random, games: Sequence[str]) -> Message:
    return pb.GetLeaderboardRequest(filter=_filter(rng, games), metric=rng.choice(METRICS), min_games=rng.randint(0, 3))


def _checkpoint(_: random.Random, __: Sequence[str]) -> Message:
    return pb.GetCheckpointRequest()


METHODS = {
    "Report": RecordRpc("ReportOutcome", pb.ReportOutcomeRequest, _report),
    "GetPrediction": RecordRpc("GetPrediction", pb.GetPredictionRequest, _prediction),
    "List": RecordRpc("ListPredictions", pb.ListPredictionsRequest, _list),
    "Scorecard": RecordRpc("GetScorecard", pb.GetScorecardRequest, _scorecard),
    "Leaderboard": RecordRpc("GetLeaderboard", pb.GetLeaderboardRequest, _leaderboard),
    "Checkpoint": RecordRpc("GetCheckpoint", pb.GetCheckpointRequest, _checkpoint),
}
"""Methods of RecordService, by their names in a run."""


def forecasts(request: Message, response: bytes) -> list[forecast_pb2.Forecast]:
    """Return the forecasts of a response."""
    if isinstance(request, pb.ListPredictionsRequest):
        return [each.forecast for each in pb.ListPredictionsResponse.FromString(response).predictions]
    if isinstance(request, pb.GetPredictionRequest):
        answer = pb.GetPredictionResponse.FromString(response)
        return [each.forecast for each in (*answer.revisions, answer.prediction)]
    return []


def faults(request: Message, response: bytes) -> Iterator[str]:
    """Yield the faults of a response, except those of its forecasts.

    Args:
        request: the request.
        response: one response to it.
    """
    match request:
        case pb.ReportOutcomeRequest():
            yield from _outcome_faults(request, pb.ReportOutcomeResponse.FromString(response).outcome)
        case pb.GetPredictionRequest():
            yield from _prediction_faults(request, pb.GetPredictionResponse.FromString(response))
        case pb.ListPredictionsRequest():
            yield from _list_faults(request, pb.ListPredictionsResponse.FromString(response))
        case pb.GetScorecardRequest():
            yield from _scorecard_faults(pb.GetScorecardResponse.FromString(response).scorecard)
        case pb.GetLeaderboardRequest():
            rows = pb.GetLeaderboardResponse.FromString(response).rows
            if [row.value for row in rows] != sorted(row.value for row in rows):  # NaN breaks the order
                yield f"model versions that are not in order: {rows}"
            for row in rows:
                yield from _scorecard_faults(row.scorecard)
        case pb.GetCheckpointRequest():
            checkpoint = pb.GetCheckpointResponse.FromString(response).checkpoint
            if [*map(len, (checkpoint.hash, checkpoint.public_key, checkpoint.signature))] != [32, 32, 64]:
                yield f"an incomplete checkpoint: {checkpoint}"


def _outcome_faults(request: pb.ReportOutcomeRequest, answer: record_pb2.Outcome) -> Iterator[str]:
    if (answer.game_id, answer.differential) != (request.game_id, request.differential) or not answer.horizon:
        yield f"an outcome that was not reported: {answer}"
    if not answer.sequence:
        yield f"an outcome without a sequence: {answer}"


def _prediction_faults(request: pb.GetPredictionRequest, answer: pb.GetPredictionResponse) -> Iterator[str]:
    others = [each.forecast.revision for each in answer.revisions]
    if others != sorted(others):
        yield f"revisions out of order: {answer}"
    revisions = sorted([*answer.revisions, answer.prediction], key=lambda each: each.forecast.revision)
    if [each.forecast.revision for each in revisions] != list(range(len(revisions))):
        yield f"revisions that are incomplete: {answer}"
    # A late forecast supersedes nothing; it is the current one only if all are late.
    in_time = [not each.forecast.late for each in revisions]
    if answer.prediction != max(revisions, key=lambda each: (not each.forecast.late, each.forecast.revision)):
        yield f"another revision than the one that stands: {answer}"
    if [each.superseded for each in revisions] != [any(in_time[later:]) for later in range(1, len(revisions) + 1)]:
        yield f"a wrong superseded flag: {answer}"
    if {each.forecast.game_id for each in revisions} != {request.game_id}:
        yield f"a forecast for another request: {answer}"
    for each in revisions:
        yield from _recorded_faults(each)


def _list_faults(request: pb.ListPredictionsRequest, answer: pb.ListPredictionsResponse) -> Iterator[str]:
    if len(answer.predictions) > (request.page_size or 50):
        yield f"a page of {len(answer.predictions)} forecasts; {request.page_size} requested"
    sequences = [each.forecast.sequence for each in answer.predictions]
    if not request.from_date and not request.to_date and sequences != sorted(set(sequences), reverse=True):
        yield f"a page that is not in order: {sequences}"
    for each in answer.predictions:
        if each.forecast.HasField("explanation") != request.return_explanation:
            yield f"an explanation that was not requested, or none: {each}"
        yield from _recorded_faults(each)
        if request.game_id and each.forecast.game_id != request.game_id:
            yield f"a forecast that was not requested: {each}"


def _recorded_faults(answer: record_pb2.RecordedPrediction) -> Iterator[str]:
    if answer.HasField("outcome") != answer.HasField("settlement"):
        yield f"a forecast that is half settled: {answer}"
    elif answer.HasField("settlement") and not (
        0 <= answer.settlement.brier <= 1
        and 0 <= answer.settlement.crps < math.inf
        and math.isclose(answer.settlement.error, answer.forecast.point_forecast - answer.outcome.differential)
    ):
        yield f"an impossible settlement: {answer}"


def _scorecard_faults(card: scorecard_pb2.Scorecard) -> Iterator[str]:
    figures = [card.mae, card.persistence_mae, card.mae_difference, card.crps, card.brier]
    ends = [(each.lower, each.value, each.upper) for each in figures if each.HasField("lower")]
    ends += [(each.lower, each.coverage, each.upper) for each in card.coverage]
    if not all(-math.inf < lower <= value <= upper < math.inf for lower, value, upper in ends):
        yield f"a figure outside its interval: {card}"
    shares = [card.ece, card.brier.value, card.market.max_drawdown, *(each.coverage for each in card.coverage)]
    if not all(0 <= share <= 1 for share in shares) or card.games > card.forecasts:
        yield f"a share outside [0, 1], or games without forecasts: {card}"
