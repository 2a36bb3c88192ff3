from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.calls import GAME, PATTERN
from tests.support.forecasters import PersistenceForecaster

from dejavu.v1 import forecast_pb2, prediction_service_pb2
from dejavu_models.errors import (
    InvalidAlpha,
    InvalidGameId,
    InvalidHorizon,
    InvalidInput,
    InvalidMargin,
    InvalidPattern,
    InvalidTeam,
)
from dejavu_models.types import ForecastQuery, Horizon, ScorePattern
from dejavu_server import convert
from dejavu_server.records import IssuedForecast

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def issued(**changes: Any) -> IssuedForecast:
    query = ForecastQuery(ScorePattern(tuple(map(float, PATTERN))), alpha=0.1, explain=True)
    record = IssuedForecast(
        game_id=GAME,
        home_team="BKN",
        away_team="GSW",
        pattern=query.pattern,
        pregame_margin=None,
        forecast=PersistenceForecaster().forecast_many([query])[0],
        generated_time=NOW,
        expires_time=NOW + timedelta(minutes=5),
        sequence=7,
        revision=1,
    )
    return replace(record, **changes)


def predict_request(**fields: Any) -> prediction_service_pb2.PredictRequest:
    return prediction_service_pb2.PredictRequest(**{"pattern": PATTERN, **fields})


def test_an_absent_alpha_is_five_percent_and_an_unspecified_horizon_the_half() -> None:
    question = convert.question(predict_request())
    assert question.query.alpha == 0.05
    assert question.query.horizon is Horizon.HALFTIME
    assert question.query.pregame_margin is None
    assert (question.game_id, question.model_version) == ("", "")


def test_every_field_is_read() -> None:
    question = convert.question(
        predict_request(
            game_id=GAME,
            alpha=0.2,
            horizon=forecast_pb2.HORIZON_FINAL,
            home_team="BKN",
            away_team="GSW",
            pregame_margin=0.0,
            model_version="abc",
        )
    )
    assert (question.game_id, question.model_version) == (GAME, "abc")
    assert question.query == ForecastQuery(
        pattern=ScorePattern(tuple(map(float, PATTERN))),
        horizon=Horizon.FINAL,
        alpha=0.2,
        home_team="BKN",
        away_team="GSW",
        pregame_margin=0.0,
        explain=True,
    )


@pytest.mark.parametrize(
    ("game_id", "asked", "explained"),
    [("", False, False), ("", True, True), (GAME, False, True), (GAME, True, True)],
)
def test_a_named_game_is_always_explained_for_the_ledger(game_id: str, asked: bool, explained: bool) -> None:
    question = convert.question(predict_request(game_id=game_id, return_explanation=asked))
    assert question.query.explain is explained


@pytest.mark.parametrize(
    ("fields", "error", "field"),
    [
        ({"pattern": []}, InvalidPattern, "pattern"),
        ({"pattern": [0.0] * 48}, InvalidPattern, "pattern"),
        ({"pattern": [0, 1, 2, math.nan]}, InvalidPattern, "pattern[3]"),
        ({"pattern": [math.inf]}, InvalidPattern, "pattern[0]"),
        ({"pattern": [0, 201]}, InvalidPattern, "pattern[1]"),
        ({"alpha": 0.0}, InvalidAlpha, "alpha"),
        ({"alpha": 1.0}, InvalidAlpha, "alpha"),
        ({"alpha": math.nan}, InvalidAlpha, "alpha"),
        ({"game_id": "22000001"}, InvalidGameId, "game_id"),
        ({"game_id": "٠٠٢٢٠٠٠٠٠١"}, InvalidGameId, "game_id"),
        ({"game_id": GAME + "\n"}, InvalidGameId, "game_id"),
        ({"game_id": "7" * 100_000}, InvalidGameId, "game_id"),
        ({"horizon": 99}, InvalidHorizon, "horizon"),
        ({"horizon": -1}, InvalidHorizon, "horizon"),
        ({"home_team": "x" * 33}, InvalidTeam, "home_team"),
        ({"away_team": "a\tb"}, InvalidTeam, "away_team"),
        ({"pregame_margin": math.inf}, InvalidMargin, "pregame_margin"),
        ({"pregame_margin": -201.0}, InvalidMargin, "pregame_margin"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(fields: dict[str, Any], error: type[InvalidInput], field: str) -> None:
    with pytest.raises(error) as refused:
        convert.question(predict_request(**fields))
    assert refused.value.field == field
    assert len(str(refused.value)) < 200


@given(
    prediction_request=st.builds(
        prediction_service_pb2.PredictRequest,
        game_id=st.text(max_size=12),
        pattern=st.lists(st.floats(width=32), max_size=50),
        alpha=st.none() | st.floats(),
        return_explanation=st.booleans(),
        horizon=st.integers(-(2**31), 2**31 - 1),
        home_team=st.text(max_size=40),
        away_team=st.text(max_size=40),
        pregame_margin=st.none() | st.floats(),
        model_version=st.text(),
    )
)
def test_whatever_is_sent_is_a_question_or_a_refused_field(
    prediction_request: prediction_service_pb2.PredictRequest,
) -> None:
    refused = ""
    try:
        assert convert.question(prediction_request).query.pattern.minutes == len(prediction_request.pattern)
    except InvalidInput as error:
        refused = error.field.partition("[")[0]
    assert refused in {"", *prediction_request.DESCRIPTOR.fields_by_name}


def test_a_forecast_s_message_says_what_was_issued() -> None:
    message = convert.forecast_message(issued(), explanation=True)
    assert (message.game_id, message.home_team, message.away_team) == (GAME, "BKN", "GSW")
    assert message.horizon == forecast_pb2.HORIZON_HALFTIME
    assert message.elapsed_minutes == 18
    assert (message.alpha, message.coverage_probability) == (0.1, 0.9)
    assert (message.interval_lower, message.point_forecast, message.interval_upper) == (1.0, 11.0, 21.0)
    assert message.home_lead_probability == 0.75
    assert message.generated_time.ToDatetime(UTC) == NOW
    assert message.expires_time.ToDatetime(UTC) == NOW + timedelta(minutes=5)
    assert (message.sequence, message.revision) == (7, 1)
    assert (message.explanation.dejavu_weight, message.explanation.lstm_weight) == (0.4, 0.6)
    [game] = message.explanation.similar_games
    assert game == forecast_pb2.SimilarGame(
        label="2021-03-14 BOS @ BKN and 6 like it",
        home_team="BKN",
        away_team="BOS",
        game_date="2021-03-14",
        distance=1.5,
        differential_at_horizon=13.0,
        games=7,
    )


def test_every_field_of_the_contract_s_forecast_is_set() -> None:
    message = convert.forecast_message(issued(), explanation=True)
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)
    explanation = message.explanation
    assert {field.name for field, _ in explanation.ListFields()} == set(explanation.DESCRIPTOR.fields_by_name)


def test_an_explanation_that_was_not_asked_for_stays_here() -> None:
    assert not convert.forecast_message(issued(), explanation=False).HasField("explanation")


def test_a_model_s_message_says_what_the_model_is() -> None:
    message = convert.model_message(PersistenceForecaster("v1").info, active=True)
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)
    assert (message.version, message.active, message.smallest_alpha) == ("v1", True, 0.01)
    assert [(h.horizon, h.min_slots, h.max_slots) for h in message.horizons] == [
        (forecast_pb2.HORIZON_HALFTIME, 18, 18)
    ]
    assert message.metrics[0].lower == 4.8
    assert not message.metrics[1].HasField("lower")


@pytest.mark.parametrize("size", [0, 1001])
def test_a_batch_of_none_or_too_many_is_refused(size: int) -> None:
    batch = prediction_service_pb2.PredictBatchRequest(requests=[predict_request()] * size)
    with pytest.raises(convert.InvalidBatch, match=r"requests: .* 1 to 1000"):
        convert.batch(batch)


def test_a_subscription_s_game_ids_are_checked_each() -> None:
    request = prediction_service_pb2.StreamPredictionsRequest(game_ids=[GAME, "x"])
    with pytest.raises(InvalidGameId) as refused:
        convert.subscription(request)
    assert refused.value.field == "game_ids[1]"


def test_a_subscription_is_read() -> None:
    request = prediction_service_pb2.StreamPredictionsRequest(
        game_ids=[GAME, GAME], resume_token="t", include_current=True
    )
    assert convert.subscription(request) == convert.Subscription(frozenset([GAME]), "t", True)
