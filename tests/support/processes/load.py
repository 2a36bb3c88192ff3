"""Clients that continuously call a server and read its stream while a test disturbs it.

async with load(address) as clients:
    await clients.answers(100)
    …                         # kill, drain, reload
    await clients.answers(100)
clients.check()
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

from tests.support.builders.calls import PATTERN
from tests.support.harness.clients import CLIENTS, AnyClient

from dejavu_client import HALFTIME, Forecast, UnavailableError, predict_request
from dejavu_client.errors import CallCancelledError, DejavuClientError

BATCH = 20
"""Games in a batch; every other one is a what-if."""

PAUSE_SECONDS, BATCH_PAUSE_SECONDS = 0.1, 0.8
"""Pause of a caller between calls: without it the callers, not the servers, use most of the CPU."""

STREAMS = 4

SECONDS = 60.0
"""Timeout of every wait, generous for busy machines."""


class Load:
    """Results of the calls and streams of some clients.

    Args:
        patient: whether callers retry after the client's own retries, as there may be no server for a while.

    Attributes:
        acknowledged: the game of every sequence in a response.
        errors: errors that callers received.
        refused: number of errors after which patient callers retried, by type.
        versions: number of forecasts by model version.
        workers: the workers that answered.
        streams: the sequences that each stream received, in order of arrival.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self._patient = patient
        self.acknowledged: dict[int, str] = {}
        self.errors: list[DejavuClientError] = []
        self.refused = Counter[str]()
        self.versions = Counter[str]()
        self.workers = set[str]()
        self.streams: list[list[int]] = []
        self._stopping = asyncio.Event()
        self._more = asyncio.Condition()
        self._games = 0
        self._answers = 0

    async def answers(self, number: int) -> None:
        """Wait for `number` more answers."""
        target = self._answers + number
        await self._until(lambda: self._answers >= target)

    async def answered_by(self, version: str) -> None:
        """Wait until a model has answered."""
        await self._until(lambda: self.versions[version] > 0)

    def check(self) -> None:
        """Check the guarantees for clients and streams.

        Raises:
            AssertionError: if a call failed, a game was recorded twice, or a stream lost, repeated or reordered events.
        """
        assert not self.errors, self.errors
        assert len(set(self.acknowledged.values())) == len(self.acknowledged), "a game was recorded twice"
        for received in self.streams:
            assert received == sorted(self.acknowledged)

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS), self._more:
            await self._more.wait_for(holds)

    async def _notify(self) -> None:
        async with self._more:
            self._more.notify_all()

    def _game(self) -> str:
        self._games += 1
        return f"99{self._games:08d}"

    async def call_one_by_one(self, client: AnyClient) -> None:
        """Request a new game and a what-if in turn."""
        while not self._stopping.is_set():
            game = self._game()
            for game_id in (game, ""):
                forecast = await self._answer(client, "predict", PATTERN, horizon=HALFTIME, game_id=game_id)
                self._take(forecast)
            await self._notify()
            await asyncio.sleep(PAUSE_SECONDS)

    async def call_in_batches(self, client: AnyClient) -> None:
        """Request batches of games and what-ifs."""
        while not self._stopping.is_set():
            games = [self._game() if number % 2 else "" for number in range(BATCH)]
            requests = [predict_request(PATTERN, horizon=HALFTIME, game_id=game) for game in games]
            for result in await self._answer(client, "predict_batch", requests) or []:
                assert result.HasField("forecast"), result
                self._take(result.forecast)
            await self._notify()
            await asyncio.sleep(BATCH_PAUSE_SECONDS)

    async def follow(self, client: AnyClient, connected: asyncio.Event) -> None:
        """Read a stream until it is cancelled."""
        received = list[int]()
        self.streams.append(received)
        async with aclosing(client.stream(heartbeats=True)) as events:
            async for event in events:
                connected.set()
                if event.WhichOneof("event") == "forecast":
                    received.append(event.forecast.sequence)
                    await self._notify()

    def stop(self) -> None:
        """Stop every caller after its current call."""
        self._stopping.set()

    async def received(self) -> None:
        """Wait until every stream has received the last acknowledged sequence."""
        last = max(self.acknowledged, default=0)
        await self._until(lambda: all(received and received[-1] >= last for received in self.streams))

    async def _answer(self, client: AnyClient, method: str, *args: Any, **options: Any) -> Any:
        while True:
            try:
                return await client.call(method, *args, timeout=SECONDS, **options)
            except DejavuClientError as error:
                if not self._patient or not isinstance(error, UnavailableError | CallCancelledError):
                    self.errors.append(error)
                    await self._notify()
                    return None
                self.refused[type(error).__name__] += 1
                await asyncio.sleep(0.05)

    def _take(self, forecast: Forecast | None) -> None:
        if forecast is not None:
            self._answers += 1
            self.versions[forecast.model_version] += 1
            if forecast.sequence:
                assert self.acknowledged.setdefault(forecast.sequence, forecast.game_id) == forecast.game_id


@asynccontextmanager
async def load(address: str, *, patient: bool = False) -> AsyncIterator[Load]:
    """Run both kinds of client with their default retries: two single callers, two batch callers, and streams.

    At the end waits until callers finish their calls and streams have received everything acknowledged.
    """
    clients = Load(patient=patient)
    async with AsyncExitStack() as stack:
        # Each call and stream of the synchronous client uses a thread.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16 + STREAMS))
        kinds: list[AnyClient] = [await stack.enter_async_context(kind(address)) for kind in CLIENTS.values()]
        connected = [asyncio.Event() for _ in range(STREAMS)]
        following = [
            asyncio.create_task(clients.follow(kinds[number % len(kinds)], each))
            for number, each in enumerate(connected)
        ]
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(each.wait() for each in connected))
        async with asyncio.TaskGroup() as calling:
            for client in kinds:
                calling.create_task(clients.call_one_by_one(client))
                calling.create_task(clients.call_in_batches(client))
            try:
                yield clients
            finally:
                clients.stop()
        clients.workers = {worker for client in kinds for worker in client.stats.workers}
        await clients.received()
        for client in kinds:
            await client.close()  # which ends its streams
        await asyncio.gather(*following)
