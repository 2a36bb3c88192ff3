"""The services over the wire, with a real server and channel."""

from __future__ import annotations

import base64
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.rpc import code_pb2
from tests.support.builders.calls import GAME, PATTERN, current_game, refusal
from tests.support.fakes.every_minute_model import HOME_EDGE, EveryMinuteForecaster
from tests.support.fakes.forecasters import PersistenceForecaster
from tests.support.processes.servers import async_worker

from dejavu.v1 import forecast_pb2, market_pb2, model_service_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_server.api.models.service import MODEL_SERVICE
from dejavu_server.api.prediction_service import PREDICTION_SERVICE
from dejavu_server.api.record_service import RECORD_SERVICE

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


@pytest.fixture
def every_minute() -> EveryMinuteForecaster:
    """The model of `every_minute_service`."""
    return EveryMinuteForecaster()


@pytest.fixture
async def every_minute_service(
    tmp_path: Path, every_minute: EveryMinuteForecaster
) -> AsyncIterator[PredictionServiceAsyncStub]:
    async with (
        async_worker(tmp_path, every_minute) as worker,
        grpc.aio.insecure_channel(worker.address) as channel,
    ):
        yield PredictionServiceStub(channel)


@pytest.mark.parametrize("descriptor", [PREDICTION_SERVICE, MODEL_SERVICE, RECORD_SERVICE])
async def test_every_rpc_of_the_contract_is_served(channel: grpc.aio.Channel, descriptor: ServiceDescriptor) -> None:
    for method in descriptor.methods:
        open_call: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
        request: Any = b"\xff"  # invalid for every message type
        if method.client_streaming:
            open_call, request = channel.stream_stream, [request]
        call = open_call(f"/{descriptor.full_name}/{method.name}")(request, timeout=5)
        assert await call.code() not in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED}


async def test_a_what_if_is_answered_and_leaves_no_trace(service: PredictionServiceAsyncStub) -> None:
    forecast = (await service.Predict(pb.PredictRequest(pattern=PATTERN, home_team="BKN"))).forecast
    assert (forecast.point_forecast, forecast.interval_lower, forecast.interval_upper) == (11.0, 1.0, 21.0)
    assert (forecast.alpha, forecast.coverage_probability) == (0.05, 0.95)
    assert forecast.horizon == forecast_pb2.HORIZON_HALFTIME
    assert (forecast.sequence, forecast.game_id, forecast.home_team) == (0, "", "BKN")
    assert forecast.expires_time.ToNanoseconds() - forecast.generated_time.ToNanoseconds() == 300 * 10**9
    named = (await service.Predict(pb.PredictRequest(pattern=PATTERN, game_id=GAME))).forecast
    assert named.sequence == 1


async def test_asking_again_is_answered_with_what_was_recorded(service: PredictionServiceAsyncStub) -> None:
    request = pb.PredictRequest(pattern=PATTERN, game_id=GAME, return_explanation=True)
    first = await service.Predict(request)
    assert await service.Predict(request) == first
    corrected = pb.PredictRequest(pattern=(*PATTERN[:-1], 12), game_id=GAME)
    second = (await service.Predict(corrected)).forecast
    assert (second.revision, second.point_forecast) == (1, 12.0)
    assert second.sequence > first.forecast.sequence


@pytest.mark.parametrize("game_id", ["", GAME])
async def test_an_explanation_comes_only_if_asked_for(service: PredictionServiceAsyncStub, game_id: str) -> None:
    request = pb.PredictRequest(pattern=PATTERN, game_id=game_id)
    assert not (await service.Predict(request)).forecast.HasField("explanation")
    request.return_explanation = True
    explanation = (await service.Predict(request)).forecast.explanation
    assert explanation.baseline_prediction == 11.0
    assert explanation.similar_games[0].home_team == "BKN"


@pytest.mark.parametrize(
    ("fields", "code", "reason", "field"),
    [
        ({"pattern": [0, math.nan]}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PATTERN", "pattern[1]"),
        ({"alpha": 0.0}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ALPHA", "alpha"),
        ({"game_id": "1"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_GAME_ID", "game_id"),
        ({"home_team": "XXX"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TEAM", "home_team"),
        ({"home_team": "NY", "away_team": "NYK"}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TEAM", "away_team"),
        ({"pattern": [0.0] * 24}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PATTERN", "pattern"),
        (
            {"quantile_levels": [0.5, 1.0]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_QUANTILE_LEVELS",
            "quantile_levels[1]",
        ),
        ({"horizon": 7}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_HORIZON", "horizon"),
        ({"pregame_margin": 1e9}, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PREGAME_MARGIN", "pregame_margin"),
        ({"pattern": [0.0]}, grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_SLOTS", "pattern"),
        ({"alpha": 0.001}, grpc.StatusCode.FAILED_PRECONDITION, "ALPHA_TOO_SMALL", "alpha"),
        ({"horizon": 2}, grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_HORIZON", "horizon"),
        ({"model_version": "x"}, grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL_VERSION", "model_version"),
    ],
)
async def test_what_is_refused_says_why_alone_and_in_a_batch(
    service: PredictionServiceAsyncStub, fields: dict[str, Any], code: grpc.StatusCode, reason: str, field: str
) -> None:
    request = pb.PredictRequest(**{"pattern": PATTERN, **fields})
    alone = await refusal(service.Predict(request))
    assert (alone.code, alone.reason, alone.domain) == (code, reason, "dejavu")
    assert list(alone.violations) == [field]

    good = pb.PredictRequest(pattern=PATTERN)
    batch = await service.PredictBatch(pb.PredictBatchRequest(requests=[good, request, good]))
    assert [result.WhichOneof("result") for result in batch.results] == ["forecast", "error", "forecast"]
    error = batch.results[1].error
    assert (error.code, error.reason, error.message) == (code_pb2.Code.Value(code.name), reason, alone.message)
    assert {violation.field: violation.description for violation in error.field_violations} == alone.violations


@pytest.mark.parametrize(
    "text",
    ["x" * 30_000, "%" * 600, "😀" * 600, "\0" * 600, "😀" * 20, "\U000e0001" * 20],
    ids=["long", "percent", "emoji", "nul", "short emoji", "short tags"],
)
@pytest.mark.parametrize("field", ["game_id", "home_team", "away_team", "model_version", "game_ids", "resume_token"])
async def test_no_text_of_a_caller_s_outgrows_the_trailers(
    service: PredictionServiceAsyncStub, field: str, text: str
) -> None:
    fields: dict[str, Any] = {field: [text] if field == "game_ids" else text}
    call: Any
    if field in {"game_ids", "resume_token"}:
        call = service.StreamPredictions(pb.StreamPredictionsRequest(**fields))
        answer = call.read()
    else:
        answer = call = service.Predict(pb.PredictRequest(pattern=PATTERN, **fields))
    refused = await refusal(answer)
    expected = grpc.StatusCode.NOT_FOUND if field == "model_version" else grpc.StatusCode.INVALID_ARGUMENT
    assert (refused.code, list(refused.violations)) == (expected, ["game_ids[0]" if field == "game_ids" else field])
    trailers = await call.trailing_metadata()
    encoded = sum(
        len(key) + len(base64.b64encode(value) if isinstance(value, bytes) else value) for key, value in trailers
    )
    assert encoded + len(quote(refused.message)) < 4096  # percent-encoded, as in grpc-message


async def test_a_batch_is_answered_in_order_and_named_games_are_recorded(service: PredictionServiceAsyncStub) -> None:
    requests = [
        pb.PredictRequest(pattern=(*PATTERN[:-1], last), game_id=current_game(last) if last % 2 else "")
        for last in range(200)
    ]
    results = (await service.PredictBatch(pb.PredictBatchRequest(requests=requests))).results
    assert [result.forecast.point_forecast for result in results] == list(range(200))
    assert all(bool(result.forecast.sequence) == bool(place % 2) for place, result in enumerate(results))


async def test_fifty_games_at_both_horizons_are_one_pass(
    every_minute_service: PredictionServiceAsyncStub, every_minute: EveryMinuteForecaster
) -> None:
    every_minute.groups.clear()
    horizons: tuple[Any, ...] = (forecast_pb2.HORIZON_HALFTIME, forecast_pb2.HORIZON_FINAL)
    requests = [
        pb.PredictRequest(game_id=current_game(number), pattern=range(1 + number % 23), horizon=horizon)
        for number in range(50)
        for horizon in horizons
    ]
    results = (await every_minute_service.PredictBatch(pb.PredictBatchRequest(requests=requests))).results
    assert [(result.forecast.game_id, result.forecast.horizon) for result in results] == [
        (request.game_id, request.horizon) for request in requests
    ]
    assert [result.forecast.sequence for result in results] == list(range(1, 101))
    assert every_minute.groups == [100]


async def test_quantiles_come_as_asked_for_and_are_not_recorded(
    every_minute_service: PredictionServiceAsyncStub,
) -> None:
    stream = every_minute_service.StreamPredictions(pb.StreamPredictionsRequest(), timeout=10)
    await stream.read()
    request = pb.PredictRequest(pattern=PATTERN, game_id=GAME, quantile_levels=[0.75, 0.25])
    first = (await every_minute_service.Predict(request)).forecast
    assert [(each.level, each.value) for each in first.quantiles] == [(0.75, 16.0), (0.25, 6.0)]
    again = pb.PredictRequest(pattern=PATTERN, game_id=GAME, quantile_levels=[0.5])
    second = (await every_minute_service.Predict(again)).forecast
    assert (second.sequence, [each.level for each in second.quantiles]) == (first.sequence, [0.5])
    event = await stream.read()
    assert isinstance(event, pb.StreamPredictionsResponse)
    assert event.forecast.sequence == first.sequence
    assert not event.forecast.quantiles
    stream.cancel()


def market(home: float, away: float = 1.5, line: float = 5.5) -> market_pb2.Market:
    home_price, away_price = market_pb2.Odds(decimal=home), market_pb2.Odds(decimal=away)
    return market_pb2.Market(line=line, home=home_price, away=away_price, bankroll=1000.0)


async def test_odds_are_weighed_by_the_forecast_alone_and_in_a_batch(service: PredictionServiceAsyncStub) -> None:
    request = pb.PredictRequest(pattern=PATTERN, market=market(1.25, away=4.0))  # it leads by 11
    alone = await service.Predict(request)
    assert alone.market.side == market_pb2.MARKET_SIDE_HOME
    assert alone.market.home.win_probability == pytest.approx(0.859, abs=0.001)
    assert alone.market.home.fair_probability == pytest.approx(4.0 / 5.25)
    assert alone.market.home.staking_probability == pytest.approx((0.859 + 4.0 / 5.25) / 2, abs=0.001)
    assert alone.market.home.expected_value == pytest.approx(1.25 * alone.market.home.staking_probability - 1)
    assert alone.market.stake == pytest.approx(1000 * alone.market.home.kelly_fraction / 4)
    assert alone.market.notice == "not shown to be better than the market"
    assert alone.market.confidence_met
    without = pb.PredictRequest(pattern=PATTERN)
    dear = pb.PredictRequest(pattern=PATTERN, market=market(1.05, away=7.0))
    batch = await service.PredictBatch(pb.PredictBatchRequest(requests=[request, without, dear]))
    assert batch.results[0].market == alone.market
    assert not batch.results[1].HasField("market")
    assert batch.results[2].market.side == market_pb2.MARKET_SIDE_UNSPECIFIED
    assert batch.results[2].market.stake == 0.0
    assert not (await service.Predict(without)).HasField("market")


async def test_each_caller_is_answered_the_own_odds_and_the_forecast_stands(
    service: PredictionServiceAsyncStub,
) -> None:
    plain = await service.Predict(pb.PredictRequest(pattern=PATTERN, game_id=GAME))
    first = await service.Predict(pb.PredictRequest(pattern=PATTERN, game_id=GAME, market=market(1.5)))
    second = await service.Predict(pb.PredictRequest(pattern=PATTERN, game_id=GAME, market=market(1.7)))
    assert plain.forecast == first.forecast == second.forecast
    assert not plain.HasField("market")
    assert (first.market.home.decimal_odds, second.market.home.decimal_odds) == (1.5, 1.7)
    assert first.market.home.expected_value < second.market.home.expected_value


async def test_how_unsettled_a_game_is_is_told(service: PredictionServiceAsyncStub) -> None:
    wild = [10, -10, 10, -10, 10, -10, 10, -10]
    answer = await service.AssessRisk(pb.AssessRiskRequest(pattern=wild, total_points=60))
    assert [factor.name for factor in answer.factors] == ["volatility", "swing", "pace", "trend"]
    assert answer.score == pytest.approx(sum(factor.contribution for factor in answer.factors))
    assert answer.level == market_pb2.RISK_LEVEL_HIGH
    assert any(warning.startswith("The lead changed hands 6 times") for warning in answer.warnings)
    calm = await service.AssessRisk(pb.AssessRiskRequest(pattern=[0] * 18))
    assert [factor.name for factor in calm.factors] == ["volatility", "swing", "trend"]
    assert (calm.score, calm.level) == (0.0, market_pb2.RISK_LEVEL_LOW)


async def test_teams_are_answered_by_their_codes_and_corrected_ones_are_a_new_revision(
    every_minute_service: PredictionServiceAsyncStub,
) -> None:
    async def ask(home: str, away: str) -> forecast_pb2.Forecast:
        request = pb.PredictRequest(pattern=PATTERN, game_id=GAME, home_team=home, away_team=away)
        return (await every_minute_service.Predict(request)).forecast

    first = await ask("brk", "GS")
    assert (first.home_team, first.away_team, first.expected_margin) == ("BKN", "GSW", HOME_EDGE)
    assert await ask("BKN", "GSW") == first, "codes and aliases name the same teams"
    assert [(await ask(*teams)).revision for teams in (("GSW", "BKN"), ("GSW", "BKN"), ("BKN", "GSW"))] == [1, 1, 2]
    unknown = await ask("", "")
    assert (unknown.revision, unknown.HasField("expected_margin")) == (3, False)


async def test_one_game_twice_in_a_batch_is_recorded_once(service: PredictionServiceAsyncStub) -> None:
    request = pb.PredictRequest(pattern=PATTERN, game_id=GAME)
    first, second = (await service.PredictBatch(pb.PredictBatchRequest(requests=[request, request]))).results
    assert first == second


@pytest.mark.parametrize("size", [0, 1001])
async def test_a_batch_of_none_or_too_many_is_refused(service: PredictionServiceAsyncStub, size: int) -> None:
    requests = [pb.PredictRequest(pattern=PATTERN)] * size
    refused = await refusal(service.PredictBatch(pb.PredictBatchRequest(requests=requests)))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_BATCH")
    assert list(refused.violations) == ["requests"]


async def test_the_largest_batch_fits(every_minute_service: PredictionServiceAsyncStub) -> None:
    request = pb.PredictRequest(
        pattern=[0.1] * 47,
        horizon=forecast_pb2.HORIZON_FINAL,
        return_explanation=True,
        home_team="BOS",
        away_team="LAL",
        quantile_levels=[percent / 100 for percent in range(1, 100)],
    )
    response = await every_minute_service.PredictBatch(pb.PredictBatchRequest(requests=[request] * 1000))
    assert [len(result.forecast.quantiles) for result in response.results] == [99] * 1000


async def test_an_item_that_breaks_a_model_leaves_as_a_bare_internal(
    service: PredictionServiceAsyncStub, model: PersistenceForecaster
) -> None:
    def break_on_zero(queries: Any) -> None:
        for query in queries:
            if query.pattern.last == 0.0:
                raise ZeroDivisionError("secret")

    model.before = break_on_zero
    bad, good = pb.PredictRequest(pattern=[0.0] * 18), pb.PredictRequest(pattern=PATTERN)
    results = (await service.PredictBatch(pb.PredictBatchRequest(requests=[bad, good]))).results
    assert results[0].error == pb.PredictError(code=code_pb2.INTERNAL, reason="INTERNAL", message="internal error")
    assert results[1].forecast.point_forecast == 11.0


async def test_a_stream_sends_what_is_recorded(service: PredictionServiceAsyncStub) -> None:
    stream = service.StreamPredictions(pb.StreamPredictionsRequest(game_ids=[GAME]), timeout=10)
    standing = await stream.read()
    assert isinstance(standing, pb.StreamPredictionsResponse)
    assert standing.HasField("heartbeat")
    await service.Predict(pb.PredictRequest(pattern=PATTERN, game_id=current_game(2)))
    await service.Predict(pb.PredictRequest(pattern=PATTERN))
    answer = await service.Predict(pb.PredictRequest(pattern=PATTERN, game_id=GAME, return_explanation=True))
    event = await stream.read()
    assert isinstance(event, pb.StreamPredictionsResponse)
    assert event.forecast == answer.forecast
    stream.cancel()


async def test_a_stream_s_bad_game_id_is_refused(service: PredictionServiceAsyncStub) -> None:
    request = pb.StreamPredictionsRequest(game_ids=[GAME, "nope"])
    refused = await refusal(service.StreamPredictions(request).read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_GAME_ID")
    assert list(refused.violations) == ["game_ids[1]"]


async def test_a_stream_s_foreign_token_is_refused(service: PredictionServiceAsyncStub) -> None:
    refused = await refusal(service.StreamPredictions(pb.StreamPredictionsRequest(resume_token="nope")).read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_RESUME_TOKEN")
    assert list(refused.violations) == ["resume_token"]


async def test_the_models_are_listed_the_active_one_first(channel: grpc.aio.Channel) -> None:
    response = await ModelServiceStub(channel).ListModels(model_service_pb2.ListModelsRequest())
    [model] = response.models
    assert (model.version, model.active, model.smallest_alpha) == ("persistence", True, 0.01)
