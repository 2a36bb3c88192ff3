"""Total points and the last score of requests and answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu.v1 import forecast_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.live_inputs import put
from dejavu_feed.pattern import Score, live_inputs, slots
from dejavu_models.errors import InvalidPattern
from dejavu_models.types import Horizon
from dejavu_server.api.converters import prediction


def last_score(side: int, seconds: int = 0) -> forecast_pb2.LastScore:
    """Return a last score, of any number of a side."""
    message = forecast_pb2.LastScore(seconds=seconds)
    message.MergeFromString(bytes([8, side]))
    return message


def test_they_are_not_compared_with_a_pattern_that_is_refused() -> None:
    with pytest.raises(InvalidPattern) as refused:
        prediction.forecast_request(PredictRequest(total_points=31, last_score=last_score(1, 900)))
    assert refused.value.others == ()
    with pytest.raises(InvalidPattern) as refused:
        prediction.forecast_request(PredictRequest(total_points=501, last_score=last_score(0)))
    assert [fault.field for fault in refused.value.others] == ["last_score.side", "total_points"]


@given(
    points=st.lists(st.tuples(st.integers(0, 150), st.sampled_from(["home", "away"]), st.integers(-1, 3)), max_size=30),
    minutes=st.integers(1, 23),
)
def test_what_plays_say_is_accepted(points: list[tuple[int, str, int]], minutes: int) -> None:
    """A poller sends what `slots` and `live_inputs` return of any plays, corrections and all."""
    scores = [Score(0.0, 0, 0)]
    for seconds, side, change in points:
        elapsed, home, away = scores[-1]
        home, away = (home + change, away) if side == "home" else (home, away + change)
        scores.append(Score(elapsed + seconds, max(0, home), max(0, away)))
    [*_, live] = live_inputs(scores, minutes)
    request = PredictRequest(pattern=slots(scores, minutes))
    put(request, live)
    query = prediction.forecast_request(request).query
    assert (query.horizon, query.live) == (Horizon.HALFTIME, live)
