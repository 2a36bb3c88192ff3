"""Requests and results of track record calls, for both clients."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import grpc
import pytest
from tests.support.fakes.recorded import MADE, recorded
from tests.support.fakes.service import Abort, FakeServer, forecast, outcome
from tests.support.harness.clients import AnyClient

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.market_pb2 import MarketAnswer
from dejavu.v1.prediction_service_pb2 import AssessRiskResponse, PredictResponse
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import (
    LEADERBOARD_METRIC_BRIER,
    LEADERBOARD_METRIC_CRPS,
    PREDICTION_VIEW_FULL,
    GetLeaderboardResponse,
    GetPredictionResponse,
    GetScorecardResponse,
    LeaderboardRow,
    ListPredictionsResponse,
    ReportOutcomeRequest,
    ReportOutcomeResponse,
    ScoreFilter,
)
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client import FINAL, HALFTIME, FailedPreconditionError, NotFoundError, RecordedPredictions, market
from dejavu_client.export import PREDICTION_COLUMNS
from dejavu_client.requests import HorizonName

MakeClient = Callable[..., AnyClient]
GAME = "0022000001"


def page(*sequences: int, token: str = "") -> ListPredictionsResponse:
    made = [RecordedPrediction(forecast=forecast(sequence=sequence)) for sequence in sequences]
    return ListPredictionsResponse(predictions=made, next_page_token=token)


async def test_an_outcome_is_reported_with_every_field_given(server: FakeServer, connect: MakeClient) -> None:
    answer = ReportOutcomeResponse(outcome=outcome(5), settled_forecasts=3)
    server.answers("ReportOutcome", answer)
    observed = datetime(2026, 1, 2, 20, 30, 0, 250, tzinfo=timezone(timedelta(hours=-5)))
    got = await connect().call(
        "report_outcome", GAME, -12, horizon=FINAL, home_team="BKN", away_team="GSW", observed_time=observed
    )
    assert got == answer
    request = server.next_call().request
    assert (request.game_id, request.differential, request.horizon) == (GAME, -12, FINAL)
    assert (request.home_team, request.away_team) == ("BKN", "GSW")
    assert request.observed_time.ToDatetime(tzinfo=UTC) == observed


async def test_an_outcome_s_time_is_left_to_the_server_and_never_guessed(
    server: FakeServer, connect: MakeClient
) -> None:
    client = connect()
    await client.call("report_outcome", GAME, 3)
    assert server.next_call().request == ReportOutcomeRequest(game_id=GAME, differential=3, horizon=HALFTIME)
    with pytest.raises(ValueError, match=r"observed_time=.* has no time zone"):
        await client.call("report_outcome", GAME, 3, observed_time=datetime(2026, 1, 2))  # noqa: DTZ001 - intended
    assert len(server.calls) == 1


async def test_a_report_is_made_again_when_the_server_was_lost(server: FakeServer, connect: MakeClient) -> None:
    server.answers("ReportOutcome", Abort(grpc.StatusCode.UNAVAILABLE))
    assert (await connect().call("report_outcome", GAME, 3)).outcome.differential == 3
    assert len(server.of("ReportOutcome")) == 2


async def test_a_forecast_of_the_past_is_refused_with_its_reason(server: FakeServer, connect: MakeClient) -> None:
    server.answers("Predict", Abort(grpc.StatusCode.FAILED_PRECONDITION, "known", "OUTCOME_KNOWN"))
    with pytest.raises(FailedPreconditionError) as caught:
        await connect().call("predict", [1.0], game_id=GAME)
    assert caught.value.reason == "OUTCOME_KNOWN"


async def test_a_prediction_is_asked_for_and_given_whole(server: FakeServer, connect: MakeClient) -> None:
    answer = GetPredictionResponse(
        prediction=RecordedPrediction(forecast=forecast(sequence=4)),
        revisions=[RecordedPrediction(forecast=forecast(sequence=2), superseded=True)],
        outcomes=[outcome(5)],
    )
    server.answers("GetPrediction", answer, Abort(grpc.StatusCode.NOT_FOUND))
    client = connect()
    got = await client.call("get_prediction", GAME, horizon=FINAL, elapsed_minutes=0, model_version="abc")
    assert got == answer
    request = server.next_call().request
    assert (request.game_id, request.horizon, request.model_version) == (GAME, FINAL, "abc")
    assert (request.HasField("elapsed_minutes"), request.elapsed_minutes) == (True, 0)
    with pytest.raises(NotFoundError):
        await client.call("get_prediction", GAME)
    assert not server.next_call().request.HasField("elapsed_minutes")


async def test_pages_are_walked_to_the_last_one_even_past_an_empty_one(server: FakeServer, connect: MakeClient) -> None:
    server.answers("ListPredictions", page(9, 8, token="a"), page(token="b"), page(3))
    got = await connect().all("list_predictions", page_size=2, team="BOS")
    assert [prediction.forecast.sequence for prediction in got] == [9, 8, 3]
    requests = [call.request for call in server.of("ListPredictions")]
    assert [request.page_token for request in requests] == ["", "a", "b"]
    assert {(request.page_size, request.team) for request in requests} == {(2, "BOS")}


async def test_a_page_is_asked_for_only_when_it_is_needed(server: FakeServer, connect: MakeClient) -> None:
    server.answers("ListPredictions", page(9, 8, token="a"))
    assert len(await connect().all("list_predictions", most=2)) == 2
    assert len(server.of("ListPredictions")) == 1


@pytest.mark.parametrize("form", ["arrow", "pandas"])
async def test_a_list_becomes_a_table_of_all_pages(server: FakeServer, connect: MakeClient, form: str) -> None:
    first = ListPredictionsResponse(predictions=[recorded(9, quoted=True)], next_page_token="a")
    open_one = ListPredictionsResponse(predictions=[recorded(3, settled=False, home_team="")])
    server.answers("ListPredictions", first, page(token="b"), open_one)
    client: Any = connect()
    got = client.client.list_predictions()
    assert server.of("ListPredictions") == [], "nothing is fetched before it is needed"
    if inspect.iscoroutinefunction(got.to_arrow):
        table = await getattr(got, f"to_{form}")()
    else:
        table = await asyncio.to_thread(getattr(got, f"to_{form}"))
    names = [column.name for column in PREDICTION_COLUMNS]
    chosen = ["sequence", "home_team", "outcome", "covered", "crps", "market_home_american", "generated_time"]
    expected = [[9, "BOS", -7, False, 7.5, -110, MADE], [3, None, None, None, None, None, MADE]]
    if form == "arrow":
        assert table.column_names == names
        assert [[row[name] for name in chosen] for row in table.to_pylist()] == expected
    else:
        assert list(table.columns) == names
        assert [str(table.dtypes[name]) for name in chosen[:5]] == ["Int64", "string", "Int64", "boolean", "Float64"]
        assert table[chosen].astype(object).where(table[chosen].notna(), None).to_numpy().tolist() == expected


async def test_a_table_has_the_rest_of_a_list_that_was_begun(server: FakeServer, connect: MakeClient) -> None:
    server.answers("ListPredictions", page(9, 8, token="a"), page(3))
    client: Any = connect()
    got = client.client.list_predictions()
    if inspect.iscoroutinefunction(got.to_arrow):
        assert (await anext(got)).forecast.sequence == 9
        table = await got.to_arrow()
    else:
        assert (await asyncio.to_thread(next, got)).forecast.sequence == 9
        table = await asyncio.to_thread(got.to_arrow)
    assert table["sequence"].to_pylist() == [8, 3]


@pytest.mark.parametrize(("package", "extra"), [("pyarrow", "arrow"), ("pandas", "pandas")])
def test_a_table_without_its_extra_says_what_to_install(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    made = RecordedPredictions(each for each in [RecordedPrediction()])
    with pytest.raises(ImportError, match=re.escape(f"{package} is not installed; install the extra: pip install")):
        made.to_arrow() if package == "pyarrow" else made.to_pandas()
    assert next(made) == RecordedPrediction(), "nothing was read"


async def test_every_condition_reaches_the_server(server: FakeServer, connect: MakeClient) -> None:
    await connect().all(
        "list_predictions",
        game_id=GAME,
        from_date=date(2026, 1, 2),
        to_date=datetime(2026, 1, 3, 12, tzinfo=UTC),
        team="bos",
        horizon=FINAL,
        min_confidence=0.5,
        settled=False,
        model_version="abc",
        elapsed_minutes=18,
        include_superseded=True,
        include_replays=True,
    )
    request = server.next_call().request
    assert (request.game_id, request.from_date, request.to_date) == (GAME, "2026-01-02", "2026-01-03")
    assert (request.team, request.horizon, request.min_confidence) == ("bos", FINAL, 0.5)
    assert (request.HasField("settled"), request.settled, request.elapsed_minutes) == (True, False, 18)
    assert (request.model_version, request.include_superseded, request.include_replays) == ("abc", True, True)


async def test_without_conditions_both_horizons_are_listed_settled_or_not(
    server: FakeServer, connect: MakeClient
) -> None:
    await connect().all("list_predictions")
    assert server.next_call().request.ByteSize() == 0


async def test_explanations_are_requested_with_every_page(server: FakeServer, connect: MakeClient) -> None:
    server.answers("ListPredictions", page(9, token="a"), page(8))
    await connect().all("list_predictions", explain=True)
    assert [call.request.view for call in server.of("ListPredictions")] == [PREDICTION_VIEW_FULL] * 2


async def test_a_scorecard_is_unwrapped(server: FakeServer, connect: MakeClient) -> None:
    server.answers("GetScorecard", GetScorecardResponse(scorecard=Scorecard(games=7)))
    client = connect()
    got = await client.call(
        "get_scorecard", model_version="abc", from_date=date(2026, 1, 2), min_minutes=0, max_minutes=12
    )
    assert got == Scorecard(games=7)
    assert server.next_call().request.filter == ScoreFilter(
        model_version="abc", horizon=HALFTIME, from_date="2026-01-02", min_minutes=0, max_minutes=12
    )
    await client.call("get_scorecard")
    assert server.next_call().request.filter == ScoreFilter(horizon=HALFTIME)
    await client.call("get_scorecard", game_id=GAME, team="bos", min_confidence=0.5)
    assert server.next_call().request.filter == ScoreFilter(
        horizon=HALFTIME, game_id=GAME, team="bos", min_confidence=0.5
    )


@pytest.mark.parametrize(("name", "horizon"), [("half", HALFTIME), ("halftime", HALFTIME), ("final", FINAL)])
async def test_a_horizon_may_be_named(
    server: FakeServer, connect: MakeClient, name: HorizonName, horizon: Horizon.ValueType
) -> None:
    client = connect()
    await client.all("list_predictions", horizon=name)
    assert server.next_call().request.horizon == horizon
    await client.call("get_scorecard", horizon=name)
    assert server.next_call().request.filter.horizon == horizon


@pytest.mark.parametrize("method", ["list_predictions", "get_scorecard", "get_leaderboard"])
async def test_wrong_conditions_are_told_with_the_right_ones(
    server: FakeServer, connect: MakeClient, method: str
) -> None:
    client = connect()

    async def ask(**conditions: Any) -> None:
        await (client.all if method == "list_predictions" else client.call)(method, **conditions)

    with pytest.raises(TypeError, match=r"unknown conditions: minute; expected some of .*from_date, game_id, horizon"):
        await ask(minute=18)
    with pytest.raises(ValueError, match="horizon is 'quarter'; expected half, halftime or final"):
        await ask(horizon="quarter")
    assert not server.calls


async def test_a_leaderboard_is_asked_for_by_its_metric(server: FakeServer, connect: MakeClient) -> None:
    answer = GetLeaderboardResponse(rows=[LeaderboardRow(rank=1, model_version="a")], min_games=5)
    server.answers("GetLeaderboard", answer)
    client = connect()
    got = await client.call("get_leaderboard", metric=LEADERBOARD_METRIC_BRIER, min_games=5, horizon=FINAL)
    assert got == answer
    request = server.next_call().request
    assert (request.metric, request.min_games) == (LEADERBOARD_METRIC_BRIER, 5)
    assert request.filter == ScoreFilter(horizon=FINAL)
    await client.call("get_leaderboard")
    request = server.next_call().request
    assert (request.metric, request.min_games) == (LEADERBOARD_METRIC_CRPS, 0)


async def test_a_checkpoint_is_unwrapped(connect: MakeClient) -> None:
    checkpoint = await connect().call("get_checkpoint")
    assert (checkpoint.ledger_id, checkpoint.sequence) == ("ab" * 16, 3)


async def test_a_risk_is_asked_for_with_the_points_only_if_they_are_known(
    server: FakeServer, connect: MakeClient
) -> None:
    server.answers("AssessRisk", AssessRiskResponse(score=41.5))
    client = connect()
    assert (await client.call("assess_risk", [1.0, -2.0], 0)).score == 41.5
    request = server.next_call().request
    assert (list(request.pattern), request.HasField("total_points")) == ([1.0, -2.0], True)
    await client.call("assess_risk", [1.0, -2.0])
    assert not server.next_call().request.HasField("total_points")


async def test_a_quote_gives_forecast_and_market(server: FakeServer, connect: MakeClient) -> None:
    answer = PredictResponse(forecast=forecast(), market=MarketAnswer(stake=12.5))
    server.answers("Predict", answer)
    asked = market(5.5, -110, 1.95, bankroll=1000.0, confidence_threshold=0.6)
    got = await connect().call("quote", [1.0, 2.0], asked, game_id=GAME, horizon=FINAL, home_team="BKN", explain=True)
    assert got == answer
    request = server.next_call().request
    assert request.market == asked
    assert (request.game_id, request.horizon, request.home_team) == (GAME, FINAL, "BKN")
    assert request.return_explanation


@pytest.mark.parametrize(
    ("price", "kind", "value"),
    [
        (-110, "american", -110),
        (100, "american", 100),
        (150.0, "american", 150),
        (1.91, "decimal", 1.91),
        (99, "decimal", 99.0),
        (250.5, "decimal", 250.5),
        (-1.5, "decimal", -1.5),
        (float("inf"), "decimal", float("inf")),
    ],
)
def test_whole_odds_from_a_hundred_on_are_american_and_all_others_decimal(
    price: float, kind: str, value: float
) -> None:
    for odds in (market(0, price, 2).home, market(0, 2, price).away):
        assert odds.WhichOneof("price") == kind
        assert getattr(odds, kind) == value


def test_what_a_market_leaves_to_the_server_is_not_sent() -> None:
    asked = market(0, 2, 2)
    assert not asked.HasField("bankroll")
    assert not asked.HasField("confidence_threshold")


async def test_scores_are_waited_for_longer_than_other_answers_unless_told_otherwise(
    server: FakeServer, connect: MakeClient
) -> None:
    client = connect(timeout=5.0)
    for method in ("get_scorecard", "get_leaderboard"):
        await client.call(method)
        assert server.next_call().time_remaining == pytest.approx(60.0, abs=0.5)
        await client.call(method, timeout=2.0)
        assert server.next_call().time_remaining == pytest.approx(2.0, abs=0.5)
        await client.call(method, timeout=None)
        assert server.next_call().time_remaining == pytest.approx(5.0, abs=0.5)
