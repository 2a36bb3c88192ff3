"""Tonight is the evening of the games that are on, replayed or not."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path

import pytest
from tests.gateway.conftest import Site
from tests.support.processes.gateway import running_gateway
from tests.support.processes.servers import running_worker

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import FINAL, DejavuClient
from dejavu_common.clock import game_day, utc_now
from dejavu_gateway.live.games import LiveGames

TODAY, PAST, EARLIER = game_day(utc_now()), date(2024, 1, 15), date(2023, 12, 23)


REAL, REPLAYED, NEXT, OLD = "0022600001", "9912670814", "9912670815", "9912670001"

TODAY, PAST = game_day(utc_now()), date(2024, 1, 15)
REPLAYED, NEXT = "9912670814", "9912670815"


def state(game_id: str, *, hours: int = 0, home: str = "BOS", away: str = "LAL") -> Game:
    game = Game(game_id=game_id, home_team=home, away_team=away, status=GameStatus.GAME_STATUS_LIVE)
    for time in (game.tip_off_time, game.observed_time, game.published_time):
        time.FromDatetime(utc_now() - timedelta(hours=hours))
    return game


@pytest.mark.parametrize(
    ("days", "shown", "evening"),
    [
        ({}, [], TODAY),
        ({}, [REPLAYED], TODAY),
        ({REPLAYED: PAST}, [REPLAYED, NEXT], PAST),
        ({OLD: EARLIER, REPLAYED: PAST}, [REPLAYED], PAST),
        ({OLD: TODAY, REPLAYED: PAST}, [], PAST),
        ({REPLAYED: PAST}, [REPLAYED, REAL], TODAY),
        ({REAL: TODAY, REPLAYED: PAST}, [], TODAY),
        ({REAL: PAST}, [], TODAY),
    ],
)
def test_it_is_today_unless_all_games_that_are_on_are_replays(
    days: dict[str, date], shown: list[str], evening: date
) -> None:
    games = LiveGames()
    for each in shown:
        games.take(state(each))
    assert games.evening(days) == evening


def test_a_replayed_evening_is_tonight_with_its_forecasts_and_the_games_that_have_none_yet(
    tmp_path: Path, build: Path
) -> None:
    with (
        ExitStack() as gateways,
        running_worker(tmp_path, shipped=True) as server,
        DejavuClient(server, timeout=60.0) as client,
    ):
        client.publish_games([state(REPLAYED), state(NEXT, home="DEN", away="MIA")])
        client.predict([1.0] * 24, game_id=REPLAYED, horizon=FINAL, home_team="BOS", away_team="LAL", game_date=PAST)
        with running_gateway(server, "--web", str(build), "--evening", "2023-12-23") as gateway:
            assert Site(server, gateway.address).get("/api/status").json()["evening"] == "2023-12-23"
        site = Site(server, gateways.enter_context(running_gateway(server, "--web", str(build))).address)
        assert site.get("/api/status").json()["evening"] == "2024-01-15"
        day = site.get("/api/games?includeReplays=1").json()
        assert (day["date"], bool(day["resumeToken"])) == ("2024-01-15", True)
        assert [(each["gameId"], each["forecasts"]) for each in day["games"]] == [(REPLAYED, 1), (NEXT, 0)]
        assert not site.get(f"/api/games?includeReplays=1&date={TODAY}").json()["games"]
        left = gateways.pop_all()
    with left:
        assert site.get("/api/games?date=2024-01-14").status_code == 503
        assert site.get("/api/games?includeReplays=1").json() == day, "a page is loaded again without the server"
