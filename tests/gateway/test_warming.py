"""The board's first answer is made before a browser asks for it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from starlette.requests import Request

from dejavu.v1.record_service_pb2 import ListPredictionsResponse
from dejavu_client import UnavailableError
from dejavu_common.clock import game_day, utc_now
from dejavu_gateway.api.context import CONTEXT_KEY
from dejavu_gateway.api.games import GameEndpoints
from dejavu_gateway.limits import AddressSlots
from dejavu_gateway.live.games import LiveGames
from dejavu_gateway.settings import GatewaySettings


class Server:
    """Has no forecasts; counts calls, and fails them at first if told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.calls = 0
        self.fails = fails

    async def call(self, *_: object) -> ListPredictionsResponse:
        self.calls += 1
        if self.fails:
            raise UnavailableError("the server is gone")
        return ListPredictionsResponse()


def context_of(server: Server) -> Any:
    """A gateway's context with a stream that has not begun."""
    board = SimpleNamespace(report=SimpleNamespace(streaming=True))
    log = SimpleNamespace(token="a", days=dict)
    evening = game_day(utc_now())
    feed = SimpleNamespace(games=LiveGames(), log=log, board=board, begun=asyncio.Event(), evening=evening)
    settings = GatewaySettings()
    return SimpleNamespace(client=server, feed=feed, settings=settings, reads=AddressSlots(1, 1))


async def asked(games: GameEndpoints, context: Any) -> int:
    """Ask for the board as the page does; return the status."""
    scope = {"type": "http", "method": "GET", "headers": [], "query_string": b"includeReplays=1", CONTEXT_KEY: context}
    return (await games.day(Request(scope))).status_code


async def test_the_first_browser_does_not_wait_for_the_server() -> None:
    server, games = Server(), GameEndpoints()
    context = context_of(server)
    warming = asyncio.create_task(games.warm(context))
    await asyncio.sleep(0)
    before = server.calls
    assert before == 0, "an answer from before the stream began would not be kept"
    context.feed.begun.set()
    await warming
    made = server.calls
    assert made > 0
    assert await asked(games, context) == 200
    assert server.calls == made


async def test_a_server_that_fails_then_is_asked_again_by_the_first_browser() -> None:
    server, games = Server(fails=True), GameEndpoints()
    context = context_of(server)
    context.feed.begun.set()
    await games.warm(context)
    server.fails = False
    assert await asked(games, context) == 200
