"""The record service over gRPC: reports of outcomes and queries of the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from tests.support.builders.calls import current_game, refusal

from dejavu.v1 import forecast_pb2, prediction_service_pb2, scorecard_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_common.clock import game_day
from dejavu_server.worker.worker import Worker

GAME = current_game(1)


@pytest.fixture
def record(channel: grpc.aio.Channel) -> Any:
    return RecordServiceStub(channel)


@pytest.fixture
def service(channel: grpc.aio.Channel) -> Any:
    return PredictionServiceStub(channel)


async def predict(service: Any, game_id: str = GAME, lead: float = 3.0, **fields: Any) -> forecast_pb2.Forecast:
    request = prediction_service_pb2.PredictRequest(
        **{"game_id": game_id, "pattern": [lead] * 18, "horizon": forecast_pb2.HORIZON_HALFTIME, **fields}
    )
    response = await service.Predict(request)
    told: forecast_pb2.Forecast = response.forecast
    return told


async def report(record: Any, differential: int, game_id: str = GAME, **fields: Any) -> pb.ReportOutcomeResponse:
    request = pb.ReportOutcomeRequest(
        **{"game_id": game_id, "horizon": forecast_pb2.HORIZON_HALFTIME, "differential": differential, **fields}
    )
    response: pb.ReportOutcomeResponse = await record.ReportOutcome(request)
    return response


async def test_an_outcome_settles_what_was_forecast_and_is_told_with_it(record: Any, service: Any) -> None:
    made = await predict(service, home_team="BOS", away_team="NYK")
    reported = await report(record, 8, home_team="BOS", away_team="NYK")
    assert (reported.settled_forecasts, reported.outcome.revision) == (1, 0)
    told = await record.GetPrediction(pb.GetPredictionRequest(game_id=GAME, horizon=forecast_pb2.HORIZON_HALFTIME))
    assert list(told.outcomes) == [told.prediction.outcome] == [reported.outcome]
    assert told.prediction.forecast.sequence == made.sequence
    assert list(told.prediction.pattern) == [3.0] * 18
    assert told.prediction.forecast.HasField("explanation")
    settlement = told.prediction.settlement
    assert settlement.outcome_sequence == reported.outcome.sequence
    assert settlement.error == pytest.approx(made.point_forecast - 8)
    assert settlement.absolute_error == pytest.approx(abs(made.point_forecast - 8))
    assert settlement.persistence_absolute_error == 5.0
    assert settlement.covered == (made.interval_lower <= 8 <= made.interval_upper)
    assert settlement.brier == pytest.approx((made.home_lead_probability - 1.0) ** 2)


async def test_a_page_contains_explanations_only_on_request(record: Any, service: Any) -> None:
    await predict(service)
    [plain] = (await record.ListPredictions(pb.ListPredictionsRequest())).predictions
    [full] = (await record.ListPredictions(pb.ListPredictionsRequest(return_explanation=True))).predictions
    asked = pb.GetPredictionRequest(game_id=GAME, horizon=forecast_pb2.HORIZON_HALFTIME)
    alone = (await record.GetPrediction(asked)).prediction
    for game in alone.forecast.explanation.similar_games:
        assert game.course
        game.ClearField("course")  # a page has none
    assert full == alone
    assert full.forecast.HasField("explanation")
    full.forecast.ClearField("explanation")
    assert plain == full


async def test_replays_are_told_when_they_are_asked_for(record: Any, service: Any) -> None:
    replay = "9900000001"
    await predict(service, replay)
    await report(record, 5, replay)
    asked = [
        pb.ListPredictionsRequest(),
        pb.ListPredictionsRequest(include_replays=True),
        pb.ListPredictionsRequest(game_id=replay),
    ]
    assert [len((await record.ListPredictions(each)).predictions) for each in asked] == [0, 1, 1]
    for included in (False, True):
        response = await record.GetScorecard(
            pb.GetScorecardRequest(
                filter=pb.ScoreFilter(include_replays=included, horizon=forecast_pb2.HORIZON_HALFTIME)
            )
        )
        assert response.scorecard.games == included


async def test_a_scorecard_and_a_leaderboard_come_out_of_the_ledger(record: Any, service: Any, worker: Worker) -> None:
    for number in range(4):
        await predict(service, current_game(number), lead=float(number))
        await report(record, number + 2, current_game(number))
    card = (
        await record.GetScorecard(pb.GetScorecardRequest(filter=pb.ScoreFilter(horizon=forecast_pb2.HORIZON_HALFTIME)))
    ).scorecard
    assert (card.games, card.forecasts) == (4, 4)
    assert card.persistence_mae.value == 2.0
    assert [(each.alpha, each.games) for each in card.coverage] == [(0.05, 4)]
    assert not card.HasField("market")
    today = game_day(datetime.now(UTC))
    tomorrow = pb.ScoreFilter(from_date=(today + timedelta(days=2)).isoformat(), horizon=forecast_pb2.HORIZON_HALFTIME)
    assert (await record.GetScorecard(pb.GetScorecardRequest(filter=tomorrow))).scorecard == scorecard_pb2.Scorecard()
    board = await record.GetLeaderboard(
        pb.GetLeaderboardRequest(
            metric=pb.LEADERBOARD_METRIC_MAE, min_games=4, filter=pb.ScoreFilter(horizon=forecast_pb2.HORIZON_HALFTIME)
        )
    )
    assert [(row.rank, row.model_version, row.value) for row in board.rows] == [(1, worker.models[0], card.mae.value)]
    assert board.rows[0].scorecard == card
    assert (board.metric, board.min_games) == (pb.LEADERBOARD_METRIC_MAE, 4)
    assert not (
        await record.GetLeaderboard(
            pb.GetLeaderboardRequest(
                filter=pb.ScoreFilter(horizon=forecast_pb2.HORIZON_HALFTIME), metric=pb.LEADERBOARD_METRIC_CRPS
            )
        )
    ).rows


async def test_a_game_without_a_forecast_is_not_found(record: Any) -> None:
    asked = pb.GetPredictionRequest(game_id=GAME, horizon=forecast_pb2.HORIZON_HALFTIME)
    refused = await refusal(record.GetPrediction(asked))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_GAME")
    assert [*refused.violations] == ["game_id"]
