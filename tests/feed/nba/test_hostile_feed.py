"""A hostile feed: answers without end, redirects to other servers, pages and lists that are too large."""

from __future__ import annotations

import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dejavu_feed.errors import FeedUnavailable, MalformedFeed
from dejavu_feed.nba import NbaFeed
from dejavu_feed.nba.live_payloads import read_plays, read_scoreboard
from dejavu_feed.nba.plays import earliest_end, last_change
from dejavu_feed.nba.stats_service import NbaStats
from dejavu_feed.replay.http_server import LocalServer, Response

GAME = "0022300061"
NO_GAMES = b'{"scoreboard": {"games": []}}'

HEAD = b"HTTP/1.1 200 OK\r\n"
CLOSED = HEAD + b"Connection: close\r\n"
DEFLATED = zlib.compressobj()
NOTHING_YET = DEFLATED.compress(b"") + DEFLATED.flush(zlib.Z_SYNC_FLUSH)
DRIPS = {
    "a status line": (b"HTTP/1.1 200 O", b"K"),
    "headers": (HEAD + b"X: ", b"y"),
    "interim responses": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "empty members of a compressed body": (CLOSED + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"")),
    "empty blocks of a compressed body": (
        CLOSED + b"Content-Encoding: deflate\r\n\r\n" + NOTHING_YET,
        b"\x00\x00\x00\xff\xff",
    ),
    "a body": (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "a body of any length": (CLOSED + b"\r\n", b" "),
}
"""Bytes that a server sends at once, and bytes that it then repeats."""


class Dripping(ThreadingHTTPServer):
    """Server that sends one of DRIPS every 20 ms until the client leaves. Responds normally if `whole` is set.

    Attributes:
        connections: number of connections accepted.
        left: set once a client left during a drip.
    """

    def __init__(self, drip: str) -> None:
        self.connections = 0
        self.whole, self.left = threading.Event(), threading.Event()
        self.head, self.drop = DRIPS[drip]
        self._ended = threading.Event()
        super().__init__(("127.0.0.1", 0), _Drip)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note that a client disconnected, as is expected."""
        self.left.set()

    def pause(self) -> bool:
        """Wait until the next byte is due. Return False when the server ends."""
        return not self._ended.wait(0.02)

    def end(self) -> None:
        self._ended.set()
        self.shutdown()
        self.server_close()


class _Drip(BaseHTTPRequestHandler):
    server: Dripping
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.server.whole.is_set():
            self.send_response(200)
            self.send_header("Content-Length", str(len(NO_GAMES)))
            self.end_headers()
            self.wfile.write(NO_GAMES)
            return
        self.wfile.write(self.server.head)
        while self.server.pause():
            self.wfile.write(self.server.drop)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def dripping(drip: str = "a body") -> Iterator[Dripping]:
    server = Dripping(drip)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.end()
        thread.join()


@pytest.mark.parametrize("drip", DRIPS)
def test_a_dripping_answer_is_given_up_in_time_and_the_next_one_is_read(drip: str) -> None:
    with dripping(drip) as server, NbaFeed(server.url, timeout=5.0, limit=0.3) as feed:
        start = time.monotonic()
        with pytest.raises(FeedUnavailable, match=r"no whole answer within 0\.3 s"):
            feed.scoreboard()
        assert time.monotonic() - start < 5.0
        assert server.left.wait(10), "the connection is closed"
        server.whole.set()
        assert feed.scoreboard().games == ()


def test_cookies_are_not_kept_which_would_have_later_requests_refused_for_their_size() -> None:
    names = iter("abc")

    def answer(_: str) -> Response:
        return Response(200, NO_GAMES, {"Set-Cookie": next(names) + "=" + "x" * 40_000})

    with LocalServer(answer) as server, NbaFeed(server.url) as feed:
        for _ in range(3):
            assert feed.scoreboard().games == ()


def test_the_password_of_a_feed_is_in_no_error() -> None:
    with LocalServer(lambda _: Response(200, NO_GAMES)) as server:
        address = server.url.removeprefix("http://")
    with NbaFeed(f"http://user:secret@{address}") as feed, pytest.raises(FeedUnavailable) as failure:
        feed.scoreboard()
    assert str(failure.value).endswith(f"no connection to {address}")


def redirecting(location: str, **headers: str) -> LocalServer:
    """Return a server that redirects all but one path, /here, which has the scoreboard."""
    redirect = Response(302, b"", {"Location": location, **headers})
    return LocalServer(lambda path: Response(200, NO_GAMES) if path == "/here" else redirect)


def test_a_redirect_within_the_server_is_followed_without_what_comes_with_it() -> None:
    with redirecting("/here", **{"Content-Length": "1000000000"}) as server, NbaFeed(server.url) as feed:
        assert feed.scoreboard().games == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_redirect_to_another_server_is_not_followed(host: str) -> None:
    asked = list[str]()

    def elsewhere(path: str) -> Response:
        asked.append(path)
        return Response(200, NO_GAMES)

    with LocalServer(elsewhere) as other:
        target = other.url.replace("127.0.0.1", host) + "/here"
        refused = pytest.raises(FeedUnavailable, match=f"a redirect to another server, '{target}'")
        with redirecting(target) as server, NbaFeed(server.url) as feed, closing(NbaStats(server.url)) as stats:
            with refused:
                feed.scoreboard()
            with refused:
                stats.plays(GAME)
    assert not asked


NO_PAGES = ("file:///etc/passwd", "//evil.test/x", "http://[")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        *((Response(302, b"", {"Location": at}), "redirect|no whole answer") for at in NO_PAGES),
        (Response(302, b"", {"Location": "/there"}), "too many redirects"),
        (
            Response(200, gzip.compress(b" " * (3 * 2**20)), {"Content-Encoding": "gzip"}),
            "an answer of more than 2097152 bytes",
        ),
    ],
    ids=["file", "host", "no address", "without end", "too large"],
)
def test_a_redirect_to_no_page_of_the_server_and_a_page_that_is_too_large_are_given_up(
    answer: Response, message: str
) -> None:
    refused = pytest.raises(FeedUnavailable, match=message)
    with LocalServer(lambda _: answer) as server, NbaFeed(server.url) as feed, refused:
        feed.scoreboard()


def listed(number: int, **fields: Any) -> dict[str, Any]:
    """Return a game of a scoreboard."""
    team = {"teamTricode": "BOS", "score": 0}
    identity = {"gameId": f"00223{number:05}", "gameStatus": 1, "period": 0}
    return {**identity, "homeTeam": team, "awayTeam": {**team, "teamTricode": "MIA"}, **fields}


def board(*games: dict[str, Any]) -> dict[str, Any]:
    return {"scoreboard": {"gameDate": "2024-01-05", "games": [*games]}}


def test_games_and_plays_without_end_are_refused_whole() -> None:
    with pytest.raises(MalformedFeed, match=r"scoreboard\.games has 5000 elements, expected at most 100"):
        read_scoreboard(board(*map(listed, range(5_000))))
    with pytest.raises(MalformedFeed, match=r"game\.actions has 2001 elements, expected at most 2000"):
        read_plays({"game": {"gameId": GAME, "actions": [{}] * 2_001}}, GAME)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"period": 10**400}, "period is a int of 401 characters, expected 0 to 24"),
        ({"gameStatus": 10**400}, "gameStatus is a int of 401 characters, expected 1, 2 or 3"),
        ({"period": -1}, "period is -1, expected 0 to 24"),
        ({"homeTeam": {"teamTricode": "B" * 41, "score": 0}}, "teamTricode is a str of 43 characters, expected a code"),
    ],
)
def test_a_game_with_what_no_game_has_is_a_fault(fields: dict[str, Any], fault: str) -> None:
    scoreboard = read_scoreboard(json.loads(json.dumps(board(listed(1), listed(2, **fields)))))
    assert [game.game_id for game in scoreboard.games] == ["0022300001"]
    assert fault in str(scoreboard.faults[0])


def test_a_status_text_is_cut() -> None:
    (game,) = read_scoreboard(board(listed(1, gameStatusText="Q" * 1_000))).games
    assert game.text == "Q" * 40


@pytest.mark.parametrize(
    "time",
    [
        "0001-01-01T00:00:00+23:59",
        "2047-01-01",
        "9999-12-31T23:59:59-14:00",
    ],
)
def test_a_time_of_a_year_without_games_counts_as_missing(time: str) -> None:
    day = time[:10].replace("-", "")
    fields = {"gameTimeUTC": time, "gameCode": f"{day}/MIABOS"}
    (game,) = read_scoreboard(board(listed(1, **fields))).games
    assert (game.tip_off, game.code_date, game.date) == (None, None, None)

    play = {"orderNumber": 1, "period": 3, "clock": "PT01M00.00S", "scoreHome": 1, "scoreAway": 0, "actionType": "2pt"}
    actions = [{**play, "timeActual": time, "edited": time}]
    plays = read_plays({"game": {"gameId": GAME, "actions": actions}}, GAME).plays
    assert (plays[0].actual, plays[0].edited) == (None, None)
    now = datetime.now(UTC)
    assert (last_change(plays, now), earliest_end(plays, now, 24)) == (None, None)
