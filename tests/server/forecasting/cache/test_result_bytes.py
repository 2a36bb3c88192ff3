"""The bytes of results are read as the messages that have their numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dejavu.v1.forecast_pb2 import Adaptation, Forecast, Quantile
from dejavu.v1.prediction_service_pb2 import PredictBatchResponse
from dejavu_models.forecaster.alike import AlikeNumbers, AlikeRows
from dejavu_server.api.cache.result_bytes import ResultBytes
from dejavu_server.api.converters.alike import fill
from dejavu_server.api.converters.fields import set_timestamp

MADE = datetime(2026, 1, 14, 20, 0, 0, 123456, UTC)
EXPIRES = MADE + timedelta(minutes=5)

numbers = st.floats(-400, 400) | st.sampled_from([0.0, -0.0, 5e-324, 1.0])


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    forecast = Forecast(
        point_forecast=draw(numbers),
        model_version="20260101-abcdef",
        calibration_sequence=draw(st.integers(0, 2**40)),
        quantiles=[Quantile(level=level / 100, value=draw(numbers)) for level in range(1, draw(st.integers(1, 100)))],
    )
    if draw(st.booleans()):
        forecast.adaptation.CopyFrom(Adaptation(rolling_games=3, adapted_upper=4.5))
    return forecast


@given(forecasts(), st.booleans(), st.data())
def test_results_are_the_template_with_the_numbers_of_each(
    forecast: Forecast, margins: bool, data: st.DataObject
) -> None:
    games, levels = data.draw(st.integers(1, 4)), len(forecast.quantiles)
    found = [data.draw(st.lists(numbers, min_size=8 + levels, max_size=8 + levels)) for _ in range(games)]
    rows = AlikeRows(np.zeros((games, 6)), np.array([data.draw(numbers) if margins else np.nan for _ in range(games)]))

    results = ResultBytes(forecast, MADE, EXPIRES, margins=margins).of(np.array(found), rows)

    expected = PredictBatchResponse()
    for each, margin in zip(found, rows.margins.tolist(), strict=True):
        one = expected.results.add().forecast
        one.CopyFrom(forecast)
        fill(one, AlikeNumbers._make([*each[:8], each[8:]]), margin if margins else None)
        set_timestamp(one.generated_time, MADE)
        set_timestamp(one.expires_time, EXPIRES)
    assert PredictBatchResponse.FromString(b"".join(results)) == expected


def test_no_game_changes_the_template() -> None:
    forecast = Forecast(point_forecast=1.0, quantiles=[Quantile(level=0.5, value=2.0)])
    before = forecast.SerializeToString()
    ResultBytes(forecast, MADE, EXPIRES, margins=True).of(np.ones((2, 9)), AlikeRows(np.zeros((2, 6)), np.ones(2)))
    assert forecast.SerializeToString() == before
