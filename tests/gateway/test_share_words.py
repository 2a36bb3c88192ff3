"""What a shared image says of a game: who wins, how it ended, or that its last minute and overtime have no forecast."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, Forecast
from dejavu.v1.record_pb2 import Outcome, RecordedPrediction
from dejavu_gateway.api.share import drawn

MADE = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def recorded(minute: int, probability: float = 0.67, outcome: Outcome | None = None) -> RecordedPrediction:
    forecast = Forecast(
        home_team="DET",
        away_team="NYK",
        horizon=HORIZON_FINAL,
        elapsed_minutes=minute,
        home_lead_probability=probability,
    )
    forecast.generated_time.FromDatetime(MADE)
    forecast.expires_time.FromDatetime(MADE + timedelta(minutes=5))
    return RecordedPrediction(forecast=forecast, pattern=[1.0] * minute, outcome=outcome)


@pytest.mark.parametrize(
    ("prediction", "minutes_later", "said"),
    [
        (recorded(47), 1, "DET wins 67 %"),
        (recorded(47), 6, "no forecast"),
        (recorded(47), 6, "last minute or overtime"),
        (recorded(47), 180, "no outcome reported"),
        (recorded(46), 6, "DET wins 67 %"),
        (recorded(47), None, "DET wins 67 %"),
        (recorded(18, 0.998), 1, "DET wins &gt;99 %"),
        (recorded(47, outcome=Outcome(differential=3, overtimes=1)), 30, "final/OT DET +3"),
        (recorded(47, outcome=Outcome(differential=3, overtimes=0)), 30, "final DET +3<"),
    ],
)
def test_an_image_says_nothing_of_a_moment_that_has_no_forecast(
    prediction: RecordedPrediction, minutes_later: int | None, said: str
) -> None:
    now = None if minutes_later is None else MADE + timedelta(minutes=minutes_later)
    image = drawn(prediction, now)
    assert said in image
    assert ("wins" in image) is ("wins" in said)
