"""GameService: passes on the states of games that a poller published."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator

from dejavu.v1 import game_service_pb2 as pb
from dejavu_server.api.converters.games import game_message
from dejavu_server.api.paging import Key, decode_key, page_of, page_size
from dejavu_server.limits import Caller
from dejavu_server.streaming.game_states import GameStates

_LIST = "games"

GAME_SERVICE = pb.DESCRIPTOR.services_by_name["GameService"]


class GameService:
    """Sends states of games to subscribers.

    Args:
        states: the states of all servers.
    """

    def __init__(self, states: GameStates) -> None:
        self._states = states

    async def list_games(self, request: pb.ListGamesRequest, _: Caller) -> pb.ListGamesResponse:
        """Return a page of the states of the last day."""
        size, last = page_size(request.page_size), decode_key(_LIST, request.page_token, (-1, 0, ""))
        games = sorted(map(game_message, await self._states.current()), key=_order)
        start = bisect_right(games, last, key=_order)
        page, next_page_token = page_of(_LIST, games[start:], _order, size)
        return pb.ListGamesResponse(games=page, next_page_token=next_page_token)

    def stream_games(self, _: pb.StreamGamesRequest, __: Caller) -> AsyncIterator[bytes]:
        """Stream the states; each is serialized once for all subscribers."""
        return self._states.subscribe()


def _order(game: pb.Game) -> Key:
    return game.tip_off_time.seconds, game.tip_off_time.nanos, game.game_id
