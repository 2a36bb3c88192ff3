"""Game calls of the asynchronous client; games.py is generated from this file by `make gen`."""
# ruff: noqa: ASYNC109 - timeout is a deadline sent to the server, not a local one

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence

from dejavu.ops.v1.feed_service_pb2 import PublishGamesRequest
from dejavu.v1.game_service_pb2 import Game, ListGamesRequest, StreamGamesResponse
from dejavu_client.transport.aio_caller import AsyncCaller
from dejavu_client.transport.subscription import GameUpdates


class AsyncGameCalls(AsyncCaller):
    """The methods of AsyncDejavuClient for games as a live feed shows them: teams, score, clock and status."""

    async def publish_games(self, games: Iterable[Game], *, timeout: float | None = None) -> None:
        """Publish the states of games to all subscribers; they are kept for a day and are no part of the record.

        Args:
            games: the states, 1 to 100, each of another game.
            timeout: deadline of this call, in seconds; None for the client's.
        """
        request = PublishGamesRequest(games=games)
        await self._unary("PublishGames", lambda stubs: stubs.feed.PublishGames, request, timeout)

    async def list_games(self, *, timeout: float | None = None) -> Sequence[Game]:
        """Return the games whose state was published in the last 24 hours, by tip-off and id.

        Args:
            timeout: deadline of this call, in seconds; None for the client's.
        """
        response = await self._unary("ListGames", lambda stubs: stubs.games.ListGames, ListGamesRequest(), timeout)
        return response.games

    def stream_games(self, *, heartbeats: bool = False) -> AsyncGenerator[StreamGamesResponse, None]:
        """Stream the games of the last 24 hours, then each new state, while the iterator is read.

        Reconnects after a broken connection, and then starts again with the newest state of each game. Closing the
        client ends the iterator.

        Args:
            heartbeats: also yield heartbeats; the first one follows the games of the beginning.

        Raises:
            UnavailableError: if the server can't be reached at first. Once connected, the stream retries without limit.
        """
        return self._stream("StreamGames", lambda stubs: stubs.games.StreamGames, GameUpdates(heartbeats=heartbeats))
