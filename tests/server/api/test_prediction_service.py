"""The prediction service: batches, columns and rows of tensors get the numbers of single requests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.calls import GAME, PATTERN, current_game
from tests.support.fakes.every_minute_model import EveryMinuteForecaster
from tests.support.harness.laws import examples
from tests.support.harness.tensors import Tensor, columns, infer_request, padded, texts
from tests.support.processes.servers import running_worker, worker_and_channel

from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub
from dejavu.v1 import forecast_pb2, market_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, HORIZON_UNSPECIFIED
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Market, Odds
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ReportOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_feed import live_inputs

if TYPE_CHECKING:
    from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """Return a channel to a server that outcomes have adapted."""
    with (
        running_worker(tmp_path_factory.mktemp("ledger"), shipped=True) as address,
        grpc.insecure_channel(address) as channel,
    ):
        service, record = PredictionServiceStub(channel), RecordServiceStub(channel)
        for number in range(3):
            game = current_game(number + 1)
            for minutes in (6, 18):
                service.Predict(pb.PredictRequest(pattern=[1.0] * minutes, game_id=game, horizon=HORIZON_HALFTIME))
            record.ReportOutcome(ReportOutcomeRequest(game_id=game, horizon=HORIZON_HALFTIME, differential=45))
        learned = forecast_pb2.Adaptation()
        while learned.rolling_games < 3:  # outcomes are learned soon after they were reported
            learned = service.Predict(pb.PredictRequest(pattern=[1.0] * 18), timeout=10).forecast.adaptation
        assert learned.adapted_upper > learned.static_upper
        yield channel


HORIZONS = {"": HORIZON_UNSPECIFIED, "halftime": HORIZON_HALFTIME, "final": HORIZON_FINAL}
SIDES = {forecast_pb2.SIDE_HOME: "home", forecast_pb2.SIDE_AWAY: "away"}
LEVELS = (0.05, 0.5, 0.9)
EVEN = Market(kind=MARKET_KIND_LEAD, line=2.5, above=Odds(decimal=1.9), below=Odds(american=-110))
SELDOM: list[Any] = [{"pattern": [math.nan]}, {"alpha": 0.0}, {"return_explanation": True}, {"markets": [EVEN]}]
"""Fields that make a request invalid, or that only some have."""


@st.composite
def kinds(draw: st.DrawFn) -> pb.PredictRequest:
    """Draw what requests that are computed together share."""
    return pb.PredictRequest(
        horizon=draw(st.sampled_from(list(HORIZONS.values()))),
        alpha=draw(st.sampled_from([None, 0.1, 0.32])),
        quantile_levels=draw(st.sampled_from([(), LEVELS, tuple(level / 20 for level in range(1, 20))])),
    )


@st.composite
def requests(draw: st.DrawFn, kind: pb.PredictRequest, size: int = 0, *, columns: bool = False) -> pb.PredictRequest:
    """Draw a request of a kind; with `columns`, with nothing that columns do not have."""
    size = size or draw(st.integers(1, 47 if kind.horizon == HORIZON_FINAL else 23))
    pattern = draw(st.lists(st.integers(-40, 40), min_size=size, max_size=size))
    request = pb.PredictRequest(pattern=pattern, pregame_margin=draw(st.none() | st.floats(-15, 15)))
    request.MergeFrom(kind)
    if not columns and draw(st.booleans()):
        request.home_team, request.away_team = draw(st.sampled_from([("BOS", "LAL"), ("GS", "Celtics")]))
        request.game_date = draw(st.sampled_from(["", "2023-06-14"]))
    if not columns and draw(st.booleans()):
        lead = abs(pattern[-1])
        most = live_inputs.most_total_points(size, pattern[-1])
        request.total_points = lead + 2 * draw(st.integers(1, int(most - lead) // 2))
        if draw(st.booleans()):
            request.last_score.side = draw(st.sampled_from([*SIDES]))
            request.last_score.seconds = draw(st.integers(0, 60))
    return request


@st.composite
def batches(draw: st.DrawFn) -> list[pb.PredictRequest]:
    """Draw a batch of a few kinds of requests, some of them invalid or with fields that few have."""
    few = draw(st.lists(st.tuples(kinds(), st.integers(1, 23)), min_size=1, max_size=3))
    made = [draw(requests(*few[number % len(few)])) for number in range(draw(st.integers(1, 32)))]
    for request in made:
        request.MergeFrom(pb.PredictRequest(**draw(st.sampled_from([{}] * 20 + SELDOM))))
    return made


@settings(max_examples=examples(12))
@given(batches())
def test_a_batch_gets_what_each_request_gets_alone(adapted: grpc.Channel, requests: list[pb.PredictRequest]) -> None:
    service = PredictionServiceStub(adapted)
    together = service.PredictBatch(pb.PredictBatchRequest(requests=requests)).results
    for request, result in zip(requests, together, strict=True):
        request.return_explanation = False  # which has courses of similar games in a single call only
        if result.HasField("error"):
            with pytest.raises(grpc.RpcError) as refused:
                service.Predict(request)
            assert refused.value.details() == result.error.message
        else:
            response = service.Predict(request)
            alone = pb.PredictBatchResult(forecast=response.forecast, markets=response.markets)
            for forecast in (result.forecast, alone.forecast):
                assert forecast.expires_time.seconds - forecast.generated_time.seconds == 300
                for field in ("explanation", "generated_time", "expires_time"):
                    forecast.ClearField(field)
            assert result == alone


@settings(max_examples=examples(25))
@given(kinds().flatmap(lambda kind: st.lists(requests(kind, columns=True), min_size=1, max_size=20)))
def test_columns_have_the_numbers_of_predict(adapted: grpc.Channel, requests: list[pb.PredictRequest]) -> None:
    service, first = PredictionServiceStub(adapted), requests[0]
    found = service.PredictColumns(
        pb.PredictColumnsRequest(
            patterns=[value for each in requests for value in each.pattern],
            minutes=[len(each.pattern) for each in requests],
            pregame_margins=[each.pregame_margin if each.HasField("pregame_margin") else math.nan for each in requests],
            horizon=first.horizon,
            alpha=first.alpha if first.HasField("alpha") else None,
            quantile_levels=first.quantile_levels,
        )
    )
    batch = service.PredictBatch(pb.PredictBatchRequest(requests=requests)).results
    forecasts = [each.forecast for each in batch]
    for column in ("point_forecast", "interval_lower", "interval_upper"):
        assert [getattr(each, column) for each in forecasts] == list(getattr(found, f"{column}s"))
    assert [each.home_lead_probability for each in forecasts] == list(found.home_lead_probabilities)
    assert [quantile.value for each in forecasts for quantile in each.quantiles] == list(found.quantiles)


def inputs_of(requests: Sequence[pb.PredictRequest]) -> dict[str, Tensor]:
    """Return tensors that are equivalent to the requests."""

    def numbers(name: Any, datatype: str = "FP64", absent: float = math.nan) -> Tensor:
        return Tensor([getattr(each, name) if each.HasField(name) else absent for each in requests], datatype)

    names = {number: name for name, number in HORIZONS.items()}
    scored = [each.last_score if each.HasField("last_score") else None for each in requests]
    return {
        "pattern": padded([each.pattern for each in requests]),
        "horizon": texts(*(names[each.horizon] for each in requests)),
        "alpha": numbers("alpha"),
        "home_team": texts(*(each.home_team for each in requests)),
        "away_team": texts(*(each.away_team for each in requests)),
        "game_date": texts(*(each.game_date for each in requests)),
        "pregame_margin": numbers("pregame_margin"),
        "total_points": numbers("total_points", "INT32", -1),
        "last_score_side": texts(*("" if each is None else SIDES[each.side] for each in scored)),
        "last_score_seconds": Tensor([0 if each is None else each.seconds for each in scored], "INT64"),
        "quantile_levels": Tensor(LEVELS),
    }


@settings(max_examples=examples(25))
@given(batch=st.lists(kinds().flatmap(requests), min_size=1, max_size=5), raw=st.booleans())
def test_rows_have_their_requests_forecasts(
    adapted: grpc.Channel, batch: list[pb.PredictRequest], *, raw: bool
) -> None:
    for request in batch:
        request.quantile_levels[:] = LEVELS
    answer = PredictionServiceStub(adapted).PredictBatch(pb.PredictBatchRequest(requests=batch))
    inferred = columns(GRPCInferenceServiceStub(adapted).ModelInfer(infer_request(inputs_of(batch), raw=raw)))
    for row, result in enumerate(answer.results):
        assert result.HasField("forecast")
        forecast = result.forecast
        total = forecast.total if forecast.HasField("total") else None
        expected = {
            "point": forecast.point_forecast,
            "lower": forecast.interval_lower,
            "upper": forecast.interval_upper,
            "home_lead_probability": forecast.home_lead_probability,
            "expected_margin": forecast.expected_margin if forecast.HasField("expected_margin") else math.nan,
            "quantiles": [each.value for each in forecast.quantiles],
            "total_point": total.point_forecast if total else math.nan,
            "total_lower": total.interval_lower if total else math.nan,
            "total_upper": total.interval_upper if total else math.nan,
            "total_quantiles": [each.value for each in total.quantiles] if total else [math.nan] * 3,
        }
        assert inferred.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(inferred[name][row], value, err_msg=name)


def test_as_many_columns_as_are_allowed_are_answered_in_order_and_not_recorded(adapted: grpc.Channel) -> None:
    leads = [float(game % 41 - 20) for game in range(5000)]
    recorded = RecordServiceStub(adapted).ListPredictions(ListPredictionsRequest())
    request = pb.PredictColumnsRequest(patterns=leads, minutes=[1] * 5000)
    found = PredictionServiceStub(adapted).PredictColumns(request)
    assert len(found.point_forecasts) == 5000
    by_lead = dict(zip(leads, found.point_forecasts, strict=True))
    assert [by_lead[lead] for lead in leads] == list(found.point_forecasts)
    assert sorted(by_lead, key=by_lead.__getitem__) == sorted(by_lead)
    assert RecordServiceStub(adapted).ListPredictions(ListPredictionsRequest()) == recorded


@pytest.mark.parametrize("alpha", [0.9, 0.999999, 0.002])
def test_no_number_of_an_answer_is_minus_0(adapted: grpc.Channel, alpha: float) -> None:
    """A narrow interval around −0.1 ends at 0, a wide one below a lead of the away team too; alone and in a batch."""
    service = PredictionServiceStub(adapted)
    requests = [
        pb.PredictRequest(pattern=[-lead] * minutes, alpha=alpha, horizon=horizon)
        for lead in (0, 0.25, 1, 12, 28)
        for minutes in (1, 11, 22, 23)
        for horizon in (HORIZON_HALFTIME, HORIZON_FINAL)
    ]
    together = service.PredictBatch(pb.PredictBatchRequest(requests=requests)).results
    for request, result in zip(requests, together, strict=True):
        for forecast in (result.forecast, service.Predict(request).forecast):
            of = forecast.adaptation
            ends = (forecast.interval_lower, forecast.interval_upper, of.adapted_lower, of.adapted_upper)
            assert not any(end == 0 and math.copysign(1, end) < 0 for end in (*ends, of.static_lower, of.static_upper))


async def test_a_repeated_request_and_the_stream_have_the_recorded_answer(service: PredictionServiceAsyncStub) -> None:
    named: dict[str, Any] = {"game_id": GAME, "horizon": HORIZON_HALFTIME}
    what_if = (await service.Predict(pb.PredictRequest(pattern=PATTERN))).forecast
    assert (what_if.sequence, what_if.point_forecast, what_if.coverage_probability) == (0, 11.0, 0.95)
    request = pb.PredictRequest(pattern=PATTERN, return_explanation=True, **named)
    first = await service.Predict(request)
    assert (first.forecast.sequence, first.forecast.explanation.baseline_prediction) == (1, 11.0)
    assert [len(each.course) for each in first.forecast.explanation.similar_games] == [23, 23]
    assert await service.Predict(request) == first
    subscribed = service.StreamPredictions(pb.StreamPredictionsRequest(include_current=True))
    assert (await anext(aiter(subscribed))).forecast == first.forecast
    subscribed.cancel()
    second = (await service.Predict(pb.PredictRequest(pattern=(*PATTERN[:-1], 12), **named))).forecast
    assert (second.sequence, second.revision, second.point_forecast) == (2, 1, 12.0)
    assert not second.HasField("explanation"), "it was not asked for"


async def test_how_unsettled_games_are_is_told_in_their_order(service: PredictionServiceAsyncStub) -> None:
    wild = pb.RiskGame(pattern=[10, -10, 10, -10, 10, -10, 10, -10], total_points=61)
    games = [wild, pb.RiskGame(pattern=[1]), pb.RiskGame(pattern=[0] * 18)]
    response = await service.AssessRisk(pb.AssessRiskRequest(games=games))
    answer, calm = response.results[0].assessment, response.results[2].assessment
    assert response.results[1].error.reason == "INVALID_PATTERN"
    assert answer.score == pytest.approx(sum(factor.contribution for factor in answer.factors))
    assert answer.level == market_pb2.RISK_LEVEL_EXTREME
    assert (calm.score, calm.level) == (0.0, market_pb2.RISK_LEVEL_LOW)
    assert [[factor.kind for factor in each.factors] for each in (answer, calm)] == [[1, 2, 3, 4], [1, 2, 4]]
    alone = [(await service.AssessRisk(pb.AssessRiskRequest(games=[game]))).results[0] for game in games]
    assert alone == [*response.results], "each as when it is asked about alone"


async def test_a_risk_that_is_refused_names_every_field(service: PredictionServiceAsyncStub) -> None:
    rows: Any = (
        ([0.0] * 48, None, {"pattern": "48 slots; expected 2 to 47"}),
        ([0.0, 200.5], None, {"pattern[1]": "200.5; expected a finite number within ±200"}),
        ([0.0, -7.5], 7, {"total_points": "7; expected 8 (the lead) to 500"}),
        ([1.0], 501, {"pattern": "1 slots; expected 2 to 47", "total_points": "501; expected 0 to 500"}),
    )
    for pattern, total_points, violations in rows:
        game = pb.RiskGame(pattern=pattern, total_points=total_points)
        [result] = (await service.AssessRisk(pb.AssessRiskRequest(games=[game]))).results
        assert result.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        assert {each.field: each.description for each in result.error.field_violations} == violations


async def test_the_largest_batch_fits(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"horizon": HORIZON_FINAL, "game_date": "2023-01-01", "model_version": "every minute"}
    fields |= {"home_team": "Portland Trail Blazers", "away_team": "Minnesota Timberwolves", "total_points": 200}
    fields["quantile_levels"] = [percent / 100 for percent in range(1, 100)]
    request = pb.PredictRequest(pattern=[12] * 47, return_explanation=True, markets=[EVEN], **fields)
    async with worker_and_channel(tmp_path, EveryMinuteForecaster("every minute")) as (_, channel):
        stub: PredictionServiceAsyncStub = PredictionServiceStub(channel)
        response = await stub.PredictBatch(pb.PredictBatchRequest(requests=[request] * 1000))
    assert [len(result.forecast.quantiles) for result in response.results] == [99] * 1000
