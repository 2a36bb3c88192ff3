"""Requests of a batch, columns, and rows of tensors get the same numbers as single requests, however many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.calls import current_game
from tests.support.harness.laws import examples
from tests.support.harness.tensors import Tensor, columns, infer_request, padded, texts
from tests.support.processes.servers import running_worker

from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub
from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, HORIZON_UNSPECIFIED
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Market, Odds
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ReportOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub
from dejavu_feed import live_inputs


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
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
        adapted = forecast_pb2.Adaptation()
        while adapted.rolling_games < 3:  # outcomes are learned soon after they were reported
            adapted = service.Predict(pb.PredictRequest(pattern=[1.0] * 18), timeout=10).forecast.adaptation
        assert adapted.adapted_upper > adapted.static_upper
        yield channel


HORIZONS = {"": HORIZON_UNSPECIFIED, "halftime": HORIZON_HALFTIME, "final": HORIZON_FINAL}
SIDES = {forecast_pb2.SIDE_HOME: "home", forecast_pb2.SIDE_AWAY: "away"}
LEVELS = (0.05, 0.5, 0.9)
SELDOM: list[dict[str, Any]] = [
    {"pattern": [math.nan]},
    {"pregame_margin": math.nan},
    {"alpha": 0.0},
    {"return_explanation": True},
    {"markets": [Market(kind=MARKET_KIND_LEAD, line=2.5, above=Odds(decimal=1.9), below=Odds(american=-110))]},
]
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
            request.last_score.side, request.last_score.seconds = (
                draw(st.sampled_from([*SIDES])),
                draw(st.integers(0, 60)),
            )
    return request


@st.composite
def batches(draw: st.DrawFn) -> list[pb.PredictRequest]:
    """Draw a batch of a few kinds of requests, some of them invalid or with fields that few have."""
    few = draw(st.lists(st.tuples(kinds(), st.integers(1, 23)), min_size=1, max_size=3))
    made = [draw(requests(*few[number % len(few)])) for number in range(draw(st.integers(1, 32)))]
    for request in made:
        request.MergeFrom(pb.PredictRequest(**draw(st.sampled_from([{}] * 20 + SELDOM))))
    return made


def without_times(result: pb.PredictBatchResult) -> pb.PredictBatchResult:
    result.forecast.ClearField("generated_time")
    result.forecast.ClearField("expires_time")
    return result


@settings(max_examples=examples(12))
@given(batches())
def test_a_batch_gets_what_each_request_gets_alone(channel: grpc.Channel, requests: list[pb.PredictRequest]) -> None:
    service = PredictionServiceStub(channel)
    together = service.PredictBatch(pb.PredictBatchRequest(requests=requests)).results
    assert len(together) == len(requests)
    for request, result in zip(requests, together, strict=True):
        request.return_explanation = False  # which has courses of similar games in a single call only
        if result.HasField("error"):
            with pytest.raises(grpc.RpcError) as refused:
                service.Predict(request)
            assert refused.value.details() == result.error.message
        else:
            result.forecast.ClearField("explanation")
            assert result.forecast.expires_time.seconds - result.forecast.generated_time.seconds == 300
            alone = service.Predict(request)
            expected = pb.PredictBatchResult(forecast=alone.forecast, markets=alone.markets)
            assert without_times(result) == without_times(expected)


@settings(max_examples=examples(25))
@given(kinds().flatmap(lambda kind: st.lists(requests(kind, columns=True), min_size=1, max_size=20)))
def test_columns_have_the_numbers_of_predict(channel: grpc.Channel, requests: list[pb.PredictRequest]) -> None:
    service, first = PredictionServiceStub(channel), requests[0]
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
    assert {each.model_version for each in forecasts} == {found.model_version}
    assert [each.point_forecast for each in forecasts] == list(found.point_forecasts)
    assert [each.interval_lower for each in forecasts] == list(found.interval_lowers)
    assert [each.interval_upper for each in forecasts] == list(found.interval_uppers)
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
def test_every_row_of_tensors_has_the_forecast_of_its_request(
    channel: grpc.Channel, batch: list[pb.PredictRequest], *, raw: bool
) -> None:
    for request in batch:
        request.quantile_levels[:] = LEVELS
    answer = PredictionServiceStub(channel).PredictBatch(pb.PredictBatchRequest(requests=batch))
    inferred = columns(GRPCInferenceServiceStub(channel).ModelInfer(infer_request(inputs_of(batch), raw=raw)))
    assert all(len(column) == len(batch) for column in inferred.values())
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
            "total_point": math.nan if total is None else total.point_forecast,
            "total_lower": math.nan if total is None else total.interval_lower,
            "total_upper": math.nan if total is None else total.interval_upper,
            "total_quantiles": [math.nan] * 3 if total is None else [each.value for each in total.quantiles],
        }
        assert inferred.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(inferred[name][row], value, err_msg=name)


def test_as_many_columns_as_are_allowed_are_answered_in_order_and_not_recorded(channel: grpc.Channel) -> None:
    leads = [float(game % 41 - 20) for game in range(5000)]
    recorded = RecordServiceStub(channel).ListPredictions(ListPredictionsRequest())
    request = pb.PredictColumnsRequest(patterns=leads, minutes=[1] * 5000)
    found = PredictionServiceStub(channel).PredictColumns(request)
    assert len(found.point_forecasts) == 5000
    by_lead = dict(zip(leads, found.point_forecasts, strict=True))
    assert [by_lead[lead] for lead in leads] == list(found.point_forecasts)
    assert sorted(by_lead, key=by_lead.__getitem__) == sorted(by_lead)
    assert RecordServiceStub(channel).ListPredictions(ListPredictionsRequest()) == recorded


@pytest.mark.parametrize("alpha", [0.9, 0.999999, 0.002])
def test_no_number_of_an_answer_is_minus_0(channel: grpc.Channel, alpha: float) -> None:
    """A narrow interval around −0.1 ends at 0, a wide one below a lead of the away team too; alone and in a batch."""
    service = PredictionServiceStub(channel)
    requests = [
        pb.PredictRequest(pattern=[-lead] * minutes, alpha=alpha, horizon=horizon)
        for lead in (0, 0.25, 1, 12, 28)
        for minutes in (1, 11, 22, 23)
        for horizon in (HORIZON_HALFTIME, HORIZON_FINAL)
    ]
    together = service.PredictBatch(pb.PredictBatchRequest(requests=requests)).results
    for request, result in zip(requests, together, strict=True):
        for forecast in (result.forecast, service.Predict(request).forecast):
            ends = (forecast.interval_lower, forecast.interval_upper)
            adapted = (forecast.adaptation.adapted_lower, forecast.adaptation.adapted_upper)
            static = (forecast.adaptation.static_lower, forecast.adaptation.static_upper)
            assert not any(end == 0 and math.copysign(1, end) < 0 for end in (*ends, *adapted, *static))
