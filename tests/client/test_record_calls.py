"""Requests and results of track record calls, for both clients."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from tests.support.fakes.service import MADE, FakeServer, forecast, outcome, recorded
from tests.support.harness.clients import AnyClient

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.market_pb2 import MarketAnswer, Staking
from dejavu.v1.prediction_service_pb2 import (
    AssessRiskRequest,
    AssessRiskResponse,
    PredictRequest,
    PredictResponse,
    RiskAssessment,
    RiskGame,
    RiskResult,
)
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.scorecard_pb2 import Scorecard
from dejavu_client import FINAL, HALFTIME, RecordedPredictions, market

MakeClient = Callable[..., AnyClient]
GAME = "0022000001"


def page(*sequences: int, token: str = "") -> pb.ListPredictionsResponse:
    made = [RecordedPrediction(forecast=forecast(sequence=sequence)) for sequence in sequences]
    return pb.ListPredictionsResponse(predictions=made, next_page_token=token)


async def test_pages_are_walked_to_the_last_one_even_past_an_empty_one(server: FakeServer, connect: MakeClient) -> None:
    server.answers("ListPredictions", page(9, 8, token="a"), page(token="b"), page(3))
    got = await connect().all("list_predictions", page_size=2, team="BOS")
    assert [prediction.forecast.sequence for prediction in got] == [9, 8, 3]
    requests = [call.request for call in server.of("ListPredictions")]
    assert [request.page_token for request in requests] == ["", "a", "b"]
    assert {(request.page_size, request.team) for request in requests} == {(2, "BOS")}


async def test_a_list_becomes_a_table_of_all_pages(server: FakeServer, connect: MakeClient) -> None:
    first = pb.ListPredictionsResponse(predictions=[recorded(9, quoted=True)], next_page_token="a")
    open_one = pb.ListPredictionsResponse(predictions=[recorded(3, settled=False, home_team="")])
    server.answers("ListPredictions", first, page(token="b"), open_one)
    client: Any = connect()
    got = client.client.list_predictions()
    assert server.of("ListPredictions") == [], "nothing is fetched before it is needed"
    if inspect.iscoroutinefunction(got.to_pandas):
        table = await got.to_pandas()
    else:
        table = await asyncio.to_thread(got.to_pandas)
    chosen = ["sequence", "home_team", "outcome", "covered", "crps", "market_home_american", "generated_time"]
    expected = [[9, "BOS", -7, False, 7.5, -110, MADE], [3, None, None, None, None, None, MADE]]
    assert [str(table.dtypes[name]) for name in chosen[:5]] == ["Int64", "string", "Int64", "boolean", "Float64"]
    assert table[chosen].astype(object).where(table[chosen].notna(), None).to_numpy().tolist() == expected


@pytest.mark.parametrize(("package", "extra"), [("pyarrow", "arrow"), ("pandas", "pandas")])
def test_a_table_without_its_extra_says_what_to_install(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    made = RecordedPredictions(each for each in [RecordedPrediction()])
    with pytest.raises(ImportError, match=re.escape(f"{package} is not installed; install the extra: pip install")):
        made.to_arrow() if package == "pyarrow" else made.to_pandas()
    assert next(made) == RecordedPrediction(), "nothing was read"


@pytest.mark.parametrize("method", ["list_predictions", "get_scorecard", "get_leaderboard"])
async def test_wrong_conditions_are_told_with_the_right_ones(
    server: FakeServer, connect: MakeClient, method: str
) -> None:
    client = connect()

    ask = client.all if method == "list_predictions" else client.call
    with pytest.raises(TypeError, match="unknown conditions: minute"):
        await ask(method, minute=18)
    with pytest.raises(ValueError, match="horizon is 'quarter'"):
        await ask(method, horizon="quarter")
    assert not server.calls


OBSERVED = datetime(2026, 1, 2, 20, 30, 0, 250, tzinfo=timezone(timedelta(hours=-5)))
OBSERVED_TIME = Timestamp()
OBSERVED_TIME.FromDatetime(OBSERVED)
QUOTED = market(5.5, -110, 1.95, bankroll=1000.0, staking=Staking(game_cap=0.6))
LIMITED: dict[str, Any] = {"from_date": date(2026, 1, 2), "min_minutes": 0, "max_minutes": 12, "model_version": "abc"}
TEAMS = {"home_team": "BKN", "away_team": "GSW"}
SCOPE: dict[str, Any] = {"horizon": HALFTIME, "game_id": GAME, "team": "bos", "min_confidence": 0.5}
CASES: dict[str, tuple[tuple[Any, ...], dict[str, Any], Message, str, Message]] = {
    "report_outcome": (
        (GAME, -12),
        {**TEAMS, "horizon": FINAL, "observed_time": OBSERVED},
        pb.ReportOutcomeRequest(
            game_id=GAME,
            differential=-12,
            horizon=FINAL,
            observed_time=OBSERVED_TIME,
            **TEAMS,  # type: ignore[arg-type]
        ),
        "ReportOutcome",
        pb.ReportOutcomeResponse(outcome=outcome(5), settled_forecasts=3),
    ),
    "get_prediction": (
        (GAME,),
        {"horizon": FINAL, "elapsed_minutes": 0, "model_version": "abc"},
        pb.GetPredictionRequest(game_id=GAME, horizon=FINAL, elapsed_minutes=0, model_version="abc"),
        "GetPrediction",
        pb.GetPredictionResponse(prediction=RecordedPrediction(superseded=True)),
    ),
    "get_leaderboard": (
        (),
        {"metric": pb.LEADERBOARD_METRIC_BRIER, "min_games": 5, "limit": 3, **LIMITED, **SCOPE, "horizon": "halftime"},
        pb.GetLeaderboardRequest(
            metric=pb.LEADERBOARD_METRIC_BRIER,
            min_games=5,
            limit=3,
            filter=pb.ScoreFilter(**{**LIMITED, **SCOPE, "from_date": "2026-01-02"}),
        ),
        "GetLeaderboard",
        pb.GetLeaderboardResponse(min_games=5),
    ),
    "quote": (
        ([1.0, 2.0], QUOTED),
        {"game_id": GAME, "horizon": FINAL, "explain": True},
        PredictRequest(pattern=[1.0, 2.0], markets=[QUOTED], game_id=GAME, horizon=FINAL, return_explanation=True),
        "Predict",
        PredictResponse(forecast=forecast(), markets=[MarketAnswer(stake=12.5)]),
    ),
}


@pytest.mark.parametrize("method", CASES)
async def test_a_call_sends_what_is_given_and_no_more_and_returns_the_answer(
    server: FakeServer, connect: MakeClient, method: str
) -> None:
    arguments, options, request, rpc, answer = CASES[method]
    server.answers(rpc, answer)
    assert await connect().call(method, *arguments, **options) == answer
    assert server.next_call().request == request


async def test_the_horizon_of_an_outcome_is_not_guessed(server: FakeServer, connect: MakeClient) -> None:
    for method, arguments in (("report_outcome", (GAME, 3)), ("withdraw_outcome", (GAME,))):
        with pytest.raises(TypeError, match="horizon"):
            await connect().call(method, *arguments)
    assert not server.calls


async def test_a_time_without_a_zone_is_not_guessed(server: FakeServer, connect: MakeClient) -> None:
    with pytest.raises(ValueError, match=r"observed_time=.* has no time zone"):
        await connect().call(
            "report_outcome",
            GAME,
            3,
            horizon=HALFTIME,
            observed_time=datetime(2026, 1, 2),  # noqa: DTZ001 - intended
        )
    assert not server.calls


async def test_every_condition_reaches_the_server_with_every_page_and_only_those_needed(
    server: FakeServer, connect: MakeClient
) -> None:
    conditions: dict[str, Any] = {
        "game_id": GAME,
        "team": "bos",
        "horizon": FINAL,
        "min_confidence": 0.5,
        "settled": False,
        "model_version": "abc",
        "elapsed_minutes": 18,
        "include_superseded": True,
        "include_replays": True,
    }
    days = {"from_date": date(2026, 1, 2), "to_date": datetime(2026, 1, 3, 12, tzinfo=UTC)}
    server.answers("ListPredictions", page(9, token="a"), page(8, token="b"), page())
    client = connect()
    assert len(await client.all("list_predictions", most=2, explain=True, **conditions, **days)) == 2
    expected = pb.ListPredictionsRequest(
        **conditions, from_date="2026-01-02", to_date="2026-01-03", return_explanation=True
    )
    first, second = (call.request for call in server.of("ListPredictions"))
    assert second.page_token == "a"
    second.ClearField("page_token")
    assert first == second == expected
    await client.all("list_predictions")
    assert server.of("ListPredictions")[-1].request.ByteSize() == 0, "both horizons, settled or not"


async def test_scorecards_and_risks_are_returned_without_their_envelope(
    server: FakeServer, connect: MakeClient
) -> None:
    game, results = RiskGame(pattern=[1.0, -2.0], total_points=0), [RiskResult(assessment=RiskAssessment(score=41.5))]
    server.answers("GetScorecard", pb.GetScorecardResponse(scorecard=Scorecard(games=7)))
    server.answers("AssessRisk", AssessRiskResponse(results=results))
    client = connect()
    assert await client.call("get_scorecard") == Scorecard(games=7)
    assert server.next_call().request == pb.GetScorecardRequest(filter=pb.ScoreFilter(horizon=HALFTIME))
    assert await client.call("assess_risk", [game, game]) == results
    assert server.next_call().request == AssessRiskRequest(games=[game, game])
