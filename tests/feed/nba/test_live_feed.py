"""nba_api against a local server: it reads a replay, and every fault is raised as a FeedError."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.support.fakes.clock import SteppedClock

from dejavu_feed.errors import FeedError, FeedNotInstalled, FeedUnavailable, MalformedFeed
from dejavu_feed.nba import NbaFeed
from dejavu_feed.nba.live_payloads import GameStatus
from dejavu_feed.nba.stats_service import NbaStats
from dejavu_feed.replay.games import simulated_evening
from dejavu_feed.replay.http_server import LocalServer, Response
from dejavu_feed.replay.replay import Replay


class Source:
    """A replay of three games at half-time; `fault` changes its answers."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.replay = Replay(simulated_evening(random.Random(4), 3), now=self.clock)
        self.clock.step(3600)
        self.fault: Callable[[Response], Response] = lambda response: response
        self.url = ""
        self.game_id = next(iter(self.replay.games))

    def respond(self, path: str) -> Response:
        return self.fault(self.replay.respond(path))


def body(text: str, status: int = 200) -> Response:
    return Response(status, text.encode(), {"Content-Type": "application/json"})


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    with LocalServer(source.respond) as server:
        source.url = server.url
        yield source


@pytest.fixture
def feed(source: Source) -> Iterator[NbaFeed]:
    with closing(NbaFeed(source.url, timeout=10.0)) as feed:
        yield feed


def test_nba_api_reads_a_replay(source: Source, feed: NbaFeed) -> None:
    board = feed.scoreboard()

    assert [game.game_id for game in board.games] == list(source.replay.games)
    for state in board.games:
        plays = feed.plays(state.game_id).plays
        assert (plays[-1].home, plays[-1].away) == (state.home_score, state.away_score)
        assert feed.game(state.game_id) == state
        assert state.status is GameStatus.LIVE


def test_nba_apis_own_endpoints_read_a_replay_by_their_base_url(
    source: Source, monkeypatch: pytest.MonkeyPatch
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


def test_two_feeds_in_one_process_keep_their_addresses(source: Source, feed: NbaFeed) -> None:
    other = Replay(simulated_evening(random.Random(9), 1))
    with LocalServer(other.respond) as server, closing(NbaFeed(server.url)) as another:
        assert [game.game_id for game in another.scoreboard().games] == list(other.games)
        assert [game.game_id for game in feed.scoreboard().games] == list(source.replay.games)


def test_many_threads_may_read_at_once(source: Source) -> None:
    with closing(NbaFeed(source.url)) as feed, ThreadPoolExecutor(8) as threads:
        read = list(threads.map(feed.plays, list(source.replay.games) * 8))

    assert len(set(read)) == 3


LONGER = {"Content-Length": "1000000", "Connection": "close"}


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        *(
            (lambda answer, status=status: Response(status, answer.body, answer.headers), FeedUnavailable, str(status))
            for status in (301, 403, 500)  # even with the JSON that was asked for
        ),
        (
            lambda _: body("<html>Access denied</html>"),
            MalformedFeed,
            "not JSON: begins with '<html>Access denied</html>'",
        ),
        (lambda _: body("[" * 100_000), MalformedFeed, "not JSON"),
        (lambda answer: Response(200, answer.body[: len(answer.body) // 2], answer.headers), MalformedFeed, "not JSON"),
        (lambda answer: Response(200, answer.body, LONGER), FeedUnavailable, ""),
        (lambda _: Response(200, b"", hold=3600), FeedUnavailable, r"no answer within 0\.3 s"),
        (lambda _: Response(200, b"", hold=0.01), FeedUnavailable, "no connection"),
        (lambda _: body("{}"), MalformedFeed, ""),
        (lambda _: body('{"scoreboard": null, "game": null}'), MalformedFeed, ""),
    ],
)
def test_what_is_no_answer_is_unavailable_and_what_is_not_the_feeds_malformed(
    source: Source, fault: Callable[[Response], Response], error: type[FeedError], message: str
) -> None:
    source.fault = fault
    with closing(NbaFeed(source.url, timeout=0.3 if "no answer" in message else 10.0)) as feed:
        for read in (feed.scoreboard, lambda: feed.plays(source.game_id), lambda: feed.game(source.game_id)):
            with pytest.raises(error, match=message or None):
                read()


def test_a_refusal_says_when_to_come_again_and_where(source: Source, feed: NbaFeed) -> None:
    source.fault = lambda _: Response(404, b"", {"Retry-After": "7"})
    with pytest.raises(FeedUnavailable, match=r"playbyplay_.*: status 404") as refused:
        feed.plays(source.game_id)
    assert (refused.value.transient, refused.value.retry_after) == (False, 7.0)


def test_closing_does_not_wait_for_a_read_under_way_and_lets_none_begin(source: Source) -> None:
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


@pytest.mark.parametrize(
    ("module", "read", "extra"),
    [
        ("nba_api.live.nba.endpoints", NbaFeed, "live"),
        ("nba_api.stats.library.http", NbaStats, "trainer"),
    ],
)
def test_without_a_library_the_extra_is_named(
    module: str, read: Callable[[], object], extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FeedNotInstalled, match=rf"dejavu-forecast\[{extra}\]"):
        read()


class _AsksForReferer(BaseHTTPRequestHandler):
    """Answers as the NBA's CDN does since May 2026 (nba_api issue 670)."""

    def do_GET(self) -> None:
        known = self.headers.get("Referer", "").startswith("https://www.nba.com")
        self.send_response(200 if known else 403)
        self.end_headers()
        self.wfile.write(b'{"scoreboard": {"games": []}}' if known else b"Access Denied")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def test_the_live_feed_sends_the_referer_that_the_nba_asks_for() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _AsksForReferer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            with NbaFeed(f"http://127.0.0.1:{server.server_port}") as feed:
                assert feed.scoreboard().games == ()
        finally:
            server.shutdown()
            thread.join()
