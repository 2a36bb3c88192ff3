from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calls import GAME, PATTERN
from tests.support.builders.issued_forecasts import TEAMS_KNOWN, TOTAL
from tests.support.fakes.every_minute_model import HOME_EDGE, EveryMinuteForecaster

from dejavu.v1 import forecast_pb2, market_pb2, model_service_pb2, prediction_service_pb2
from dejavu_feed.live_inputs import LastScore, LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_ledger.records import IssuedForecast, LateReason, LineOrigin, LineSource
from dejavu_models.betting import Market, StakingPolicy
from dejavu_models.errors import (
    InvalidGameDate,
    InvalidInput,
)
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import (
    LINEAR_SOURCES,
    Adaptation,
    AdaptationMode,
    ComponentWeight,
    ExpectedMarginTerms,
    Horizon,
    Interval,
    WarningReason,
)
from dejavu_server.api.converters import models, prediction
from dejavu_server.api.converters.forecast import forecast_message
from dejavu_store.stages import Roster

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
MARKET = Market(5.5, 1.91, 2.0, bankroll=1000.0, policy=StakingPolicy(game_cap=0.6))
TERMS = ExpectedMarginTerms(1.1, 2.7, -1.3, 0.4, 0.9, schedule_known=True)
ADAPTATION = Adaptation(AdaptationMode.SHADOW, Interval(0.5, 21.5), Interval(1.0, 21.0), 40, 0.95, 0.9)


def issued(**changes: Any) -> IssuedForecast:
    query = ForecastQuery(
        ScorePattern(tuple(map(float, PATTERN))),
        alpha=0.1,
        home_team="BKN",
        away_team="GSW",
        explain=True,
        quantile_levels=(0.9, 0.25),
        record=True,
        markets=(MARKET,),
    )
    forecast = EveryMinuteForecaster().forecast_many([query])[0]
    record = IssuedForecast(
        game_id=GAME,
        home_team="BKN",
        away_team="GSW",
        pattern=query.pattern,
        pregame_margin=None,
        forecast=replace(forecast, calibration_sequence=5, adaptation=ADAPTATION, expected_margin_terms=TERMS),
        generated_time=NOW,
        expires_time=NOW + timedelta(minutes=5),
        sequence=7,
        revision=1,
    )
    return replace(record, **changes)


def predict_request(**fields: Any) -> prediction_service_pb2.PredictRequest:
    return prediction_service_pb2.PredictRequest(**{"pattern": PATTERN, **fields})


def test_every_field_is_read() -> None:
    question = prediction.forecast_request(
        predict_request(
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


@pytest.mark.parametrize(
    ("margin", "origin", "source"),
    [
        (None, None, forecast_pb2.MARGIN_SOURCE_RATINGS),
        (3.5, None, forecast_pb2.MARGIN_SOURCE_CALLER),
        (3.5, LineOrigin(LineSource.CALLER, NOW), forecast_pb2.MARGIN_SOURCE_CALLER),
        (3.5, LineOrigin(LineSource.FEED, NOW), forecast_pb2.MARGIN_SOURCE_FEED),
        (3.5, LineOrigin(LineSource.FILE), forecast_pb2.MARGIN_SOURCE_FILE),
    ],
)
def test_a_forecast_says_where_its_margin_is_from(
    margin: float | None, origin: LineOrigin | None, source: forecast_pb2.MarginSource.ValueType
) -> None:
    made = replace(issued(), pregame_margin=margin, line_origin=origin)
    message = forecast_message(made, explanation=False)
    assert message.margin_source == source
    assert message.HasField("margin_time") == (origin is not None and origin.time is not None)


PRICES = st.builds(market_pb2.Odds, decimal=st.floats()) | st.builds(
    market_pb2.Odds, american=st.integers(-(2**31), 2**31 - 1)
)
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
    prediction_request=st.builds(
        prediction_service_pb2.PredictRequest,
        game_id=st.text(max_size=12),
        pattern=st.lists(st.floats(), max_size=50),
        alpha=st.none() | st.floats(),
        return_explanation=st.booleans(),
        horizon=st.integers(-(2**31), 2**31 - 1),
        home_team=st.text(max_size=40) | st.sampled_from(["BOS", "phx"]),
        away_team=st.text(max_size=40) | st.sampled_from(["BOS", "PHO"]),
        pregame_margin=st.none() | st.floats(),
        model_version=st.text(),
        quantile_levels=st.lists(st.floats(), max_size=120),
        markets=st.lists(MARKETS, max_size=4),
        total_points=st.none() | st.integers(0, 600),
        last_score=st.none() | st.builds(forecast_pb2.LastScore, seconds=st.integers(-(2**31), 2**31 - 1)),
    )
)
def test_whatever_is_sent_is_a_question_or_a_refused_field(
    prediction_request: prediction_service_pb2.PredictRequest,
) -> None:
    refused = ""
    try:
        assert prediction.forecast_request(prediction_request).query.pattern.minutes == len(prediction_request.pattern)
    except InvalidInput as error:
        refused = error.field.partition("[")[0].partition(".")[0]
    assert refused in {"", *prediction_request.DESCRIPTOR.fields_by_name}


def test_a_forecast_s_message_says_what_was_issued() -> None:
    courses = {"BKN": (3.0, 11.0), "NYK": ()}
    message = forecast_message(issued(), explanation=True, course_of=lambda _, game: courses[game.home_team])
    assert (message.game_id, message.home_team, message.away_team) == (GAME, "BKN", "GSW")
    assert message.horizon == forecast_pb2.HORIZON_HALFTIME
    assert message.elapsed_minutes == 18
    assert (message.alpha, message.coverage_probability) == (0.1, 0.9)
    assert (message.interval_lower, message.point_forecast, message.interval_upper) == (1.0, 11.25, 21.0)
    assert [(each.level, each.value) for each in message.quantiles] == [(0.9, 19.25), (0.25, 6.25)]
    assert message.expected_margin == HOME_EDGE
    assert message.home_lead_probability == 0.75
    assert message.generated_time.ToDatetime(UTC) == NOW
    assert message.expires_time.ToDatetime(UTC) == NOW + timedelta(minutes=5)
    assert (message.sequence, message.revision) == (7, 1)
    components = [(each.name, each.prediction, each.weight) for each in message.explanation.components]
    assert components == [("linear", 10.75, 0.5), ("dejavu", 13.25, 0.25), ("lstm", 10.25, 0.25)]
    moved = [(each.name, each.points) for each in message.explanation.contributions]
    assert moved == [("minutes", 9.0), ("ratings", 1.75), ("dejavu", 0.625), ("lstm", -0.125)]
    summary = forecast_pb2.SimilarSummary(
        minute=18, games=3214, same_lead=1204, home_led=855, turned=349, correction=0.75
    )
    assert message.explanation.similar_summary == summary
    game, mirrored = message.explanation.similar_games
    assert game == forecast_pb2.SimilarGame(
        label="2021-03-14 BOS @ BKN",
        home_team="BKN",
        away_team="BOS",
        game_date="2021-03-14",
        distance=1.5,
        differential=11,
        differential_at_horizon=13,
        home_points=50,
        away_points=39,
        final_home_points=104,
        final_away_points=101,
        course=[3, 11],
    )
    assert (mirrored.home_team, mirrored.mirrored, mirrored.distance) == ("NYK", True, 2.5)
    assert (mirrored.HasField("home_points"), list(mirrored.course)) == (False, [])
    attribution = message.explanation.attribution
    assert len(attribution.minutes) == 18
    assert attribution.before_tipoff + sum(attribution.minutes) + attribution.components == 11.25
    assert message.explanation.calibration_games == 1234


def test_every_field_of_the_contract_s_forecast_is_set() -> None:
    forecast = replace(issued().forecast, ratings_date=date(2025, 12, 31), finals_since=3)
    forecast = replace(
        forecast, warnings=tuple(WarningReason), total=TOTAL, teams_known=TEAMS_KNOWN, moment=Moment(4, 42.5, -3, 2)
    )
    live = LiveInputs(9, LastScore(Side.HOME, 7), 221.5, neutral_site=True, possession=Possession(Side.AWAY))
    scored = replace(issued(), live=live, pregame_margin=3.5)
    scored = replace(scored, line_origin=LineOrigin(LineSource.FEED, NOW))
    late = replace(scored, late=LateReason.TIME, forecast=forecast)
    message = forecast_message(late, explanation=True, distribution=True)
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)
    assert [value for _, value in message.moment.ListFields()] == [4, 42.5, -3, 2]
    assert [value for _, value in message.expected_margin_terms.ListFields()] == [1.1, 2.7, -1.3, 0.4, 0.9, True]
    assert [value for _, value in message.total.ListFields()] == [105.3, 92.0, 119.0, 221.7, [*TOTAL.distribution]]
    assert [value for _, value in message.home_known.ListFields()] == [3.61, 2, "2023-06-12"]
    assert [value for _, value in message.away_known.ListFields()] == [2.4, 16]
    adaptation = message.adaptation
    assert [value for _, value in adaptation.ListFields()] == [
        forecast_pb2.ADAPTATION_MODE_SHADOW,
        0.5,
        21.5,
        1.0,
        21.0,
        40,
        0.95,
        0.9,
    ]
    assert len(message.distribution) == 50
    explanation = message.explanation
    assert {field.name for field, _ in explanation.ListFields()} == set(explanation.DESCRIPTOR.fields_by_name)


def test_what_is_not_known_or_not_wanted_is_absent() -> None:
    query = ForecastQuery(ScorePattern((1.0,)))
    [plain] = EveryMinuteForecaster().forecast_many([query])
    untaught = replace(plain, adaptation=Adaptation(AdaptationMode.ON, Interval(0, 1), Interval(0, 1)))
    message = forecast_message(issued(forecast=untaught), explanation=False)
    assert not {"explanation", "expected_margin"} & {field.name for field, _ in message.ListFields()}
    assert (list(message.quantiles), list(message.distribution)) == ([], [])
    assert message.adaptation.mode == forecast_pb2.ADAPTATION_MODE_ON
    assert not message.adaptation.HasField("rolling_coverage")
    [level] = EveryMinuteForecaster().forecast_many([replace(query, pregame_margin=0.0)])
    message = forecast_message(issued(forecast=level), explanation=False)
    assert (message.HasField("expected_margin"), message.expected_margin) == (True, 0.0)
    assert not message.HasField("adaptation")


def test_the_date_of_a_game_of_an_earlier_season_must_be_told() -> None:
    today = date(2026, 11, 21)
    past = predict_request(game_id="0022300500", horizon=1, game_date="2023-11-01")
    assert prediction.forecast_request(past, today).game_date == date(2023, 11, 1)
    for game_id in ("0022600500", "9900000001", ""):  # ids of replays have no season, what-ifs have no id
        question = prediction.forecast_request(predict_request(game_id=game_id, horizon=1), today)
        assert (question.game_date, question.query.game_date) == (None, today)


def test_a_named_game_has_begun_by_its_date() -> None:
    """Formerly, a date two months ahead turned off ratings, in the minutes of a caller's choice."""
    today, tomorrow, later = (date(2026, 11, day) for day in (21, 22, 23))
    for game_id, day in (("0022600500", tomorrow), ("9900000001", later), ("", later)):
        asked = predict_request(game_id=game_id, horizon=1, game_date=day.isoformat())
        assert prediction.forecast_request(asked, today).game_date == day
    with pytest.raises(InvalidGameDate, match="2026-11-23; expected at most 2026-11-22, for a game that has begun"):
        prediction.forecast_request(
            predict_request(game_id="0022600500", horizon=1, game_date=later.isoformat()), today
        )


def test_a_model_s_message_says_what_the_model_is() -> None:
    info = replace(EveryMinuteForecaster("v1").info, ratings_date=date(2024, 4, 14), approved=True, verdict_reason="so")
    info = replace(info, finals_since=7, inputs=("total_points",), totals=True)
    weights = tuple(ComponentWeight("lstm", Horizon.FINAL, 4, source, 0.25, 0.125, 0.5) for source in LINEAR_SOURCES)
    info = replace(info, components=("lstm",), line=True, weights=weights, similar_games=3200, network_units=16)
    info = replace(info, half_width=10.5)
    message = models.describe_loaded(info, Roster(champion="v1"), NOW.date())
    of_a_store = {"stage", "aliases", "lineage"}
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name) - of_a_store
    assert (message.version, message.active, message.smallest_alpha) == ("v1", True, 0.01)
    assert [(h.horizon, h.min_slots, h.max_slots) for h in message.horizons] == [
        (forecast_pb2.HORIZON_HALFTIME, 1, 23),
        (forecast_pb2.HORIZON_FINAL, 1, 47),
    ]
    weight = model_service_pb2.ComponentWeight(
        component="lstm", horizon=forecast_pb2.HORIZON_FINAL, quarter=4, weight=0.25, lower=0.125, upper=0.5
    )
    assert [each.margin_source for each in message.weights] == [
        forecast_pb2.MARGIN_SOURCE_UNSPECIFIED,
        forecast_pb2.MARGIN_SOURCE_RATINGS,
        forecast_pb2.MARGIN_SOURCE_CALLER,
    ]
    assert message.weights[0] == weight
    assert (message.similar_games, message.network_units, message.half_width) == (3200, 16, 10.5)
    assert (message.ratings_date, message.verdict, message.verdict_reason) == (
        "2024-04-14",
        model_service_pb2.VERDICT_FIT,
        "so",
    )
    unfit = models.describe_loaded(replace(info, approved=False), Roster(), NOW.date())
    assert unfit.verdict == model_service_pb2.VERDICT_UNFIT
    assert message.metrics[0].lower == 4.8
    assert not message.metrics[1].HasField("lower")
