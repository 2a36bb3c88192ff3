"""The record's part of a fuzzing run: requests that its service should answer, and what may come back from it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from google.protobuf.message import Message

from dejavu.v1 import forecast_pb2, record_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, HORIZON_UNSPECIFIED

HORIZONS = [HORIZON_UNSPECIFIED, HORIZON_HALFTIME, HORIZON_FINAL]
METRICS = pb.LeaderboardMetric.values()
MOST_MINUTES = 47


class RecordRpc(NamedTuple):
    """A method of the record's service: of which type its request should be, and how a valid one is made."""

    path: str
    request: type[Message]
    valid: Callable[[random.Random, Sequence[str]], Message]


def _report(rng: random.Random, games: Sequence[str]) -> Message:
    home, away = rng.choice([("", ""), ("", ""), ("BOS", "LAL"), ("brk", "gs")])
    return pb.ReportOutcomeRequest(
        # Of a few games alone: once an outcome is there, no new forecast of its game is recorded.
        game_id=rng.choice(games[: max(1, len(games) // 4)]),
        horizon=rng.choice(HORIZONS),
        differential=rng.choice([-7, 3, 11]),
        home_team=home,
        away_team=away,
    )


def _prediction(rng: random.Random, games: Sequence[str]) -> Message:
    minute = rng.choice([None, None, rng.randint(1, MOST_MINUTES)])
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
        horizon=rng.choice(HORIZONS),
        min_confidence=rng.choice([None, None, rng.uniform(0.5, 1.0)]),
        settled=rng.choice([None, True, False]),
        elapsed_minutes=rng.choice([None, None, rng.randint(1, MOST_MINUTES)]),
        include_superseded=rng.random() < 0.5,
        include_replays=rng.random() < 0.8,
    )


def _filter(rng: random.Random) -> pb.ScoreFilter:
    first, last = _days(rng)
    minute = rng.randint(1, MOST_MINUTES)
    return pb.ScoreFilter(
        horizon=rng.choice(HORIZONS),
        from_date=first,
        to_date=last,
        min_minutes=rng.choice([None, minute]),
        max_minutes=rng.choice([None, rng.randint(minute, MOST_MINUTES)]),
        include_replays=rng.random() < 0.8,
    )


def _scorecard(rng: random.Random, _: Sequence[str]) -> Message:
    return pb.GetScorecardRequest(filter=_filter(rng))


def _leaderboard(rng: random.Random, _: Sequence[str]) -> Message:
    return pb.GetLeaderboardRequest(filter=_filter(rng), metric=rng.choice(METRICS), min_games=rng.randint(0, 3))


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
"""The methods of the record's service, by the names that a run gives them."""


def forecasts(asked: Message, response: bytes) -> list[forecast_pb2.Forecast]:
    """The forecasts that an answer holds."""
    if isinstance(asked, pb.ListPredictionsRequest):
        return [each.forecast for each in pb.ListPredictionsResponse.FromString(response).predictions]
    if isinstance(asked, pb.GetPredictionRequest):
        answer = pb.GetPredictionResponse.FromString(response)
        return [each.forecast for each in (*answer.revisions, answer.prediction)]
    return []


def faults(asked: Message, response: bytes) -> Iterator[str]:
    """What is wrong with an answer, but for its forecasts.

    Args:
        asked: the request.
        response: one that it brought.
    """
    match asked:
        case pb.ReportOutcomeRequest():
            yield from _outcome_faults(asked, pb.ReportOutcomeResponse.FromString(response).outcome)
        case pb.GetPredictionRequest():
            yield from _prediction_faults(asked, pb.GetPredictionResponse.FromString(response))
        case pb.ListPredictionsRequest():
            yield from _list_faults(asked, pb.ListPredictionsResponse.FromString(response))
        case pb.GetScorecardRequest():
            yield from _scorecard_faults(pb.GetScorecardResponse.FromString(response).scorecard)
        case pb.GetLeaderboardRequest():
            rows = pb.GetLeaderboardResponse.FromString(response).rows
            if [row.value for row in rows] != sorted(row.value for row in rows):  # not a number is in no order
                yield f"model versions that are not in order: {rows}"
            for row in rows:
                yield from _scorecard_faults(row.scorecard)
        case pb.GetCheckpointRequest():
            checkpoint = pb.GetCheckpointResponse.FromString(response).checkpoint
            if [*map(len, (checkpoint.hash, checkpoint.public_key, checkpoint.signature))] != [32, 32, 64]:
                yield f"a checkpoint that proves nothing: {checkpoint}"


def _outcome_faults(asked: pb.ReportOutcomeRequest, told: record_pb2.Outcome) -> Iterator[str]:
    if (told.game_id, told.differential) != (asked.game_id, asked.differential) or not told.horizon:
        yield f"an outcome that was not reported: {told}"
    if not told.sequence:
        yield f"an outcome without a place: {told}"


def _prediction_faults(asked: pb.GetPredictionRequest, told: pb.GetPredictionResponse) -> Iterator[str]:
    whole = [*told.revisions, told.prediction]
    if [each.forecast.revision for each in whole] != list(range(len(whole))):
        yield f"revisions that are not all there, in their order: {told}"
    if [each.superseded for each in whole] != [True] * len(told.revisions) + [False]:
        yield f"a revision that another took the place of, or none: {told}"
    if {each.forecast.game_id for each in whole} != {asked.game_id}:
        yield f"a forecast of something else: {told}"
    for each in whole:
        yield from _recorded_faults(each)


def _list_faults(asked: pb.ListPredictionsRequest, told: pb.ListPredictionsResponse) -> Iterator[str]:
    if len(told.predictions) > (asked.page_size or 50):
        yield f"a page of {len(told.predictions)} forecasts; {asked.page_size} were asked for"
    places = [each.forecast.sequence for each in told.predictions]
    if not asked.from_date and not asked.to_date and places != sorted(set(places), reverse=True):
        yield f"a page that is not in order: {places}"
    for each in told.predictions:
        yield from _recorded_faults(each)
        if asked.game_id and each.forecast.game_id != asked.game_id:
            yield f"a forecast that was not asked for: {each}"


def _recorded_faults(told: record_pb2.RecordedPrediction) -> Iterator[str]:
    if told.HasField("outcome") != told.HasField("settlement"):
        yield f"a forecast that is half settled: {told}"
    elif told.HasField("settlement") and not (
        0 <= told.settlement.brier <= 1
        and 0 <= told.settlement.crps < math.inf
        and math.isclose(told.settlement.error, told.forecast.point_forecast - told.outcome.differential)
    ):
        yield f"a settlement that cannot be: {told}"


def _scorecard_faults(card: pb.Scorecard) -> Iterator[str]:
    figures = [card.mae, card.persistence_mae, card.mae_difference, card.crps, card.brier]
    ends = [(each.lower, each.value, each.upper) for each in figures if each.HasField("lower")]
    ends += [(each.lower, each.coverage, each.upper) for each in card.coverage]
    if not all(-math.inf < lower <= value <= upper < math.inf for lower, value, upper in ends):
        yield f"a figure outside of its interval: {card}"
    shares = [card.ece, card.brier.value, card.market.max_drawdown, *(each.coverage for each in card.coverage)]
    if not all(0 <= share <= 1 for share in shares) or card.games > card.forecasts:
        yield f"a share outside of [0, 1], or games without forecasts: {card}"
