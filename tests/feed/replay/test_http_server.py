"""The local server when it sends no response: the client's error, and that shutdown is not delayed."""

from __future__ import annotations

import threading

import pytest

from dejavu_feed.errors import FeedUnavailable
from dejavu_feed.nba import NbaFeed
from dejavu_feed.replay.http_server import LocalServer, Response


def test_a_connection_held_without_an_answer_is_a_time_out_to_its_reader() -> None:
    with (
        LocalServer(lambda _: Response(200, b"", hold=3600)) as server,
        NbaFeed(server.url, timeout=0.05) as feed,
        pytest.raises(FeedUnavailable, match="no answer within"),
    ):
        feed.scoreboard()


def test_a_connection_closed_without_an_answer_is_none() -> None:
    with (
        LocalServer(lambda _: Response(200, b"", hold=0.01)) as server,
        NbaFeed(server.url) as feed,
        pytest.raises(FeedUnavailable, match="no connection"),
    ):
        feed.scoreboard()


def test_the_end_of_the_server_lets_go_of_connections_that_it_holds() -> None:
    before = set(threading.enumerate())
    with LocalServer(lambda _: Response(200, b"", hold=3600)) as server, NbaFeed(server.url, timeout=0.05) as feed:
        with pytest.raises(FeedUnavailable):
            feed.scoreboard()
        held = set(threading.enumerate()) - before - {server._thread}
    for thread in held:
        thread.join(20)
    assert held
    assert not any(thread.is_alive() for thread in held)
