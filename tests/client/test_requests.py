"""Requests made from callers' arguments: live inputs, dates and odds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from dejavu.v1.forecast_pb2 import SIDE_AWAY
from dejavu.v1.forecast_pb2 import LastScore as LastScoreMessage
from dejavu.v1.forecast_pb2 import Possession as PossessionMessage
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_client import HALFTIME, LastScore, Moment, Possession, Side, market, predict_request
from dejavu_client.requests import predictions_request, score_filter

DAY = datetime(2023, 11, 1, 20, 30, tzinfo=UTC)


def test_a_request_has_the_live_inputs_that_are_given() -> None:
    last, ball = LastScoreMessage(side=SIDE_AWAY, seconds=12), PossessionMessage(side=SIDE_AWAY)
    request = predict_request(
        [2.0], total_points=6, last_score=LastScore(Side.AWAY, 12), possession=Possession(Side.AWAY)
    )
    assert request == PredictRequest(pattern=[2.0], horizon=HALFTIME, total_points=6, last_score=last, possession=ball)
    at = predict_request([2.0], moment=Moment(1, 630.5, -3)).moment
    assert (at.period, at.seconds_left, at.differential) == (1, 630.5, -3)
    without = predict_request([2.0], total_points=None, last_score=None, game_date=None)
    assert without == PredictRequest(pattern=[2.0], horizon=HALFTIME)


@pytest.mark.parametrize("given", [DAY.date(), DAY, "2023-11-01"], ids=["date", "time", "text"])
def test_a_date_is_given_as_a_date_a_time_or_a_text(given: date | str) -> None:
    assert predict_request([2.0], game_date=given).game_date == "2023-11-01"
    for request in (predictions_request(from_date=given, to_date=None), score_filter(from_date=given)):
        assert (request.from_date, request.to_date) == ("2023-11-01", "")


@pytest.mark.parametrize(
    ("build", "options", "said"),
    [
        (predict_request, {"last_score": ("home", 12)}, r"last_score: \('home', 12\); expected a LastScore, or None"),
        (predict_request, {"possession": "home"}, "possession: 'home'; expected a Possession, or None"),
        (predict_request, {"moment": (4, 30.0, 2)}, r"moment: \(4, 30.0, 2\); expected a Moment, or None"),
        (predict_request, {"game_date": 20231101}, "game_date: 20231101; expected a date, a text as YYYY-MM-DD"),
        (predictions_request, {"from_date": 20231101}, "from_date: 20231101; expected a date"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_its_name(
    build: Callable[..., object], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        build(*([[2.0]] if build is predict_request else []), **options)


@pytest.mark.parametrize(
    ("price", "kind", "value"),
    [
        (-110, "american", -110),
        (100, "american", 100),
        (150.0, "american", 150),
        (1.91, "decimal", 1.91),
        (99, "decimal", 99.0),
        (-1.5, "decimal", -1.5),
        (float("inf"), "decimal", float("inf")),
    ],
)
def test_whole_odds_from_a_hundred_on_are_american_and_all_others_decimal(
    price: float, kind: str, value: float
) -> None:
    for odds in (market(0, price, 2).above, market(0, 2, price).below):
        assert odds.WhichOneof("price") == kind
        assert getattr(odds, kind) == value
