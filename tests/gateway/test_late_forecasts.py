"""Late forecasts do not count: neither the board nor a shared image shows one while there is another."""

from __future__ import annotations

import pytest

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, LATE_REASON_TIME, Forecast
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu_gateway.api.games import _summary
from dejavu_gateway.api.share import prediction_at


def recorded(sequence: int, minute: int, probability: float, *, late: bool = False) -> RecordedPrediction:
    forecast = Forecast(
        game_id="0022500001",
        sequence=sequence,
        horizon=HORIZON_FINAL,
        elapsed_minutes=minute,
        home_lead_probability=probability,
    )
    if late:
        forecast.late = LATE_REASON_TIME
    return RecordedPrediction(forecast=forecast, pattern=[float(minute)] * minute)


@pytest.mark.parametrize("minute", [24, 25])
def test_a_late_forecast_is_not_the_newest(minute: int) -> None:
    history = [recorded(1, 23, 0.5), recorded(2, 24, 0.6), recorded(3, minute, 0.99, late=True)]
    shown = prediction_at(history, 48)
    assert shown is not None
    assert shown.forecast.home_lead_probability == 0.6
    newest = _summary("0022500001", history[::-1])["newest"]
    assert newest["final"]["forecast"]["homeLeadProbability"] == 0.6


def test_where_all_are_late_the_newest_of_them_is_shown() -> None:
    history = [recorded(1, 23, 0.5, late=True), recorded(2, 24, 0.6, late=True)]
    shown = prediction_at(history, 48)
    assert shown is not None
    assert shown.forecast.home_lead_probability == 0.6
    newest = _summary("0022500001", history[::-1])["newest"]
    assert newest["final"]["forecast"]["homeLeadProbability"] == 0.6
    assert newest["half"] is None
