"""Requests as they are read, and forecasts, markets and models as they are written; refusals: test_bad_requests.py."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.calls import GAME, PATTERN
from tests.support.builders.issued_forecasts import TEAMS_KNOWN, TOTAL, issued
from tests.support.builders.markets import markets
from tests.support.fakes.every_minute_model import EveryMinuteForecaster

from dejavu.v1 import forecast_pb2, market_pb2, model_service_pb2
from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, MarketAnswer, Odds, Staking
from dejavu.v1.market_pb2 import Market as MarketMessage
from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_feed.live_inputs import LastScore, LiveInputs, Possession, Side, put
from dejavu_feed.moment import Moment
from dejavu_feed.pattern import Score, inputs_from_scores, slots
from dejavu_ledger.entries import codec
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.records import IssuedForecast, LateReason, LineOrigin, LineSource, MarketRecording, SentMarket
from dejavu_models.betting import Market, MarketKind, StakingPolicy, evaluate_market
from dejavu_models.betting import MarketAnswer as Evaluation
from dejavu_models.errors import InvalidGameDate, InvalidInput
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.scorecard.cards import LeaderboardMetric
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
from dejavu_server.api.converters import record_requests as requests
from dejavu_server.api.converters.forecast import forecast_message
from dejavu_server.api.converters.market import answers_of, market_message
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
    same: Any = {"alpha": 0.2, "home_team": "BKN", "away_team": "GSW", "pregame_margin": 0.0}
    live: Any = {"pregame_total": 221.5, "neutral_site": False}
    named: Any = {"game_id": GAME, "model_version": "abc", "horizon": HORIZON_FINAL, "quantile_levels": [0.5, 0.1, 0.5]}
    taken = Timestamp(seconds=1_700_000_000, nanos=1_000)
    named |= {"margin_source": forecast_pb2.MARGIN_SOURCE_FEED, "margin_time": taken}
    question = prediction.forecast_request(asked(**named, **same, **live))
    assert (question.game_id, question.model_version) == (GAME, "abc")
    assert question.line_origin == LineOrigin(LineSource.FEED, taken.ToDatetime(UTC))
    pattern, recorded = ScorePattern(tuple(map(float, PATTERN))), LiveInputs(**live)
    same |= {"horizon": Horizon.FINAL, "quantile_levels": (0.5, 0.1, 0.5)}
    assert question.query == ForecastQuery(pattern, explain=True, record=True, live=recorded, **same)


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


def test_the_date_of_a_game_is_the_told_one_or_today_and_a_named_game_has_begun() -> None:
    """A date months ahead would turn off ratings, in the minutes of a caller's choice."""
    today, ahead = date(2026, 11, 21), date(2026, 11, 23)
    # Ids of replays have no season, what-ifs have no id.
    for game_id, told, read in (("0022300500", date(2023, 11, 1), date(2023, 11, 1)), ("0022600500", None, None),
                                ("0022600500", date(2026, 11, 22), date(2026, 11, 22)), ("9900000001", None, None),
                                ("9900000001", ahead, ahead), ("", ahead, ahead)):  # fmt: skip
        request = asked(game_id=game_id, horizon=1, game_date=told.isoformat() if told else "")
        question = prediction.forecast_request(request, today)
        assert (question.game_date, question.query.game_date) == (read, read or today)
    with pytest.raises(InvalidGameDate, match="expected at most 2026-11-22"):
        prediction.forecast_request(asked(game_id="0022600500", horizon=1, game_date="2026-11-23"), today)


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
    unknown = {"explanation", "expected_margin", "quantiles", "distribution"}
    assert not unknown & {field.name for field, _ in message.ListFields()}
    assert not message.adaptation.HasField("rolling_coverage")
    rated = replace(plain, forecast=replace(untaught, expected_margin=2.5))
    of_a_file = replace(issued(pregame_margin=3.5), line_origin=LineOrigin(LineSource.FILE))
    for made, source in ((issued(pregame_margin=0.0), "CALLER"), (rated, "RATINGS"), (of_a_file, "FILE")):
        message = forecast_message(made, explanation=False)
        assert forecast_pb2.MarginSource.Name(message.margin_source) == f"MARGIN_SOURCE_{source}"
        assert (message.HasField("expected_margin"), message.HasField("margin_time")) == (True, False)


def test_a_model_s_message_says_what_the_model_is() -> None:
    weights = tuple(ComponentWeight("lstm", Horizon.FINAL, 4, source, 0.25, 0.125, 0.5) for source in LINEAR_SOURCES)
    made_of: Any = {"components": ("lstm",), "weights": weights, "similar_games": 3200, "network_units": 16}
    uses: Any = {"inputs": ("total_points",), "totals": True, "line": True, "ratings_date": date(2024, 4, 14)}
    info = EveryMinuteForecaster("v1").info
    info = replace(info, verdict_reason="so", finals_since=7, half_width=10.5, **made_of, **uses)
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


def message(**fields: Any) -> MarketMessage:
    usual = {"kind": MARKET_KIND_LEAD, "line": 5.5, "above": Odds(decimal=1.9), "below": Odds(decimal=2.1)}
    return MarketMessage(**{**usual, **fields})


def read(*markets: MarketMessage) -> tuple[Market, ...]:
    usual: dict[str, Any] = {"pattern": [1, 3, 2], "total_points": 14, "horizon": forecast_pb2.HORIZON_FINAL}
    return prediction.forecast_request(PredictRequest(**usual, markets=markets)).query.markets


def weighed(market: Market, answer: Evaluation, made: IssuedForecast | None = None) -> IssuedForecast:
    """Return a forecast with the evaluation of a market that was sent with it."""
    made = issued() if made is None else made
    total = market.kind is MarketKind.TOTAL
    changed: Any = {"total": replace(made.forecast.total or TOTAL, market=answer)} if total else {"market": answer}
    return replace(made, forecast=replace(made.forecast, **changed), markets=made.markets or (SentMarket(market),))


def answered(market: Market, answer: Evaluation, made: IssuedForecast | None = None) -> MarketAnswer:
    [written] = answers_of(weighed(market, answer, made))
    return written


def test_markets_are_read_in_order_and_with_defaults() -> None:
    total: Any = {"kind": MARKET_KIND_TOTAL, "line": 221.5, "bankroll": 50.0, "game_staked": 20.0}
    policy = StakingPolicy(game_cap=0.0)
    over = Market(221.5, 1.9, 2.1, 50.0, policy=policy, kind=MarketKind.TOTAL, game_staked=20.0, evening_staked=20.0)
    lead = Market(5.5, 1.9, 2.1, 1.0, kind=MarketKind.LEAD)
    assert read(message(**total, staking=Staking(game_cap=0.0)), message()) == (over, lead)
    [evening] = read(message(**total, evening_staked=30.0))
    assert (evening.game_staked, evening.evening_staked) == (20.0, 30.0)
    assert read(message(above=None, below=None)) == (Market(5.5),)


@given(markets(), st.sampled_from(MarketKind), st.none() | st.datetimes(timezones=st.just(UTC)))
def test_a_market_that_is_written_reads_as_it_was(market: Market, kind: MarketKind, traded: datetime | None) -> None:
    market = replace(market, line=abs(market.line), kind=kind, traded_time=traded)
    assert read(market_message(market)) == (market,)


@pytest.mark.parametrize("kind", MarketKind)
def test_an_answer_s_message_says_what_was_weighed_and_is_part_of_no_recorded_forecast(kind: MarketKind) -> None:
    market = Market(3.0, 2.5, 1.5, bankroll=1000.0, policy=StakingPolicy(max_difference=1.0), kind=kind)
    answer = evaluate_market(market, lambda k: {3: 0.6, 4: 0.5}[k])
    made = weighed(market, answer, replace(issued(), markets=(SentMarket(market, MarketRecording.RECORDED),)))
    [written] = answers_of(made)
    unset = {"confidence_met", "warnings", "standing_market"} | ({"lead_staked"} if kind is MarketKind.LEAD else set())
    assert {field.name for field, _ in written.ListFields()} == set(written.DESCRIPTOR.fields_by_name) - unset
    assert market_pb2.MarketKind.Name(written.kind) == f"MARKET_KIND_{kind.name}"
    assert (written.stake, written.notice) == (answer.stake, "not shown to be better than the market")
    assert written.push_probability == pytest.approx(0.1)
    for side, of in ((written.above, answer.above), (written.below, answer.below)):
        expected = asdict(of) | {"minimum_odds": answer.minimum_odds(of)}
        assert {name: getattr(side, name) for name in side.DESCRIPTOR.fields_by_name} == expected
    for chosen in kind.sides:
        of_side = answered(market, replace(answer, side=chosen))
        assert market_pb2.MarketSide.Name(of_side.side) == f"MARKET_SIDE_{chosen.name}"
    for recording in MarketRecording:
        sent = answered(market, answer, replace(issued(), markets=(SentMarket(market, recording),)))
        assert market_pb2.MarketRecording.Name(sent.recording) == f"MARKET_RECORDING_{recording.name}"
    recorded = codec.recorded_part(made)
    assert not list(answers_of(recorded))
    assert codec.prepare(made).payload == codec.prepare(recorded).payload


def test_a_market_without_a_stake_says_why() -> None:
    """`shares`: of home or over at the line and above; None: what a bet needs is not known."""
    lead, total = Market(3.0, 1.9, 1.9), Market(3.0, 1.9, 1.9, kind=MarketKind.TOTAL)
    of_june: Any = {"ratings_date": date(2024, 6, 17)}
    unknown: Any = {"total": replace(TOTAL, expected_total=None)}
    known: Any = {"expected_margin": 2.0, "teams_known": TEAMS_KNOWN}
    given: Any = {"pregame_margin": 4.0}
    rows: Any = (
        # Which side and which bets the share is of
        (
            lead,
            (0.85, 0.8),
            {"home_team": "BOS"},
            {},
            "IMPLAUSIBLE_DIFFERENCE",
            "BOS wins 84 % of the bets that are not returned, by the odds 50 %",
        ),
        (
            lead,
            (0.8, 0.8),
            {"home_team": ""},
            {},
            "IMPLAUSIBLE_DIFFERENCE",
            "the home side wins 80 %, by the odds 50 %",
        ),
        (total, (0.8, 0.8), {}, {}, "IMPLAUSIBLE_DIFFERENCE", "over wins 80 %, by the odds 50 %"),
        (Market(3.0, 1.5, 1.5), (0.6, 0.6), {}, {}, "ODDS_MISMATCHED", "33.3 %"),
        # What is not known that a bet needs
        (lead, None, given, {"moment": Moment(4, 30.0, 3)}, "LATE_MOMENT", ""),
        (lead, None, given, {}, "MARKETS_OWN_LINE", "margin"),
        (lead, None, {}, known, "TEAM_LITTLE_KNOWN", ""),
        (lead, None, {"away_team": ""}, {}, "TEAMS_UNKNOWN", ""),
        (lead, None, {}, of_june, "RATINGS_OUTDATED", ""),
        (lead, None, {}, {**of_june, "warnings": (WarningReason.RATINGS_AHEAD,)}, "RATINGS_AHEAD", "2024-06-17"),
        (total, None, {"live": LiveInputs(pregame_total=221.5)}, {}, "MARKETS_OWN_LINE", "total"),
        (total, None, {}, {"teams_known": TEAMS_KNOWN}, "TEAM_LITTLE_KNOWN", ""),
        (total, None, {"away_team": ""}, unknown, "TEAMS_UNKNOWN", ""),
        (total, None, given, unknown, "RATINGS_OUTDATED", "total points"),
    )
    for market, shares, made, forecast, reason, told in rows:
        chances = dict(zip((3, 4), shares or (0.55, 0.55), strict=True))
        answer = evaluate_market(market, chances.__getitem__, unrated=shares is None)
        plain = issued()
        written = answered(market, answer, replace(plain, forecast=replace(plain.forecast, **forecast), **made))
        assert (written.side, written.stake, written.above.kelly_fraction) == (0, 0.0, 0.0)
        [warning] = written.warnings
        assert forecast_pb2.WarningReason.Name(warning.reason) == f"WARNING_REASON_{reason}"
        assert told in warning.text


FEWER_OUTCOMES = "this worker has learned from fewer outcomes so far, or has other settings"


def test_a_market_of_another_forecast_says_why() -> None:
    rows: Any = (
        (7, MarketRecording.RECORDED, "in between, the model has learned from outcomes"),
        (0, MarketRecording.EARLIER_STANDS, FEWER_OUTCOMES),
        (0, None, f"{FEWER_OUTCOMES}; the market is not recorded"),
    )
    for sequence, recording, told in rows:
        market = Market(0.0, 1.5, 2.9)
        recorded = replace(issued(home_team="BOS"), markets=(SentMarket(market, recording),))
        now = replace(recorded.forecast, home_lead_probability=0.7, calibration_sequence=sequence)
        [warning] = answered(market, evaluate_market(market, lambda _: 0.7), replace(recorded, recomputed=now)).warnings
        assert warning.reason == forecast_pb2.WARNING_REASON_RECOMPUTED
        given = (
            "the recorded forecast gives 60.0 % that BOS leads at the half, the one compared with this market 70.0 %"
        )
        assert warning.text == f"{given}: {told}"


OF_2025 = "0022500001"
EVENING = datetime(2026, 1, 14, 3, 0, tzinfo=UTC)
SECONDS = int(EVENING.timestamp())
DAY = date(2026, 1, 13).toordinal()


def report(**fields: Any) -> pb.ReportOutcomeRequest:
    return pb.ReportOutcomeRequest(**{"game_id": OF_2025, "horizon": HORIZON_HALFTIME, **fields})


def test_an_outcome_is_read_with_its_teams_by_their_codes_and_may_be_bare() -> None:
    seen = Timestamp(seconds=SECONDS + 60, nanos=123_456)  # a clock that is a little ahead is no future
    asked = report(horizon=HORIZON_FINAL, differential=-7, home_team="brk", away_team="BOS", observed_time=seen)
    told = requests.outcome(asked, EVENING + timedelta(milliseconds=1))
    assert (told.horizon, told.differential, told.home_team, told.away_team) == (Horizon.FINAL, -7, "BKN", "BOS")
    assert told.observed_time == EVENING + timedelta(seconds=60, microseconds=123)
    bare = requests.outcome(report(), EVENING)
    assert (bare.game_id, bare.differential, bare.home_team, bare.away_team) == (OF_2025, 0, "", "")
    assert bare.observed_time == bare.recorded_time == EVENING


def test_every_condition_of_a_list_and_of_a_scorecard_is_read() -> None:
    told: Any = {"from_date": "2026-01-13", "to_date": "2026-01-14", "team": "pho", "include_replays": True}
    read: Any = {"first_day": DAY, "last_day": DAY + 1, "team": "PHX", "replays": True}
    same: Any = {"settled": False, "min_confidence": 0.5, "model_version": "v1"}
    page: Any = {"page_size": 500, "page_token": "abc", "return_explanation": True, "include_superseded": True}
    request = pb.ListPredictionsRequest(horizon=HORIZON_HALFTIME, elapsed_minutes=18, **page, **same, **told)
    wanted = ForecastFilter(horizon=Horizon.HALFTIME, minute=18, superseded=True, **same, **read)
    expected = {"filter_": wanted, "token": "abc", "size": 500, "explanation": True}
    assert requests.list_query(request).keywords == expected
    same = {"min_minutes": 6, "max_minutes": 6, "game_id": OF_2025, "min_confidence": 1.0, "min_difference": 0.05}
    same |= {"complete_minutes": True, "model_version": "v1"}
    of_card = pb.ScoreFilter(horizon=HORIZON_FINAL, **same, **told)
    card = ScoreFilter(horizon=Horizon.FINAL, **same, **read)
    sent = pb.GetScorecardRequest(filter=of_card, limit=7, max_bets=2_000)
    assert requests.scorecard_query(sent) == (card, 7, 2_000)


def test_a_leaderboard_is_of_a_hundred_games_unless_told_otherwise() -> None:
    request = pb.GetLeaderboardRequest(filter=pb.ScoreFilter(horizon=HORIZON_HALFTIME))
    for number, metric in zip(pb.LeaderboardMetric.values()[1:], LeaderboardMetric, strict=True):
        request.metric = number
        assert requests.leaderboard_query(request) == requests.LeaderboardQuery(ScoreFilter(), metric, 100, 0)


def test_an_outcome_is_of_the_season_of_its_time_or_of_a_replay() -> None:
    seen = Timestamp(seconds=int(datetime(2024, 10, 23, 2, 0, tzinfo=UTC).timestamp()))  # `EVENING`: January 2026
    for game_id, time, reason in (
        ("0024500001", None, "INVALID_GAME_ID"),
        ("0022400001", None, "INVALID_GAME_ID"),
        ("0029900001", None, "INVALID_GAME_ID"),
        ("0022500001", seen, "INVALID_TIME"),
        ("0024500001", seen, "INVALID_TIME"),
    ):
        with pytest.raises(InvalidInput) as caught:
            requests.outcome(report(game_id=game_id, observed_time=time), EVENING)
        assert (caught.value.field, caught.value.reason) == ("observed_time" if time else "game_id", reason)
    for game_id, time in (
        ("0022400001", seen),
        ("0042300001", seen),
        ("9945000001", seen),
        ("0022500001", None),
        ("9900000001", None),
    ):
        assert requests.outcome(report(game_id=game_id, observed_time=time), EVENING).game_id == game_id


def test_all_that_is_wrong_with_a_report_is_told_at_once() -> None:
    late = Timestamp(seconds=SECONDS * 2)
    with pytest.raises(InvalidInput) as caught:
        requests.outcome(report(game_id="x", horizon=7, differential=999, home_team="XXX", observed_time=late), EVENING)
    told = [each.field for each in (caught.value, *caught.value.others)]
    assert told == ["game_id", "horizon", "differential", "home_team", "away_team", "observed_time"]
