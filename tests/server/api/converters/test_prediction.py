"""Requests for forecasts as they are read, and forecasts and models as they are written."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calls import GAME, PATTERN
from tests.support.builders.issued_forecasts import TEAMS_KNOWN, TOTAL, issued
from tests.support.fakes.every_minute_model import EveryMinuteForecaster

from dejavu.v1 import forecast_pb2, market_pb2, model_service_pb2
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.live_inputs import LastScore, LiveInputs, Possession, Side, put
from dejavu_feed.moment import Moment
from dejavu_feed.pattern import Score, inputs_from_scores, slots
from dejavu_ledger.records import IssuedForecast, LateReason, LineOrigin, LineSource
from dejavu_models.errors import InvalidGameDate, InvalidInput
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import (
    LINEAR_SOURCES,
    Adaptation,
    AdaptationMode,
    ComponentWeight,
    ExpectedMarginTerms,
    Horizon,
    Interval,
    Quantile,
    WarningReason,
)
from dejavu_server.api.converters import models, prediction
from dejavu_server.api.converters.forecast import forecast_message
from dejavu_store.stages import Roster

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def full() -> IssuedForecast:
    """Return a forecast with everything that one can have."""
    made = issued(GAME, PATTERN, alpha=0.1, pregame_margin=3.5, point=11.25, generated_time=NOW)
    forecast = replace(
        made.forecast,
        quantiles=(Quantile(0.9, 19.25), Quantile(0.25, 6.25)),
        calibration_sequence=5,
        adaptation=Adaptation(AdaptationMode.SHADOW, Interval(0.5, 21.5), Interval(1.0, 21.0), 40, 0.95, 0.875),
        expected_margin_terms=ExpectedMarginTerms(1.5, 2.75, -1.25, 0.5, 0.75, schedule_known=True),
        ratings_date=date(2025, 12, 31),
        finals_since=3,
        warnings=tuple(WarningReason),
        total=TOTAL,
        teams_known=TEAMS_KNOWN,
        moment=Moment(4, 42.5, -3, 2),
        distribution=TOTAL.distribution,
    )
    live = LiveInputs(9, LastScore(Side.HOME, 7), 221.5, neutral_site=True, possession=Possession(Side.AWAY))
    made = replace(made, forecast=forecast, live=live, line_origin=LineOrigin(LineSource.FEED, NOW))
    return replace(made, late=LateReason.TIME, sequence=7, revision=1)


def asked(**fields: Any) -> PredictRequest:
    return PredictRequest(**{"pattern": PATTERN, **fields})


def test_every_field_is_read() -> None:
    question = prediction.forecast_request(
        asked(
            game_id=GAME,
            alpha=0.2,
            horizon=forecast_pb2.HORIZON_FINAL,
            home_team="BKN",
            away_team="GSW",
            pregame_margin=0.0,
            pregame_total=221.5,
            neutral_site=False,
            margin_source=forecast_pb2.MARGIN_SOURCE_FEED,
            margin_time=Timestamp(seconds=1_700_000_000, nanos=1_000),
            model_version="abc",
            quantile_levels=[0.5, 0.1, 0.5],
        )
    )
    assert (question.game_id, question.model_version) == (GAME, "abc")
    taken = datetime(2023, 11, 14, 22, 13, 20, 1, tzinfo=UTC)
    assert question.line_origin == LineOrigin(LineSource.FEED, taken)
    assert question.query == ForecastQuery(
        pattern=ScorePattern(tuple(map(float, PATTERN))),
        horizon=Horizon.FINAL,
        alpha=0.2,
        home_team="BKN",
        away_team="GSW",
        pregame_margin=0.0,
        explain=True,
        quantile_levels=(0.5, 0.1, 0.5),
        record=True,
        live=LiveInputs(pregame_total=221.5, neutral_site=False),
    )


@given(
    points=st.lists(st.tuples(st.integers(0, 150), st.sampled_from(["home", "away"]), st.integers(-1, 3)), max_size=30),
    minutes=st.integers(1, 23),
)
def test_what_plays_say_is_accepted(points: list[tuple[int, str, int]], minutes: int) -> None:
    """A poller sends what `slots` and `inputs_from_scores` return of any plays, corrections and all."""
    scores = [Score(0.0, 0, 0)]
    for seconds, side, change in points:
        elapsed, home, away = scores[-1]
        home, away = (home + change, away) if side == "home" else (home, away + change)
        scores.append(Score(elapsed + seconds, max(0, home), max(0, away)))
    [*_, live] = inputs_from_scores(scores, minutes)
    request = PredictRequest(pattern=slots(scores, minutes))
    put(request, live)
    query = prediction.forecast_request(request).query
    assert (query.horizon, query.live) == (Horizon.HALFTIME, live)


PRICES = st.builds(market_pb2.Odds, decimal=st.floats()) | st.builds(market_pb2.Odds, american=st.integers(-200, 200))
MARKETS = st.builds(
    market_pb2.Market,
    line=st.floats() | st.integers(-10, 10).map(float),
    kind=st.integers(-1, 3),
    above=st.none() | PRICES,
    below=st.none() | PRICES,
    bankroll=st.none() | st.floats(),
    staking=st.none() | st.builds(market_pb2.Staking, kelly_fraction=st.floats()),
)


@given(
    request_=st.builds(
        PredictRequest,
        game_id=st.text(max_size=12),
        pattern=st.lists(st.floats(), max_size=50),
        alpha=st.none() | st.floats(),
        horizon=st.integers(-(2**31), 2**31 - 1) | st.integers(0, 2),
        home_team=st.text(max_size=40) | st.sampled_from(["BOS", "phx"]),
        away_team=st.text(max_size=40) | st.sampled_from(["BOS", "PHO"]),
        pregame_margin=st.none() | st.floats(),
        quantile_levels=st.lists(st.floats(), max_size=120),
        markets=st.lists(MARKETS, max_size=4),
        total_points=st.none() | st.integers(0, 600),
        last_score=st.none() | st.builds(forecast_pb2.LastScore, seconds=st.integers(-(2**31), 2**31 - 1)),
    )
)
def test_whatever_is_sent_is_a_question_or_a_refused_field(request_: PredictRequest) -> None:
    refused = ""
    try:
        assert prediction.forecast_request(request_).query.pattern.minutes == len(request_.pattern)
    except InvalidInput as error:
        refused = error.field.partition("[")[0].partition(".")[0]
    assert refused in {"", *request_.DESCRIPTOR.fields_by_name}


@pytest.mark.parametrize(
    ("game_id", "day", "read"),
    [
        ("0022300500", "2023-11-01", date(2023, 11, 1)),
        # Ids of replays have no season, what-ifs have no id.
        *((game_id, "", None) for game_id in ("0022600500", "9900000001", "")),
        ("0022600500", "2026-11-22", date(2026, 11, 22)),
        *((game_id, "2026-11-23", date(2026, 11, 23)) for game_id in ("9900000001", "")),
    ],
)
def test_the_date_of_a_game_is_the_told_one_or_today(game_id: str, day: str, read: date | None) -> None:
    today = date(2026, 11, 21)
    question = prediction.forecast_request(asked(game_id=game_id, horizon=1, game_date=day), today)
    assert (question.game_date, question.query.game_date) == (read, read or today)


def test_a_named_game_has_begun_by_its_date() -> None:
    """A date months ahead would turn off ratings, in the minutes of a caller's choice."""
    request = asked(game_id="0022600500", horizon=1, game_date="2026-11-23")
    with pytest.raises(InvalidGameDate, match="2026-11-23; expected at most 2026-11-22, for a game that has begun"):
        prediction.forecast_request(request, date(2026, 11, 21))


def test_every_field_of_a_forecast_is_written_as_it_was_issued() -> None:
    courses = {"BKN": (3.0, 11.0), "NYK": ()}
    message = forecast_message(
        full(), explanation=True, distribution=True, course_of=lambda _, game: courses[game.home_team]
    )
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)
    told = MessageToDict(message, preserving_proto_field_name=True)
    assert len(told.pop("warnings")) == len(WarningReason)
    assert told.pop("distribution") == told["total"].pop("distribution") == [*TOTAL.distribution]
    explained = told.pop("explanation")
    assert told == {
        "game_id": GAME, "home_team": "BKN", "away_team": "GSW", "game_date": "2026-01-01",
        "horizon": "HORIZON_HALFTIME", "elapsed_minutes": 18, "alpha": 0.1, "coverage_probability": 0.9,
        "interval_lower": -0.25, "point_forecast": 11.25, "interval_upper": 23.25, "home_lead_probability": 0.6,
        "quantiles": [{"level": 0.9, "value": 19.25}, {"level": 0.25, "value": 6.25}],
        "generated_time": "2026-01-02T03:04:05.678901Z", "expires_time": "2026-01-02T03:09:05.678901Z",
        "sequence": "7", "revision": 1, "late": "LATE_REASON_TIME", "calibration_sequence": "5", "model_version": "v1",
        "expected_margin": 3.5, "margin_source": "MARGIN_SOURCE_FEED", "margin_time": "2026-01-02T03:04:05.678901Z",
        "expected_margin_terms": {
            "strength_difference": 1.5, "home_advantage": 2.75, "schedule": -1.25, "playoffs": 0.5, "altitude": 0.75,
            "schedule_known": True},
        "ratings_date": "2025-12-31", "finals_since": 3,
        "home_known": {"deviation": 3.61, "finals": 2, "earlier_date": "2023-06-12"},
        "away_known": {"deviation": 2.4, "finals": 16},
        "adaptation": {
            "mode": "ADAPTATION_MODE_SHADOW", "adapted_lower": 0.5, "adapted_upper": 21.5, "static_lower": 1.0,
            "static_upper": 21.0, "rolling_games": 40, "rolling_coverage": 0.95, "static_rolling_coverage": 0.875},
        "total_points": 9, "last_score": {"side": "SIDE_HOME", "seconds": 7}, "pregame_total": 221.5,
        "neutral_site": True, "possession": {"side": "SIDE_AWAY"},
        "moment": {"period": 4, "seconds_left": 42.5, "differential": -3, "free_throws": 2},
        "total": {"point_forecast": 105.3, "interval_lower": 92.0, "interval_upper": 119.0, "expected_total": 221.7},
    }  # fmt: skip
    assert explained == {
        "baseline_prediction": 11.0, "calibration_games": 1234,
        "components": [
            {"name": "linear", "prediction": 10.75, "weight": 0.5},
            {"name": "dejavu", "prediction": 13.25, "weight": 0.25},
            {"name": "lstm", "prediction": 10.25, "weight": 0.25}],
        "contributions": [
            {"name": "minutes", "points": 10.25}, {"name": "dejavu", "points": 0.625},
            {"name": "ratings", "points": 0.5}, {"name": "lstm", "points": -0.125}],
        "attribution": {"before_tipoff": 0.5, "minutes": [0.0, 1.25, 9.0], "components": 0.5},
        "similar_summary": {
            "minute": 18, "games": 3214, "same_lead": 1204, "home_led": 855, "turned": 349, "correction": 0.75},
        "similar_games": [
            {"label": "2021-03-14 BOS @ BKN", "home_team": "BKN", "away_team": "BOS", "game_date": "2021-03-14",
             "distance": 1.5, "differential": 11, "differential_at_horizon": 13, "home_points": 50, "away_points": 39,
             "final_home_points": 104, "final_away_points": 101, "course": [3, 11]},
            {"label": "2019-11-03 MIA @ NYK", "home_team": "NYK", "away_team": "MIA", "game_date": "2019-11-03",
             "distance": 2.5, "mirrored": True, "differential": 11, "differential_at_horizon": 8}],
    }  # fmt: skip


def test_what_is_not_known_or_not_wanted_is_absent() -> None:
    plain = issued()
    untaught = replace(plain.forecast, adaptation=Adaptation(AdaptationMode.ON, Interval(0, 1), Interval(0, 1)))
    message = forecast_message(replace(plain, forecast=untaught), explanation=False)
    assert not {"explanation", "expected_margin"} & {field.name for field, _ in message.ListFields()}
    assert (list(message.quantiles), list(message.distribution)) == ([], [])
    assert message.adaptation.mode == forecast_pb2.ADAPTATION_MODE_ON
    assert not message.adaptation.HasField("rolling_coverage")
    message = forecast_message(issued(pregame_margin=0.0), explanation=False)
    assert (message.HasField("expected_margin"), message.expected_margin) == (True, 0.0)
    assert message.margin_source == forecast_pb2.MARGIN_SOURCE_CALLER
    assert not message.HasField("adaptation")
    rated = forecast_message(replace(plain, forecast=replace(untaught, expected_margin=2.5)), explanation=False)
    assert rated.margin_source == forecast_pb2.MARGIN_SOURCE_RATINGS
    of_a_file = replace(issued(pregame_margin=3.5), line_origin=LineOrigin(LineSource.FILE))
    message = forecast_message(of_a_file, explanation=False)
    assert (message.margin_source, message.HasField("margin_time")) == (forecast_pb2.MARGIN_SOURCE_FILE, False)


def test_a_model_s_message_says_what_the_model_is() -> None:
    weights = tuple(ComponentWeight("lstm", Horizon.FINAL, 4, source, 0.25, 0.125, 0.5) for source in LINEAR_SOURCES)
    info = replace(
        EveryMinuteForecaster("v1").info,
        ratings_date=date(2024, 4, 14),
        verdict_reason="so",
        finals_since=7,
        inputs=("total_points",),
        totals=True,
        components=("lstm",),
        line=True,
        weights=weights,
        similar_games=3200,
        network_units=16,
        half_width=10.5,
    )
    message = models.describe_loaded(info, Roster(champion="v1"), NOW.date())
    of_a_store = {"stage", "aliases", "lineage"}
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name) - of_a_store
    assert (message.version, message.active, message.smallest_alpha) == ("v1", True, 0.01)
    assert [(h.horizon, h.min_slots, h.max_slots) for h in message.horizons] == [(1, 1, 23), (2, 1, 47)]
    assert [each.margin_source for each in message.weights] == [
        forecast_pb2.MARGIN_SOURCE_UNSPECIFIED,
        forecast_pb2.MARGIN_SOURCE_RATINGS,
        forecast_pb2.MARGIN_SOURCE_CALLER,
    ]
    assert message.weights[0] == model_service_pb2.ComponentWeight(
        component="lstm", horizon=forecast_pb2.HORIZON_FINAL, quarter=4, weight=0.25, lower=0.125, upper=0.5
    )
    assert (message.similar_games, message.network_units, message.half_width) == (3200, 16, 10.5)
    assert (message.ratings_date, message.verdict_reason) == ("2024-04-14", "so")
    assert (message.metrics[0].lower, message.metrics[1].HasField("lower")) == (4.8, False)
    unfit = models.describe_loaded(replace(info, approved=False), Roster(), NOW.date())
    assert (message.verdict, unfit.verdict) == (model_service_pb2.VERDICT_FIT, model_service_pb2.VERDICT_UNFIT)
