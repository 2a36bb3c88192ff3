"""PredictColumns: the numbers of Predict, for many games at once; bad columns are named; nothing is recorded."""

from __future__ import annotations

import math
from collections.abc import Iterator

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.harness.laws import examples
from tests.support.processes.servers import running_worker

from dejavu.v1 import forecast_pb2
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu.v1.record_service_pb2_grpc import RecordServiceStub

LEVELS = (0.05, 0.5, 0.9)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with (
        running_worker(tmp_path_factory.mktemp("ledger"), shipped=True) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield channel


@st.composite
def games(draw: st.DrawFn) -> list[pb.PredictRequest]:
    horizon = draw(st.sampled_from(list(forecast_pb2.Horizon.values())))
    slots = st.lists(st.integers(-40, 40), min_size=1, max_size=47 if horizon == forecast_pb2.HORIZON_FINAL else 23)
    alpha = draw(st.sampled_from([None, 0.1, 0.32]))
    return [
        pb.PredictRequest(
            pattern=draw(slots),
            horizon=horizon,
            alpha=alpha,
            quantile_levels=LEVELS,
            pregame_margin=draw(st.none() | st.floats(-15, 15)),
        )
        for _ in range(draw(st.integers(1, 20)))
    ]


def columns(requests: list[pb.PredictRequest]) -> pb.PredictColumnsRequest:
    return pb.PredictColumnsRequest(
        patterns=[value for each in requests for value in each.pattern],
        minutes=[len(each.pattern) for each in requests],
        pregame_margins=[each.pregame_margin if each.HasField("pregame_margin") else math.nan for each in requests],
        horizon=requests[0].horizon,
        alpha=requests[0].alpha if requests[0].HasField("alpha") else None,
        quantile_levels=requests[0].quantile_levels,
    )


@settings(max_examples=examples(25))
@given(games())
def test_columns_have_the_numbers_of_predict(channel: grpc.Channel, requests: list[pb.PredictRequest]) -> None:
    service = PredictionServiceStub(channel)
    found = service.PredictColumns(columns(requests))
    batch = service.PredictBatch(pb.PredictBatchRequest(requests=requests)).results
    forecasts = [each.forecast for each in batch]
    assert {each.model_version for each in forecasts} == {found.model_version}
    assert [each.point_forecast for each in forecasts] == list(found.point_forecasts)
    assert [each.interval_lower for each in forecasts] == list(found.interval_lowers)
    assert [each.interval_upper for each in forecasts] == list(found.interval_uppers)
    assert [each.home_lead_probability for each in forecasts] == list(found.home_lead_probabilities)
    assert [quantile.value for each in forecasts for quantile in each.quantiles] == list(found.quantiles)


def test_as_many_games_as_are_allowed_are_answered_in_order_and_not_recorded(channel: grpc.Channel) -> None:
    leads = [float(game % 41 - 20) for game in range(5000)]
    request = pb.PredictColumnsRequest(patterns=leads, minutes=[1] * 5000)
    found = PredictionServiceStub(channel).PredictColumns(request)
    assert len(found.point_forecasts) == 5000
    by_lead = dict(zip(leads, found.point_forecasts, strict=True))
    assert [by_lead[lead] for lead in leads] == list(found.point_forecasts)
    assert sorted(by_lead, key=by_lead.__getitem__) == sorted(by_lead)
    assert not RecordServiceStub(channel).ListPredictions(ListPredictionsRequest()).predictions
