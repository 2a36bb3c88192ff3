"""Canonical form of forecasts: round-trips exactly, and equal forecasts have equal forms."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.builders.issued_forecasts import TOTAL, issued

from dejavu_feed.live_inputs import LastScore, LiveInputs, Side
from dejavu_feed.moment import Moment
from dejavu_ledger.entries import canonical_json, codec
from dejavu_ledger.record import key_of
from dejavu_ledger.records import IssuedForecast, LineOrigin, LineSource
from dejavu_models.forecast_query import ScorePattern
from dejavu_models.types import (
    COMPONENTS,
    LINEAR,
    Adaptation,
    AdaptationMode,
    Attribution,
    ComponentPrediction,
    Contribution,
    ExpectedMarginTerms,
    Explanation,
    Forecast,
    Horizon,
    Interval,
    Quantile,
    SimilarGame,
    SimilarSummary,
    TeamKnowledge,
    WarningReason,
)

law = settings(deadline=None)  # a busy machine is no counterexample

finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(max_size=32)
moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(fold=0))
both_points = st.tuples(st.integers(0, 250), st.integers(0, 250))
similar_games = st.builds(
    SimilarGame,
    home_team=text,
    away_team=text,
    date=st.dates(),
    mirrored=st.booleans(),
    distance=finite,
    differential=st.integers(-200, 200),
    differential_at_horizon=st.integers(-200, 200),
    points=st.none() | both_points,
    final_points=st.none() | both_points,
)
attributions = st.builds(
    Attribution,
    before_tipoff=finite,
    minutes=st.lists(finite, max_size=47).map(tuple),
    components=finite,
)
explanations = st.builds(
    Explanation,
    components=st.lists(
        st.builds(ComponentPrediction, st.sampled_from((LINEAR, *COMPONENTS)), finite, st.floats(0, 1)), max_size=3
    ).map(tuple),
    baseline_prediction=finite,
    similar_games=st.lists(similar_games, max_size=3).map(tuple),
    calibration_games=st.integers(0, 10**6),
    attribution=attributions,
    similar_summary=st.none() | st.builds(SimilarSummary, *[st.integers(0)] * 5, correction=finite),
    contributions=st.lists(st.builds(Contribution, text, finite), max_size=3).map(tuple),
)
margins = st.floats(-200, 200)
intervals = st.tuples(finite, finite).map(lambda ends: Interval(min(ends), max(ends)))
adaptations = st.builds(
    Adaptation,
    mode=st.sampled_from(AdaptationMode),
    adapted=intervals,
    static=intervals,
    rolling_games=st.integers(0, 100),
    rolling_coverage=st.none() | st.floats(0, 1),
    static_rolling_coverage=st.none() | st.floats(0, 1),
)
scores = st.floats(-6, 6).map(lambda score: round(score, 6))
teams = st.text(max_size=5)
teams_known = st.builds(TeamKnowledge, finite, st.integers(0, 100), st.none() | st.dates())
players = dict.fromkeys(("usual_players", "missing_players"), finite.map(lambda points: points + 0.0))  # never −0
missing = {name: st.integers(0, 5) for name in ("home_missing", "away_missing")}
terms = st.builds(ExpectedMarginTerms, *[finite] * 5, st.booleans(), **players, **missing)
NO_RATINGS: dict[str, Any] = {}
ratings = st.just(NO_RATINGS) | st.fixed_dictionaries(
    {"ratings_date": st.dates(), "finals_since": st.integers(0, 1000)}
)
forecasts = st.builds(
    lambda ratings, **fields: Forecast(**fields, **ratings),
    ratings,
    horizon=st.sampled_from(Horizon),
    elapsed_minutes=st.integers(1, 47),
    alpha=st.floats(0, 1, exclude_min=True, exclude_max=True),
    point=finite,
    interval=intervals,
    home_lead_probability=st.floats(0, 1),
    model_version=text,
    explanation=st.none() | explanations,
    expected_margin=st.none() | margins,
    expected_margin_terms=st.none() | terms,
    calibration_sequence=st.integers(0, 2**63 - 1),
    adaptation=st.none() | adaptations,
    distribution=st.lists(finite, max_size=4).map(tuple),
    static_scores=st.lists(scores, max_size=4).map(tuple),
    warnings=st.lists(st.sampled_from(WarningReason), max_size=2).map(tuple),
    outdated_teams=st.lists(teams, max_size=2).map(tuple),
    total=st.sampled_from([None, TOTAL, replace(TOTAL, expected_total=None)]),
    teams_known=st.lists(teams_known, max_size=2).map(tuple),
    widened_by=st.just(0.0) | st.floats(0.0, 1.0),
    moment=st.none()
    | st.builds(Moment, st.integers(1, 24), st.floats(0, 720), st.integers(-200, 200), st.integers(0, 3)),
)
live = st.builds(
    LiveInputs,
    st.none() | st.integers(0, 300),
    st.none() | st.builds(LastScore, st.sampled_from(Side), st.integers(0, 3600)),
    st.none() | st.floats(100, 400),
)
origins = st.builds(LineOrigin, st.sampled_from(LineSource), st.none() | moments)
all_issued = st.builds(
    IssuedForecast,
    game_id=st.from_regex(r"[0-9]{10}", fullmatch=True),
    home_team=text,
    away_team=text,
    pattern=st.lists(margins, min_size=1, max_size=47).map(lambda values: ScorePattern(tuple(values))),
    pregame_margin=st.none() | margins,
    forecast=forecasts,
    generated_time=moments,
    expires_time=moments,
    sequence=st.integers(1, 2**63 - 1),
    revision=st.integers(0, 2**31 - 1),
    roster_sequence=st.none() | st.integers(1, 10**9),
    game_date=st.none() | st.dates(),
    live=live,
    line_origin=st.none() | origins,
)


def written(forecast: IssuedForecast) -> str:
    payload = codec.prepare(forecast).payload
    return codec.encode_entry(codec.FORECAST, payload, forecast.revision, forecast.sequence)


@law
@given(all_issued)
def test_what_is_written_reads_back_exactly(forecast: IssuedForecast) -> None:
    back = codec.parse(written(forecast))
    assert back == forecast
    assert repr(back) == repr(forecast)  # distinguishes −0 from 0, unlike ==
    assert written(back) == written(forecast)


@law
@given(all_issued)
def test_what_a_forecast_does_not_have_is_left_out(forecast: IssuedForecast) -> None:
    form = written(forecast)
    assert form == json.dumps(json.loads(form), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    payload = json.loads(form)["payload"]
    made, requested = payload["forecast"], payload["request"]
    assert ("ratings_date" in made) == ("finals_since" in made) == (forecast.forecast.ratings_date is not None)
    assert ("warnings" in made) == bool(forecast.forecast.warnings)
    assert ("total" in made) == (forecast.forecast.total is not None)
    assert ("roster_sequence" in made) == (forecast.roster_sequence is not None)
    assert ("game_date" in requested) == (forecast.game_date is not None)
    assert ("total_points" in requested) == (forecast.live.total_points is not None)  # 0 points are told
    assert ("last_score" in requested) == (forecast.live.last_score is not None)


NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def test_the_form_is_what_it_is() -> None:
    """Programs that read ledgers, and proofs stored elsewhere, depend on every character."""
    form = written(replace(issued(generated_time=NOW, home_team="Zürich", pregame_margin=5.5), sequence=7, revision=2))
    assert form == (
        '{"kind":"forecast","payload":{"forecast":{"adaptation":null,"calibration_sequence":0,'
        '"distribution":[],"elapsed_minutes":3,"expected_margin":5.5,'
        '"expires_us":1767323345678901,"explanation":{'
        '"attribution":{"before_tipoff":0.5,"components":0.5,"minutes":[0.0,1.25,-1.0]},'
        '"baseline_prediction":-1.0,"calibration_games":1234,"components":['
        '{"name":"linear","prediction":0.75,"weight":0.5},{"name":"dejavu","prediction":3.25,"weight":0.25},'
        '{"name":"lstm","prediction":0.25,"weight":0.25}],"contributions":['
        '{"name":"dejavu","points":0.625},{"name":"ratings","points":0.5},'
        '{"name":"minutes","points":0.25},{"name":"lstm","points":-0.125}],"similar_games":['
        '{"away_team":"BOS","date":"2021-03-14","differential":-1,"differential_at_horizon":1,'
        '"distance":1.5,"final_points":[104,101],"home_team":"BKN","points":[50,51]},'
        '{"away_team":"MIA","date":"2019-11-03","differential":-1,"differential_at_horizon":-4,'
        '"distance":2.5,"home_team":"NYK","mirrored":true}],'
        '"similar_summary":{"correction":0.75,"games":3214,"home_led":855,"minute":18,"same_lead":1204,"turned":349}},'
        '"generated_us":1767323045678901,"home_lead_probability":0.6,"interval_lower":-10.25,"interval_upper":13.25,'
        '"model_version":"v1","point":1.25,"static_scores":[]},"request":{"alpha":0.05,"away_team":"GSW","game_id":"0022300001",'
        '"home_team":"Zürich","horizon":"halftime","pattern":[0.0,2.0,-1.0],"pregame_margin":5.5}},'
        '"revision":2,"sequence":7}'
    )
    assert codec.chain_hash(b"before", form) == hashlib.sha256(b"before" + form.encode()).digest()


def test_the_form_of_live_inputs_is_what_it_is() -> None:
    made = replace(issued(), live=LiveInputs(81, LastScore(Side.AWAY, 12)))
    request = json.loads(written(made))["payload"]["request"]
    assert (request["total_points"], request["last_score"]) == (81, {"seconds": 12, "side": "away"})


def test_the_form_of_a_moment_is_what_it_is() -> None:
    made = issued()
    for moment, form in (
        (Moment(4, 42.5, -3), {"differential": -3, "period": 4, "seconds_left": 42.5}),
        (Moment(5, 3.0, 1, 2), {"differential": 1, "free_throws": 2, "period": 5, "seconds_left": 3.0}),
    ):
        told = replace(made, forecast=replace(made.forecast, moment=moment))
        assert json.loads(written(told))["payload"]["request"]["moment"] == form


def test_static_scores_are_rounded_before_they_are_written() -> None:
    scores = (-2.3263478740408408, 0.0, 2.3263478740408408)
    draft = codec.prepare(replace(issued(), forecast=replace(issued().forecast, static_scores=scores)))
    assert draft.issued.forecast.static_scores == (-2.326348, 0.0, 2.326348)
    assert '"static_scores":[-2.326348,0.0,2.326348]' in draft.payload


@law
@given(all_issued, st.lists(st.builds(Quantile, finite, finite), min_size=1))
def test_quantiles_leave_no_trace(forecast: IssuedForecast, quantiles: list[Quantile]) -> None:
    total = forecast.forecast.total and replace(forecast.forecast.total, quantiles=tuple(quantiles))
    asked = replace(forecast, forecast=replace(forecast.forecast, quantiles=tuple(quantiles), total=total))
    assert written(asked) == written(forecast)


def test_what_a_later_release_adds_is_passed_over() -> None:
    forecast = replace(issued(), sequence=7, revision=2)

    def with_more(value: object) -> object:
        if isinstance(value, dict):
            return {**{key: with_more(inner) for key, inner in value.items()}, "added_later": {"by": [1, "x", None]}}
        return [with_more(inner) for inner in value] if isinstance(value, list) else value

    later = canonical_json.dumps(with_more(json.loads(written(forecast))))
    assert later.count("added_later") == 16  # the entry, its payload and the objects in it
    assert codec.parse(later) == forecast


def test_names_that_a_later_release_adds_are_passed_over() -> None:
    forecast = replace(issued(), sequence=7, line_origin=LineOrigin(LineSource.FEED))
    entry = json.loads(written(forecast))
    entry["payload"]["request"]["margin_source"] = "added_later"
    entry["payload"]["forecast"]["warnings"] = ["added_later", "model_unfit"]
    read = codec.parse(canonical_json.dumps(entry))
    assert read.forecast.warnings == (WarningReason.MODEL_UNFIT,)
    assert read.line_origin is None


def test_whole_numbers_are_written_like_floats() -> None:
    now = datetime.now(UTC)
    whole, fractional = (
        codec.prepare(issued(pattern=pattern, point=point, generated_time=now))
        for pattern, point in (((1, 2), 3), ((1.0, 2.0), 3.0))
    )
    assert whole.payload == fractional.payload
    assert whole.pattern == fractional.pattern


@law
@given(all_issued, all_issued)
def test_forecasts_share_a_key_exactly_where_game_horizon_and_second_are_equal(
    a: IssuedForecast, b: IssuedForecast
) -> None:
    def parts(one: IssuedForecast) -> tuple[object, ...]:
        return one.game_id, one.forecast.horizon, one.forecast.elapsed_seconds

    assert (key_of(a, owned=True) == key_of(b, owned=True)) == (parts(a) == parts(b))
    same = parts(a) == parts(b) and a.recorded_by == b.recorded_by
    assert (key_of(a, owned=False) == key_of(b, owned=False)) == same
    assert key_of(a, owned=True) != key_of(a, owned=False)


def test_patterns_are_equal_where_their_values_are() -> None:
    assert codec.prepare(issued(pattern=(0, -0.0))).pattern == codec.prepare(issued(pattern=(-0.0, 0.0))).pattern
    assert codec.prepare(issued(pattern=(1.0,))).pattern != codec.prepare(issued(pattern=(1.0, 1.0))).pattern


@pytest.mark.parametrize(
    "unfit",
    [
        issued(game_id=""),
        issued(home_team="\ud800"),
        replace(issued(), forecast=replace(issued().forecast, home_lead_probability=math.nan)),
        replace(issued(), expires_time=datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        replace(issued(), generated_time=datetime(2026, 1, 1)),  # noqa: DTZ001 - deliberately naive
    ],
    ids=["no game", "not Unicode", "NaN", "not UTC", "naive"],
)
def test_what_has_no_canonical_form_is_refused(unfit: IssuedForecast) -> None:
    with pytest.raises(ValueError):
        codec.prepare(unfit)


@pytest.mark.parametrize("form", ["", "{}", "[]", "null", '{"kind":"other"}', '{"kind":"forecast","payload":{}}'])
def test_what_is_no_canonical_form_is_not_read(form: str) -> None:
    with pytest.raises(ValueError):
        codec.parse(form)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pattern", [0.0, 2.0, -1000.0]),
        ("last_score", {"side": "left", "seconds": 1}),
        ("last_score", {"side": "home", "seconds": 1.5}),
        ("last_score", {"side": "home"}),
        ("last_score", 7),
    ],
)
def test_a_request_that_none_can_make_is_not_read(name: str, value: object) -> None:
    form = json.loads(written(replace(issued(), sequence=1)))
    form["payload"]["request"][name] = value
    with pytest.raises(ValueError):
        codec.parse(canonical_json.dumps(form))


def test_two_ledgers_never_share_a_chain() -> None:
    assert codec.genesis_hash("a") != codec.genesis_hash("b")


@pytest.mark.parametrize("length", [0, 1, 10_000])
def test_a_hash_covers_the_hash_before_and_the_whole_text(length: int) -> None:
    form = ("é" + "x" * length)[:length]
    assert codec.chain_hash(b"before", form) == hashlib.sha256(b"before" + form.encode()).digest()
