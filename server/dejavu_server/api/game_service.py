"""GameService: passes on the states of games that a poller reads. The interceptor maps errors to statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial

from dejavu.v1 import game_service_pb2 as pb
from dejavu_server.access.caller import current_caller
from dejavu_server.admission.callers import take_of_rate
from dejavu_server.api.converters.games import checked_games, game_message
from dejavu_server.api.handlers import Context
from dejavu_server.ledger import games
from dejavu_server.ledger.access import LedgerAccess
from dejavu_server.streaming.game_states import GameStates

PUBLICATIONS = 10.0
"""A caller's publications a second in a worker: each holds the ledger's write lock. A poller has one a second."""

GAME_SERVICE = pb.DESCRIPTOR.services_by_name["GameService"]


class GameService:
    """Stores states of games, and sends them to subscribers.

    Args:
        ledger: the ledger whose database contains them.
        states: the states of all servers.
        clock: returns the time, aware, in UTC.
    """

    def __init__(self, ledger: LedgerAccess, states: GameStates, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._states = states
        self._clock = clock

    async def publish_games(self, request: pb.PublishGamesRequest, _: Context) -> pb.PublishGamesResponse:
        """Store the states of games."""
        take_of_rate(PUBLICATIONS, "publications of games")
        states, caller = checked_games(request, self._clock()), current_caller.get().identity
        await self._ledger.write(partial(games.publish, states=states, caller=caller))
        return pb.PublishGamesResponse()

    async def list_games(self, _: pb.ListGamesRequest, __: Context) -> pb.ListGamesResponse:
        """Return the states of the last day."""
        messages = map(game_message, await self._states.current())
        return pb.ListGamesResponse(games=sorted(messages, key=_order))

    def stream_games(self, _: pb.StreamGamesRequest, __: Context) -> AsyncIterator[bytes]:
        """Stream the states; each is serialized once for all subscribers."""
        return self._states.subscribe()


def _order(game: pb.Game) -> tuple[int, int, str]:
    return game.tip_off.seconds, game.tip_off.nanos, game.game_id
