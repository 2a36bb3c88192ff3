"""The date of a game from the feed to the request, and what is warned of from the answer to the terminal."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, cast

import pytest
from tests.support.fakes.service import FakeServer, forecast
from typer.testing import CliRunner

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED, Forecast, TeamKnowledge
from dejavu.v1.forecast_pb2 import Warning as Caution
from dejavu.v1.prediction_service_pb2 import (
    PredictBatchResult,
    PredictRequest,
    PredictResponse,
    StreamPredictionsResponse,
)
from dejavu_client import predict_request
from dejavu_client.cli.main import app
from dejavu_client.formatting import warning_label
from dejavu_client.output.live_table import live_table
from dejavu_client.output.poll_events import event_line
from dejavu_client.output.stream_event import EventPrinter
from dejavu_client.poller.events import Prediction
from dejavu_client.poller.predictor import PredictionClient, request_forecasts
from dejavu_client.poller.summary import summarize
from dejavu_client.poller.transition import DueForecast
from dejavu_client.poller.watched_game import WatchedGame, watched_horizons
from dejavu_client.requests import HALFTIME, predictions_request, score_filter
from dejavu_common.rich_console import Console
from dejavu_feed.game_day import game_day
from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.nba.live_feed import LIVE_PATH
from dejavu_feed.nba.live_payloads import GameState, GameStatus, read_scoreboard
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.replay import Replay

TEXT = "the teams' ratings end on 2023-06-12, too long before 2026-11-20"
OUTDATED = Caution(reason=WARNING_REASON_RATINGS_OUTDATED, text=TEXT)
PATTERN = (0, 2, -1, 3, 4, 4)
NOW = datetime(2026, 11, 21, 3, 30, tzinfo=UTC)


def state(**changes: Any) -> GameState:
    given = GameState("0022600101", "BOS", "LAL", GameStatus.LIVE, 1, 344.0, home_score=14, away_score=10)
    return replace(given, **changes)


def warned(request: PredictRequest | None = None) -> Forecast:
    home = TeamKnowledge(deviation=3.61, text="BOS: June 2023 and 2 finals, hardly known")
    return forecast(request, ratings_date="2023-06-12", warnings=[OUTDATED], home_known=home)


def dejavu(server: FakeServer, *arguments: str) -> str:
    environment = {"DEJAVU_TARGET": server.target, "COLUMNS": "160", "TERM": "dumb"}
    result = CliRunner().invoke(app, list(arguments), env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_predict_shows_the_date_of_a_game_of_another_day_only(server: FakeServer) -> None:
    today = game_day(datetime.now(UTC))
    for day, shows in ((today, False), (today - timedelta(1), True), (today + timedelta(1), True)):
        answer = PredictResponse(forecast=forecast(game_date=day.isoformat()))
        server.answers("Predict", answer)
        shown = dejavu(server, "predict", "0", "2")
        assert [line.split()[1:4] for line in shown.splitlines() if f"{day}" in line] == [
            ["game", "date", f"{day}"]
        ] * shows


def test_predict_sends_the_date_and_shows_the_warning(server: FakeServer) -> None:
    server.answers("Predict", lambda request: PredictResponse(forecast=warned(request)))
    shown = dejavu(server, "predict", "0", "2", "--home", "BOS", "--away", "LAL", "--game-date", "2026-11-20")
    assert server.next_call().request.game_date == "2026-11-20"
    assert "as of 2023-06-12" in shown
    assert "BOS: June 2023 and 2 finals, hardly known (± 3.6 points)" in shown
    assert f"Warning: {TEXT}" in shown
    dejavu(server, "predict", "0", "2")
    assert server.next_call().request.game_date == ""


def test_without_warnings_nothing_is_warned_of(server: FakeServer) -> None:
    assert "Warning" not in dejavu(server, "predict", "0", "2")


@pytest.mark.parametrize("given", [date(2023, 11, 1), datetime(2023, 11, 1, 20, 30, tzinfo=UTC), "2023-11-01"])
def test_the_client_takes_dates_and_their_text(given: date | str) -> None:
    assert predict_request(PATTERN, game_date=given).game_date == "2023-11-01"
    assert predict_request(PATTERN, game_date=None).game_date == predict_request(PATTERN).game_date == ""


@pytest.mark.parametrize("name", ["game_date", "from_date", "to_date"])
def test_what_is_no_date_is_refused_by_its_name(name: str) -> None:
    build: Any = partial(predict_request, PATTERN) if name == "game_date" else predictions_request
    with pytest.raises(TypeError, match=f"{name}: 20231101; expected a date, a text as YYYY-MM-DD, or None"):
        build(**{name: 20231101})


@pytest.mark.parametrize("given", [date(2023, 11, 1), datetime(2023, 11, 1, 20, 30, tzinfo=UTC), "2023-11-01"])
def test_filters_take_dates_and_their_text(given: date | str) -> None:
    for request in (predictions_request(from_date=given, to_date=None), score_filter(from_date=given)):
        assert (request.from_date, request.to_date) == ("2023-11-01", "")


def test_an_event_of_a_stream_names_what_is_warned_of(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_event = EventPrinter()
    print_event(StreamPredictionsResponse(forecast=warned()))
    print_event(StreamPredictionsResponse(forecast=forecast()))
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  ratings outdated")
    assert "ratings" not in second


def test_the_line_and_the_table_of_a_poller_say_it_too() -> None:
    assert event_line(Prediction(state(), PATTERN, warned(), None, None)).endswith(", ratings outdated")
    wanted = {HALFTIME: range(6, 24)}
    games = []
    for number in range(2):
        horizons = watched_horizons(wanted)
        horizons[HALFTIME] = horizons[HALFTIME].accept(PATTERN, warned())
        games.append(WatchedGame(state(game_id=f"002260010{number}"), NOW, horizons=horizons))
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    table = live_table(games, summarize(games, wanted), scoreboard_time=NOW, scoreboard_trouble="", now=NOW)
    console.print(table)
    assert cast("io.StringIO", console.file).getvalue().count(TEXT) == 1


def test_a_reason_of_a_later_release_is_shown_by_its_number() -> None:
    assert warning_label(WARNING_REASON_RATINGS_OUTDATED) == "ratings outdated"
    assert warning_label(cast("Any", 99)) == "99"


@pytest.mark.parametrize(
    ("fields", "day"),
    [
        ({"code_date": date(2026, 11, 20), "tip_off": NOW + timedelta(days=3)}, date(2026, 11, 20)),
        ({"tip_off": NOW}, date(2026, 11, 20)),  # 22:30 in New York
        ({"tip_off": NOW + timedelta(hours=15)}, date(2026, 11, 21)),
        ({}, None),
    ],
    ids=str,
)
def test_a_game_s_date_is_that_of_its_code_else_of_its_start(fields: dict[str, Any], day: date | None) -> None:
    assert state(**fields).date == day


@pytest.mark.parametrize(("code", "day"), [("20230420/SACGSW", date(2023, 4, 20)), ("2023/XY", None), ("", None)])
def test_the_date_is_read_from_the_scoreboard(code: str, day: date | None) -> None:
    payload = json.loads(Replay(simulated_evening(random.Random(1), 1)).respond(BOARD).body)
    payload["scoreboard"]["games"][0] |= {"gameCode": code, "gameTimeUTC": ""}
    [game] = read_scoreboard(payload).games
    assert game.date == day


BOARD = LIVE_PATH + "scoreboard/todaysScoreboard_00.json"


@pytest.mark.parametrize("day", [date(2023, 4, 20), None])
def test_a_replay_serves_the_date_on_which_its_games_were_played(day: date | None) -> None:
    replay = Replay(simulated_evening(random.Random(1), 2, day), now=lambda: NOW)
    games = read_scoreboard(json.loads(replay.respond(BOARD).body)).games
    assert {game.date for game in games} == {day or date(2026, 11, 20)}
    assert {game.tip_off for game in games} == {NOW}


class Recorder:
    """A client that keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[PredictRequest] = []

    async def predict_batch(self, requests: Sequence[PredictRequest]) -> list[PredictBatchResult]:
        self.requests += requests
        return [PredictBatchResult(forecast=forecast(request)) for request in requests]


@pytest.mark.parametrize(
    ("game", "sent"),
    [
        (state(code_date=date(2026, 11, 20)), "2026-11-20"),
        (state(code_date=date(2023, 4, 20)), ""),  # not in the season of the id: the server would refuse it
        (state(game_id="9900000001", code_date=date(2023, 4, 20)), "2023-04-20"),
        (state(), ""),
    ],
)
async def test_a_poller_sends_the_date_of_the_game(game: GameState, sent: str) -> None:
    client, due = Recorder(), DueForecast(HALFTIME, PATTERN, None, LiveInputs(0))
    await request_forecasts(cast("PredictionClient", client), game, [due])
    assert [request.game_date for request in client.requests] == [sent]
