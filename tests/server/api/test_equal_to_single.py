"""Requests of a batch, and columns, get the same numbers as single requests, however many there are."""

from __future__ import annotations

import math
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.calls import current_game
from tests.support.harness.laws import examples
from tests.support.processes.servers import running_worker

from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, Odds
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ReportOutcomeRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub


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
                service.Predict(
                    pb.PredictRequest(pattern=[1.0] * minutes, game_id=game, horizon=forecast_pb2.HORIZON_HALFTIME)
                )
            record.ReportOutcome(
                ReportOutcomeRequest(game_id=game, horizon=forecast_pb2.HORIZON_HALFTIME, differential=45)
            )
        adapted = forecast_pb2.Adaptation()
        while adapted.rolling_games < 3:  # outcomes are learned soon after they were reported
            adapted = service.Predict(pb.PredictRequest(pattern=[1.0] * 18), timeout=10).forecast.adaptation
        assert adapted.adapted_upper > adapted.static_upper
        yield channel


@st.composite
def kinds(draw: st.DrawFn) -> pb.PredictRequest:
    horizon = draw(st.sampled_from(list(forecast_pb2.Horizon.values())))
    return pb.PredictRequest(
        horizon=horizon,
        alpha=draw(st.sampled_from([None, 0.1, 0.32])),
        quantile_levels=draw(st.sampled_from([(), (0.25, 0.75), tuple(level / 20 for level in range(1, 20))])),
        pattern=[0.0] * draw(st.integers(1, 47 if horizon == forecast_pb2.HORIZON_FINAL else 23)),
    )


@st.composite
def batches(draw: st.DrawFn) -> list[pb.PredictRequest]:
    """Draw a batch of a few kinds of requests, some of them invalid or with more than columns have."""
    few = draw(st.lists(kinds(), min_size=1, max_size=3))
    requests = []
    for number in range(draw(st.integers(1, 32))):
        request = pb.PredictRequest()
        request.CopyFrom(few[number % len(few)])
        values = st.lists(st.integers(-40, 40), min_size=len(request.pattern), max_size=len(request.pattern))
        request.pattern[:] = draw(values)
        match draw(st.integers(0, 40)):
            case 0:
                request.pattern[-1] = math.nan
            case 1:
                request.pregame_margin = math.nan
            case 2 | 3:
                request.home_team, request.away_team = "BOS", "LAL"
            case 4:
                request.return_explanation = True
            case 5:
                request.total_points = abs(int(request.pattern[-1])) + 40
            case 6:
                request.alpha = 0.0
            case 8:
                request.markets.add(kind=MARKET_KIND_LEAD, line=2.5, above=Odds(decimal=1.9), below=Odds(american=-110))
            case kind if kind % 2:
                request.pregame_margin = draw(st.integers(-15, 15))
        requests.append(request)
    return requests


@st.composite
def columns(draw: st.DrawFn) -> list[pb.PredictRequest]:
    """Draw requests that can be columns of one message."""
    kind = draw(kinds())
    longest = 47 if kind.horizon == forecast_pb2.HORIZON_FINAL else 23
    slots, margins = st.lists(st.integers(-40, 40), min_size=1, max_size=longest), st.none() | st.floats(-15, 15)
    return [
        pb.PredictRequest(
            pattern=draw(slots),
            horizon=kind.horizon,
            alpha=kind.alpha if kind.HasField("alpha") else None,
            quantile_levels=kind.quantile_levels,
            pregame_margin=draw(margins),
        )
        for _ in range(draw(st.integers(1, 20)))
    ]


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
            expected = pb.PredictBatchResult(forecast=alone.forecast)
            expected.markets.extend(alone.markets)
            assert without_times(result) == without_times(expected)


@settings(max_examples=examples(25))
@given(columns())
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
        for horizon in (forecast_pb2.HORIZON_HALFTIME, forecast_pb2.HORIZON_FINAL)
    ]
    together = service.PredictBatch(pb.PredictBatchRequest(requests=requests)).results
    for request, result in zip(requests, together, strict=True):
        for forecast in (result.forecast, service.Predict(request).forecast):
            ends = (forecast.interval_lower, forecast.interval_upper)
            adapted = (forecast.adaptation.adapted_lower, forecast.adaptation.adapted_upper)
            static = (forecast.adaptation.static_lower, forecast.adaptation.static_upper)
            assert not any(end == 0 and math.copysign(1, end) < 0 for end in (*ends, *adapted, *static))
