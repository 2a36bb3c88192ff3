"""GameService: passes on the states of games that a poller published."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dejavu.v1 import game_service_pb2 as pb
from dejavu_server.api.converters.games import game_message
from dejavu_server.api.handlers import Context
from dejavu_server.streaming.game_states import GameStates

GAME_SERVICE = pb.DESCRIPTOR.services_by_name["GameService"]


class GameService:
    """Sends states of games to subscribers.

    Args:
        states: the states of all servers.
    """

    def __init__(self, states: GameStates) -> None:
        self._states = states

    async def list_games(self, _: pb.ListGamesRequest, __: Context) -> pb.ListGamesResponse:
        """Return the states of the last day."""
        messages = map(game_message, await self._states.current())
        return pb.ListGamesResponse(games=sorted(messages, key=_order))

    def stream_games(self, _: pb.StreamGamesRequest, __: Context) -> AsyncIterator[bytes]:
        """Stream the states; each is serialized once for all subscribers."""
        return self._states.subscribe()


def _order(game: pb.Game) -> tuple[int, int, str]:
    return game.tip_off.seconds, game.tip_off.nanos, game.game_id
