"""nba_api against a local server: it reads a replay, and every fault is raised as a FeedError."""

from __future__ import annotations

import json
import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from tests.support.fakes.clock import SteppedClock

from dejavu_feed.errors import FeedError, FeedNotInstalled, FeedUnavailable, MalformedFeed
from dejavu_feed.nba import NbaFeed
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import LocalServer, Response
from dejavu_feed.replay.replay import Replay


class FaultyReplay:
    """A replay of three games at half-time into which tests can inject faults."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.replay = Replay(simulated_evening(random.Random(4), 3), now=self.clock)
        self.clock.step(3600)
        self.fault: Callable[[Response], Response] = lambda response: response
        self.url = ""

    def respond(self, path: str) -> Response:
        return self.fault(self.replay.respond(path))

    def edit(self, change: Callable[[Any], object]) -> None:
        """Applies `change` to the payload of every response, in place."""

        def edited(response: Response) -> Response:
            payload = json.loads(response.body)
            change(payload)
            return body(json.dumps(payload))

        self.fault = edited

    @property
    def game_id(self) -> str:
        return next(iter(self.replay.games))


def body(text: str, status: int = 200) -> Response:
    return Response(status, text.encode(), {"Content-Type": "application/json"})


@pytest.fixture
def source() -> Iterator[FaultyReplay]:
    source = FaultyReplay()
    with LocalServer(source.respond) as server:
        source.url = server.url
        yield source


@pytest.fixture
def feed(source: FaultyReplay) -> Iterator[NbaFeed]:
    with closing(NbaFeed(source.url, timeout=10.0)) as feed:
        yield feed


def test_nba_api_reads_a_replay(source: FaultyReplay, feed: NbaFeed) -> None:
    board = feed.scoreboard()

    assert [game.game_id for game in board.games] == list(source.replay.games)
    for state in board.games:
        plays = feed.plays(state.game_id)
        assert (plays[-1].home, plays[-1].away) == (state.home_score, state.away_score)
        assert feed.game(state.game_id) == state
        assert state.status is GameStatus.LIVE


def test_nba_apis_own_endpoints_read_a_replay_by_their_base_url(
    source: FaultyReplay, monkeypatch: pytest.MonkeyPatch
) -> None:
    import requests
    from nba_api.live.nba.endpoints.boxscore import BoxScore
    from nba_api.live.nba.endpoints.playbyplay import PlayByPlay
    from nba_api.live.nba.endpoints.scoreboard import ScoreBoard
    from nba_api.live.nba.library.http import NBALiveHTTP

    monkeypatch.setattr(NBALiveHTTP, "base_url", source.url + "/static/json/liveData/{endpoint}")
    with requests.Session() as session:
        monkeypatch.setattr(NBALiveHTTP, "_session", session)
        games = ScoreBoard().games.get_dict()
        actions = PlayByPlay(source.game_id).actions.get_dict()
        boxscore = BoxScore(source.game_id)

    assert [game["gameId"] for game in games] == list(source.replay.games)
    assert actions[0]["description"] == "period start"
    assert boxscore.home_team.get_dict()["teamTricode"] == games[0]["homeTeam"]["teamTricode"]
    assert boxscore.home_team_player_stats.get_dict() == []


def test_two_feeds_in_one_process_keep_their_addresses(source: FaultyReplay, feed: NbaFeed) -> None:
    other = Replay(simulated_evening(random.Random(9), 1))
    with LocalServer(other.respond) as server, closing(NbaFeed(server.url)) as another:
        assert [game.game_id for game in another.scoreboard().games] == list(other.games)
        assert [game.game_id for game in feed.scoreboard().games] == list(source.replay.games)


def test_many_threads_may_read_at_once(source: FaultyReplay) -> None:
    with closing(NbaFeed(source.url)) as feed, ThreadPoolExecutor(8) as threads:
        read = list(threads.map(feed.plays, list(source.replay.games) * 8))

    assert len(set(read)) == 3


@pytest.mark.parametrize("status", [301, 403, 404, 429, 500, 503])
def test_a_status_other_than_200_is_no_answer_even_with_valid_json(
    status: int, source: FaultyReplay, feed: NbaFeed
) -> None:
    source.fault = lambda response: Response(status, response.body, response.headers)

    with pytest.raises(FeedUnavailable, match=str(status)):
        feed.scoreboard()
    with pytest.raises(FeedUnavailable, match=str(status)):
        feed.plays(source.game_id)


@pytest.mark.parametrize(
    "text",
    ["<html>Access denied</html>", "", "{}", "[]", "null", "7", '{"scoreboard": null, "game": null}', '{"game": []}'],
)
def test_what_is_not_the_feeds_json_is_malformed(text: str, source: FaultyReplay, feed: NbaFeed) -> None:
    source.fault = lambda _: body(text)

    for read in (feed.scoreboard, lambda: feed.plays(source.game_id), lambda: feed.game(source.game_id)):
        with pytest.raises(MalformedFeed):
            read()


def test_a_truncated_answer_is_malformed(source: FaultyReplay, feed: NbaFeed) -> None:
    source.fault = lambda response: Response(200, response.body[: len(response.body) // 2], response.headers)

    with pytest.raises(MalformedFeed, match="not JSON"):
        feed.plays(source.game_id)


def test_a_connection_cut_in_the_middle_of_an_answer_is_no_answer(source: FaultyReplay, feed: NbaFeed) -> None:
    longer = {"Content-Length": "1000000", "Connection": "close"}
    source.fault = lambda response: Response(200, response.body, longer)

    with pytest.raises(FeedUnavailable):
        feed.scoreboard()


def test_a_feed_that_does_not_answer_in_time_is_unavailable(source: FaultyReplay) -> None:
    release = threading.Event()

    def stall(response: Response) -> Response:
        release.wait(10)
        return response

    source.fault = stall
    with closing(NbaFeed(source.url, timeout=0.05)) as feed:
        with pytest.raises(FeedUnavailable, match=r"no answer within 0\.05 s"):
            feed.scoreboard()
        release.set()


def test_closing_does_not_wait_for_a_read_under_way_and_lets_none_begin(source: FaultyReplay) -> None:
    asked, release = threading.Event(), threading.Event()

    def stall(response: Response) -> Response:
        asked.set()
        release.wait(10)
        return response

    source.fault = stall
    feed = NbaFeed(source.url)
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(feed.scoreboard)
        assert asked.wait(10)
        feed.close()
        with pytest.raises(FeedUnavailable, match="closed"):
            feed.scoreboard()
        release.set()
        assert len(reading.result(10).games) == 3
    feed.close()


def test_nobody_listening_is_unavailable() -> None:
    with LocalServer(lambda _: body("{}")) as server:
        url = server.url
    with closing(NbaFeed(url)) as feed, pytest.raises(FeedUnavailable, match="no connection to 127"):
        feed.scoreboard()


def break_game(board: Any, index: int, change: Callable[[Any], object]) -> None:
    change(board["scoreboard"]["games"][index])


@pytest.mark.parametrize(
    "change",
    [
        lambda game: game.pop("gameId"),
        lambda game: game.update(gameId="12"),
        lambda game: game.update(gameStatus="2"),
        lambda game: game.update(gameStatus=9),
        lambda game: game.pop("homeTeam"),
        lambda game: game["awayTeam"].pop("teamTricode"),
        lambda game: game["awayTeam"].update(score=None),
        lambda game: game["awayTeam"].update(score=-1),
        lambda game: game.clear(),
    ],
)
def test_a_fault_in_one_game_does_not_hide_the_others(
    change: Callable[[Any], object], source: FaultyReplay, feed: NbaFeed
) -> None:
    source.edit(lambda payload: break_game(payload, 1, change))

    board = feed.scoreboard()

    assert [game.game_id for game in board.games] == [list(source.replay.games)[i] for i in (0, 2)]
    assert len(board.faults) == 1


def test_what_only_decorates_may_be_missing(source: FaultyReplay, feed: NbaFeed) -> None:
    def strip(payload: Any) -> None:
        del payload["scoreboard"]["gameDate"]  # nba_api itself fails without this one
        for game in payload["scoreboard"]["games"]:
            for key in ("gameClock", "gameTimeUTC", "gameStatusText", "gameLeaders"):
                del game[key]
            del game["homeTeam"]["periods"]

    source.edit(strip)
    board = feed.scoreboard()

    assert len(board.games) == 3
    assert {(game.clock, game.tip_off, game.text, game.home_periods) for game in board.games} == {(None, None, "", ())}


@pytest.mark.parametrize(
    "change",
    [
        {"scoreHome": ""},
        {"scoreHome": "x"},
        {"scoreAway": None},
        {"clock": ""},
        {"clock": "PT13M00.00S"},
        {"period": 0},
        {"orderNumber": None},
        {"actionType": None},
    ],
)
def test_a_play_without_its_place_clock_or_score_is_not_guessed(
    change: dict[str, Any], source: FaultyReplay, feed: NbaFeed
) -> None:
    source.edit(lambda payload: payload["game"]["actions"][3].update(change))

    with pytest.raises(MalformedFeed):
        feed.plays(source.game_id)


def test_the_answer_of_another_game_is_refused(source: FaultyReplay, feed: NbaFeed) -> None:
    source.edit(lambda payload: payload["game"].update(gameId="0022000001"))

    for read in (feed.plays, feed.game):
        with pytest.raises(MalformedFeed, match="0022000001"):
            read(source.game_id)


def test_teams_outside_of_the_league_keep_their_code(source: FaultyReplay, feed: NbaFeed) -> None:
    source.edit(lambda payload: break_game(payload, 0, lambda game: game["homeTeam"].update(teamTricode="leb")))

    assert feed.scoreboard().games[0].home == "LEB"


def test_without_nba_api_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nba_api.live.nba.endpoints", None)

    with pytest.raises(FeedNotInstalled, match=r"dejavu-forecast\[live\]"):
        NbaFeed()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        NbaFeed(url)


def test_all_faults_share_one_tree() -> None:
    errors = [error for error in FeedError.__subclasses__() if error.__module__ == FeedError.__module__]
    assert " ".join(sorted(error.__name__ for error in errors)) == (
        "BadGamesFile FeedNotInstalled FeedUnavailable IncompleteGame MalformedFeed StaleFeed"
    )


def test_of_a_play_that_is_listed_twice_the_version_edited_last_counts(source: FaultyReplay, feed: NbaFeed) -> None:
    true = feed.plays(source.game_id)

    def list_again(payload: Any) -> None:
        actions = payload["game"]["actions"]
        actions.append(actions[5] | {"scoreHome": "99", "edited": "2020-01-01T00:00:00Z"})
        actions.insert(0, actions[7] | {"scoreHome": "98", "edited": "2030-01-01T00:00:00Z"})

    source.edit(list_again)
    plays = feed.plays(source.game_id)

    assert [play.order for play in plays] == [play.order for play in true]
    assert (plays[5], plays[7].home) == (true[5], 98)
