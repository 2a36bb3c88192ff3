"""The date of a game in a request, and the season in its id."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_models.errors import InvalidGameDate
from dejavu_server.api.converters import prediction


def predict_request(**fields: Any) -> PredictRequest:
    return PredictRequest(**{"pattern": PATTERN, **fields})


def test_the_default_date_of_a_game_of_another_season_is_refused() -> None:
    today = date(2026, 11, 21)
    past = predict_request(game_id="0022300500")
    with pytest.raises(InvalidGameDate, match=r"none, which means 2026-11-21, .* 2023–24; expected .* from 2023-08-01"):
        prediction.forecast_request(past, today)
    past.game_date = "2023-11-01"
    assert prediction.forecast_request(past, today).game_date == date(2023, 11, 1)
    for game_id in ("0022600500", "9900000001", ""):  # ids of replays have no season, what-ifs have no id
        question = prediction.forecast_request(predict_request(game_id=game_id), today)
        assert (question.game_date, question.query.game_date) == (None, today)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_first_and_the_last_day_of_all_are_of_no_season(day: str) -> None:
    with pytest.raises(InvalidGameDate, match=r"expected a date from 2023-08-01 to 2024-10-31"):
        prediction.forecast_request(predict_request(game_id="0022300500", game_date=day), date(2026, 11, 21))
