"""Total points and the last score of requests and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import issued

from dejavu.v1 import forecast_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Side, put
from dejavu_feed.pattern import Score, live_inputs, slots
from dejavu_models.errors import InvalidInput, InvalidLiveInput, InvalidPattern
from dejavu_models.types import Horizon
from dejavu_server.api.converters import prediction


def last_score(side: int, seconds: int = 0) -> forecast_pb2.LastScore:
    """Returns a last score, of any number of a side."""
    message = forecast_pb2.LastScore(seconds=seconds)
    message.MergeFromString(bytes([8, side]))
    return message


def test_they_are_read() -> None:
    request = PredictRequest(pattern=[2.0, -3.0], total_points=9, last_score=last_score(2, 120))
    query = prediction.forecast_request(request).query
    assert query.live == LiveInputs(9, LastScore(Side.AWAY, 120))
    without = prediction.forecast_request(PredictRequest(pattern=[2.0, -3.0])).query
    assert without.live == NO_LIVE_INPUTS


@pytest.mark.parametrize(
    ("fields", "error", "field", "expected"),
    [
        ({"total_points": 1}, InvalidLiveInput, "total_points", "3 (the lead) to 500"),
        ({"total_points": 4}, InvalidLiveInput, "total_points", "an odd number, as the last differential, 3, is odd"),
        ({"pattern": [-2.0], "total_points": 5}, InvalidLiveInput, "total_points", "even number"),
        ({"total_points": 501}, InvalidLiveInput, "total_points", "to 500"),
        ({"last_score": forecast_pb2.LastScore()}, InvalidLiveInput, "last_score.side", "dejavu.v1.Side: 1, 2"),
        ({"last_score": last_score(7)}, InvalidLiveInput, "last_score.side", "dejavu.v1.Side: 1, 2"),
        (
            {"last_score": last_score(1, 61)},
            InvalidLiveInput,
            "last_score.seconds",
            "0 to 60, the seconds since tip-off",
        ),
        ({"last_score": last_score(1, 2**32 - 1)}, InvalidLiveInput, "last_score.seconds", "0 to 60"),
        (
            {"total_points": 3, "last_score": last_score(2)},
            InvalidLiveInput,
            "last_score.side",
            "a side with points: by total_points, 3, and the pattern away has none",
        ),
        (
            {"pattern": [0.0], "total_points": 0, "last_score": last_score(1)},
            InvalidLiveInput,
            "last_score.side",
            "home",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(
    fields: dict[str, Any], error: type[InvalidInput], field: str, expected: str
) -> None:
    with pytest.raises(error) as refused:
        prediction.forecast_request(PredictRequest(**{"pattern": [3.0], **fields}))
    assert refused.value.field == field
    assert expected in str(refused.value)


def test_they_are_not_compared_with_a_pattern_that_is_refused() -> None:
    with pytest.raises(InvalidPattern) as refused:
        prediction.forecast_request(PredictRequest(total_points=31, last_score=last_score(1, 900)))
    assert refused.value.others == ()
    with pytest.raises(InvalidPattern) as refused:
        prediction.forecast_request(PredictRequest(total_points=501, last_score=last_score(0)))
    assert [fault.field for fault in refused.value.others] == ["last_score.side", "total_points"]


@pytest.mark.parametrize("total_points", [7, 8])
def test_with_a_lead_of_half_points_either_parity_will_do(total_points: int) -> None:
    request = PredictRequest(pattern=[2.5], total_points=total_points)
    assert prediction.forecast_request(request).query.live.total_points == total_points


def test_they_are_answered_as_recorded() -> None:
    given = replace(issued(), live=LiveInputs(0, LastScore(Side.AWAY, 0)))
    message = prediction.forecast_message(given, explanation=False)
    assert (message.HasField("total_points"), message.total_points) == (True, 0)
    assert message.last_score == last_score(forecast_pb2.SIDE_AWAY)
    without = prediction.forecast_message(issued(), explanation=False)
    assert not without.HasField("total_points")
    assert not without.HasField("last_score")


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


@given(
    request=st.builds(
        PredictRequest,
        pattern=st.lists(st.floats(-220, 220, width=32) | st.integers(-9, 9).map(float), max_size=30),
        total_points=st.none() | st.integers(0, 600),
        last_score=st.none() | st.builds(last_score, st.integers(0, 4), st.integers(0, 2**32 - 1)),
    )
)
def test_whatever_is_sent_is_a_question_or_a_refused_field(request: PredictRequest) -> None:
    refused = "pattern"
    try:
        query = prediction.forecast_request(request).query
        assert query.live.total_points is None or query.live.total_points >= abs(query.pattern.last)
        assert query.live.last_score is None or query.live.last_score.seconds <= 60 * query.pattern.minutes
    except InvalidInput as error:
        refused = error.field.partition("[")[0].partition(".")[0]
    assert refused in {"pattern", "total_points", "last_score"}
