"""Fans the states of games out to the subscribers of this worker.

One task reads what was published since its last read, after commits of any process, while there are subscribers. A
subscriber that reads slowly gets the newest state of each game only, so none has to be cut off: what waits for it is
bounded by the number of games that are kept.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from typing import Final, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1 import game_service_pb2 as pb
from dejavu.v1.prediction_service_pb2 import Heartbeat
from dejavu_common.clock import wait_until_set
from dejavu_common.tasks import BackgroundTask
from dejavu_ledger.errors import LedgerError
from dejavu_ledger.ledger import CurrentLedger
from dejavu_server.coordination.games import GameRow, published_after
from dejavu_server.streaming.stream_errors import ServerDraining

POLL_SECONDS: Final = 1.0
"""Time after which states are read without news of a commit, which may be lost."""

_PAUSE_SECONDS: Final = 0.05
"""Shortest time between two reads: a server that records many forecasts commits far more often than states come."""


class _State(NamedTuple):
    """A serialized state. All subscribers share the same bytes."""

    game_id: str
    version: int
    data: bytes


class _Subscriber:
    """Newest states that wait for a subscriber, by game id, in the order in which they came."""

    def __init__(self) -> None:
        self.waiting: dict[str, _State] = {}
        self.woken = asyncio.Event()

    def offer(self, states: Iterable[_State]) -> None:
        for state in states:
            self.waiting.pop(state.game_id, None)
            self.waiting[state.game_id] = state
        self.woken.set()

    def next(self) -> _State:
        return self.waiting.pop(next(iter(self.waiting)))


class GameStates:
    """Sends published states of games to the subscribers of this worker. Use it in one event loop.

    Args:
        ledger: the ledger whose database contains them.
        committed: set after every commit that may have published states.
        message: converts a state to its message.
        heartbeat_seconds: idle time after which a subscriber gets a heartbeat.
    """

    def __init__(
        self,
        ledger: CurrentLedger,
        committed: asyncio.Event,
        message: Callable[[GameRow], pb.Game],
        heartbeat_seconds: float,
    ) -> None:
        self._ledger = ledger
        self._committed = committed
        self._message = message
        self._heartbeat_seconds = heartbeat_seconds
        self._subscribers: set[_Subscriber] = set()
        self._version = 0  # every state up to this version was offered to the subscribers
        self._reader = BackgroundTask()
        self._ended = False
        self._subscribed = asyncio.Event()

    def start(self) -> None:
        """Start to follow the states."""
        self._reader.start(self._follow(), "game-states")

    def end_streams(self) -> None:
        """End every stream with ServerDraining, and refuse new ones."""
        self._ended = True
        for subscriber in self._subscribers:
            subscriber.woken.set()

    async def close(self) -> None:
        """End the streams and the task."""
        self.end_streams()
        await self._reader.end()

    async def current(self) -> list[GameRow]:
        """Return the states of the last day.

        Raises:
            LedgerError: if the ledger cannot be read.
        """
        return await self._ledger().read(partial(published_after, version=0))

    async def subscribe(self) -> AsyncGenerator[bytes, None]:
        """Yield serialized StreamGamesResponse messages without end: the states of the last day, then a heartbeat.

        Later states follow. While the ledger cannot be read, there are heartbeats only.

        Raises:
            LedgerError: if the ledger cannot be read at the beginning.
            ServerDraining: when the streams are ended.
        """
        subscriber = _Subscriber()
        self._subscribers.add(subscriber)  # before the read: no state is missed
        self._subscribed.set()
        try:
            sent = 0
            rows = deque(await self.current())
            while rows:
                sent = rows[0].version
                yield self._state(rows.popleft()).data  # not kept: a stream is long
            yield _heartbeat()
            while not self._ended:
                if not subscriber.waiting:
                    subscriber.woken.clear()
                    await wait_until_set(subscriber.woken, self._heartbeat_seconds)
                if not subscriber.waiting:
                    yield _heartbeat()
                while subscriber.waiting:
                    state = subscriber.next()
                    if state.version > sent:
                        yield state.data
            raise ServerDraining()
        finally:
            self._subscribers.discard(subscriber)

    async def _follow(self) -> None:
        while True:
            if not self._subscribers:
                self._subscribed.clear()
                await self._subscribed.wait()
                self._version = 0
            self._committed.clear()
            try:
                rows = await self._ledger().read(partial(published_after, version=self._version))
            except LedgerError:
                await asyncio.sleep(POLL_SECONDS)  # the ledger's manager logs it and tries again
                continue
            if rows:
                self._version = rows[-1].version
                states = [self._state(row) for row in rows]
                for subscriber in self._subscribers:
                    subscriber.offer(states)
            await asyncio.sleep(_PAUSE_SECONDS)
            await wait_until_set(self._committed, POLL_SECONDS)

    def _state(self, row: GameRow) -> _State:
        data = pb.StreamGamesResponse(game=self._message(row)).SerializeToString()
        return _State(row.game_id, row.version, data)


def _heartbeat() -> bytes:
    now = Timestamp()
    now.GetCurrentTime()
    return pb.StreamGamesResponse(heartbeat=Heartbeat(sent_time=now)).SerializeToString()
