"""A row of ModelInfer has the same forecast as the request of a PredictBatch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.harness.laws import examples
from tests.support.harness.tensors import Tensor, columns, infer_request, padded, texts
from tests.support.processes.servers import running_worker

from dejavu.inference.open_inference_pb2_grpc import GRPCInferenceServiceStub
from dejavu.v1 import forecast_pb2
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictRequest
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_feed import live_inputs

HORIZONS = {
    "": forecast_pb2.HORIZON_UNSPECIFIED,
    "halftime": forecast_pb2.HORIZON_HALFTIME,
    "final": forecast_pb2.HORIZON_FINAL,
}
SIDES = {forecast_pb2.SIDE_HOME: "home", forecast_pb2.SIDE_AWAY: "away"}
LEVELS = (0.05, 0.5, 0.9)


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    with (
        running_worker(tmp_path_factory.mktemp("ledger"), shipped=True) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield channel


@st.composite
def requests(draw: st.DrawFn) -> PredictRequest:
    horizon = draw(st.sampled_from(list(HORIZONS.values())))
    slots = st.integers(1, 47 if horizon == forecast_pb2.HORIZON_FINAL else 23)
    size = draw(slots)
    pattern = draw(st.lists(st.integers(-40, 40), min_size=size, max_size=size))
    request = PredictRequest(pattern=pattern, horizon=horizon, quantile_levels=LEVELS)
    if draw(st.booleans()):
        request.alpha = draw(st.sampled_from([0.05, 0.1, 0.32]))
    if draw(st.booleans()):
        request.home_team, request.away_team = draw(st.sampled_from([("BOS", "LAL"), ("GS", "Celtics")]))
        request.game_date = draw(st.sampled_from(["", "2023-06-14"]))
    if draw(st.booleans()):
        request.pregame_margin = draw(st.floats(-15, 15))
    if draw(st.booleans()):
        most = live_inputs.most_total_points(len(pattern), pattern[-1])
        request.total_points = abs(pattern[-1]) + 2 * draw(st.integers(1, int(most - abs(pattern[-1])) // 2))
        if draw(st.booleans()):
            side, seconds = draw(st.sampled_from(list(SIDES))), draw(st.integers(0, 60))
            request.last_score.CopyFrom(forecast_pb2.LastScore(side=side, seconds=seconds))
    return request


def inputs_of(requests: Sequence[PredictRequest]) -> dict[str, Tensor]:
    """Return tensors that are equivalent to the requests."""

    def numbers(name: Literal["alpha", "pregame_margin"]) -> Tensor:
        return Tensor([getattr(each, name) if each.HasField(name) else math.nan for each in requests])

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
        "total_points": Tensor(
            [each.total_points if each.HasField("total_points") else -1 for each in requests], "INT32"
        ),
        "last_score_side": texts(*("" if each is None else SIDES[each.side] for each in scored)),
        "last_score_seconds": Tensor([0 if each is None else each.seconds for each in scored], "INT64"),
        "quantile_levels": Tensor(LEVELS),
    }


@settings(max_examples=examples(25))
@given(batch=st.lists(requests(), min_size=1, max_size=5), raw=st.booleans())
def test_every_row_has_the_forecast_of_its_request(
    channel: grpc.Channel, batch: list[PredictRequest], *, raw: bool
) -> None:
    answer = PredictionServiceStub(channel).PredictBatch(PredictBatchRequest(requests=batch))
    inferred = columns(GRPCInferenceServiceStub(channel).ModelInfer(infer_request(inputs_of(batch), raw=raw)))
    assert all(len(column) == len(batch) for column in inferred.values())
    for row, result in enumerate(answer.results):
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
        assert result.HasField("forecast")
        assert inferred.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(inferred[name][row], value, err_msg=name)
