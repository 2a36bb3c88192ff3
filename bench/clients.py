"""Clients that publish forecasts and follow the stream while servers are killed, restarted or change their model.

Publishers request forecasts with the Python client. Half of the subscribers use the Python client, half are bare stubs,
which hide no repeated or lost message. At the end everything is compared with the ledger (`judge`).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import grpc
from bench.result import Result, show_round
from tests.support.processes.postgres import PostgresServer, own_server
from tests.support.processes.restartable_server import Restartable
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_client.errors import DejavuClientError
from dejavu_ledger import Ledger
from dejavu_ledger.audit.verification import verify

PUBLISHERS, SUBSCRIBERS, WORKERS = 8, 100, 2
"""Numbers of clients, and of workers of each server."""

THINKING_SECONDS = 0.05
"""Mean pause of a publisher after each response; limits the load, since every subscriber gets each forecast."""

CALLS_BETWEEN_ROUNDS = 80
CATCH_UP_SECONDS = 120.0
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}


@dataclass
class LoadResult(Result):
    """Result of a run under load.

    Attributes:
        rounds: number of rounds, by kind.
        calls: answered calls.
        slowest_seconds: duration of the slowest one.
        errors_without_server: types of errors of calls while no server was running; these are repeated.
        acknowledged: number of games that were answered with a sequence.
        entries: number of forecasts in the ledger.
        messages: number of forecasts that subscribers received.
        dials: how often a bare stub connected again.
        back_seconds: from the death of a worker until another one serves.
        missing: acknowledged forecasts that the ledger lacks.
        twice: games with several forecasts.
        changed_on_retry: repeated requests that returned a different sequence.
        errors: errors of calls while a server was running.
        streams_lost, streams_twice, streams_out_of_order: forecasts that streams lost, repeated or reordered.
        orphans: workers that outlived their supervisor.
        broken_chain: what is wrong with the hash chain.
    """

    MUST_BE_EMPTY: ClassVar[tuple[str, ...]] = (
        *("missing", "twice", "changed_on_retry", "errors", "streams_lost", "streams_twice", "streams_out_of_order"),
        *("orphans", "broken_chain"),
    )
    rounds: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    slowest_seconds: float = 0.0
    errors_without_server: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    entries: int = 0
    messages: int = 0
    dials: int = 0
    back_seconds: list[float] = field(default_factory=list)
    missing: int = 0
    twice: int = 0
    changed_on_retry: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    streams_lost: int = 0
    streams_twice: int = 0
    streams_out_of_order: int = 0
    orphans: int = 0
    broken_chain: str = ""


class Answer(NamedTuple):
    """An answer to a publisher; a what-if has no game, and sequence 0."""

    game_id: str
    sequence: int
    version: str


class Subscriber:
    """Follows the stream from its start, and resumes after every lost connection.

    Attributes:
        sequences: sequences of all forecasts received, in order of arrival.
        connections: number of connections made by a bare stub.
        stands: set when the first event was received.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self.sequences: list[int] = []
        self.connections = 0
        self.stands = asyncio.Event()
        self._more = asyncio.Event()

    async def reaches(self, sequence: int) -> None:
        """Wait until a sequence was received."""
        while not self.sequences or self.sequences[-1] < sequence:
            self._more.clear()
            await self._more.wait()

    async def follow_by_client(self) -> None:
        """Follow the stream with the Python client, which resumes automatically."""
        async with (
            AsyncDejavuClient(self._address, channels=1) as client,
            aclosing(client.stream_predictions(heartbeats=True)) as events,
        ):
            async for event in events:
                self._take(event)
        raise RuntimeError("a stream ended")

    async def follow_by_stub(self) -> None:
        """Follow the stream with a bare stub and resume with the last token; see every message."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 1000)]
        token = ""
        target = self._address if "," not in self._address else f"ipv4:{self._address}"
        async with grpc.aio.insecure_channel(target, options) as channel:
            stub = PredictionServiceStub(channel)
            while True:
                self.connections += 1
                stream = stub.StreamPredictions(pb.StreamPredictionsRequest(resume_token=token))
                try:
                    async for event in stream:
                        token = event.resume_token
                        self._take(event)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in PASSING:
                        raise
                finally:
                    stream.cancel()
                await asyncio.sleep(THINKING_SECONDS)

    def _take(self, event: pb.StreamPredictionsResponse) -> None:
        self.stands.set()
        if event.WhichOneof("event") == "forecast":
            self.sequences.append(event.forecast.sequence)
            self._more.set()


class Clients:
    """Publishers and subscribers: publishers request forecasts, repeat some requests, and send what-ifs in between.

    Args:
        result: receives errors, repeated requests with other answers, and the duration of the slowest call.
        addresses: addresses of the servers.
        seed: seed of the games.
        deadline: deadline of a call in seconds; None: the client's default.

    Attributes:
        answers: all answers.
        acknowledged: game → sequence in the response.
        subscribers: the subscribers.
    """

    def __init__(self, result: LoadResult, addresses: Sequence[str], seed: int, deadline: float | None) -> None:
        # Stubs use the first address that answers: half of them begin with the other end of the list.
        turned = (",".join(addresses), ",".join(reversed(addresses)))
        self._address = turned[0]
        self._result = result
        self._seed = seed
        self._deadline = deadline
        self.answers: list[Answer] = []
        self.acknowledged: dict[str, int] = {}
        self.subscribers = [Subscriber(turned[number // 2 % 2]) for number in range(SUBSCRIBERS)]
        self._outage = False
        self._outages = 0
        self._stop = asyncio.Event()
        self._answered = asyncio.Event()

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Mark the block as a time without a server."""
        self._outages += 1
        self._outage = True
        try:
            yield
        finally:
            self._outage = False

    async def rounds(self, count: int) -> AsyncIterator[int]:
        """Yield the numbers of rounds, with CALLS_BETWEEN_ROUNDS answers before each and after the last."""
        for number in range(count):
            await self.more(CALLS_BETWEEN_ROUNDS)
            yield number
            show_round(number, count)
        await self.more(CALLS_BETWEEN_ROUNDS)

    async def more(self, number: int) -> None:
        """Wait for a number of further answers."""
        target = len(self.answers) + number
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while len(self.answers) < target:
                self._answered.clear()
                await self._answered.wait()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Subscribe and publish within the block; after it, wait until every subscriber has all forecasts.

        The judge counts those that a subscriber lacks.
        """
        async with asyncio.TaskGroup() as tasks:  # the error of a client ends the block
            following = [
                tasks.create_task(each.follow_by_client() if number % 2 else each.follow_by_stub())
                for number, each in enumerate(self.subscribers)
            ]
            async with asyncio.timeout(CATCH_UP_SECONDS):
                for each in self.subscribers:
                    await each.stands.wait()
            publishing = [tasks.create_task(self._publish(number)) for number in range(PUBLISHERS)]
            yield
            self._stop.set()
            await asyncio.gather(*publishing)
            with suppress(TimeoutError):
                async with asyncio.timeout(CATCH_UP_SECONDS):
                    for each in self.subscribers:
                        await each.reaches(max(self.acknowledged.values()))
            for task in following:
                task.cancel()

    async def _publish(self, number: int) -> None:
        """Run one publisher until it is stopped."""
        choose = random.Random(f"{self._seed}-{number}")
        published: list[tuple[str, list[float]]] = []
        async with AsyncDejavuClient(self._address) as client:
            while not self._stop.is_set():
                kind = choose.random()
                if kind < 0.6 or not published:
                    game = f"99{number:02d}{len(published):06d}", [float(choose.randint(-20, 20)) for _ in range(18)]
                    published.append(game)
                elif kind < 0.8:
                    game = choose.choice(published)
                else:
                    game = "", [float(choose.randint(-20, 20)) for _ in range(18)]
                await self._ask(client, *game)
                await asyncio.sleep(THINKING_SECONDS * 2 * choose.random())

    async def _ask(self, client: AsyncDejavuClient, game_id: str, pattern: Sequence[float]) -> None:
        """Retry a request until it succeeds; unacknowledged requests are safe to retry."""
        result = self._result
        while True:
            before, start = (self._outage, self._outages), time.monotonic()
            try:
                forecast = await client.predict(pattern, horizon=HALFTIME, game_id=game_id, timeout=self._deadline)
            except DejavuClientError as error:
                if self._outage or before != (False, self._outages):
                    result.errors_without_server[type(error).__name__] += 1
                else:
                    result.errors[repr(error)] += 1
                await asyncio.sleep(THINKING_SECONDS)
                continue
            result.slowest_seconds = max(result.slowest_seconds, time.monotonic() - start)
            self.answers.append(Answer(game_id, forecast.sequence, forecast.model_version))
            self._answered.set()
            if game_id and self.acknowledged.setdefault(game_id, forecast.sequence) != forecast.sequence:
                result.changed_on_retry += 1
            return


@asynccontextmanager
async def running_clients(
    result: LoadResult, url: str, addresses: Sequence[str], seed: int, deadline: float | None = None
) -> AsyncIterator[Clients]:
    """Run clients of servers within the block; then compare what they received with the ledger."""
    clients = Clients(result, addresses, seed, deadline)
    async with clients.running():
        yield clients
    result.calls = len(clients.answers)
    await judge(result, url, clients.acknowledged, clients.subscribers)


async def judge(
    result: LoadResult, url: str, acknowledged: Mapping[str, int], subscribers: Sequence[Subscriber]
) -> None:
    """Compare acknowledged forecasts and streams with the ledger."""
    ledger = await Ledger.open(url)
    order: list[tuple[int, str]] = []
    try:
        while page := await ledger.read_after(order[-1][0] if order else 0, 1000):
            order.extend((entry.sequence, entry.game_id) for entry in page)
    finally:
        await ledger.close()
    recorded = dict(order)
    result.entries = len(order)
    result.acknowledged = len(acknowledged)
    result.missing = sum(recorded.get(sequence) != game for game, sequence in acknowledged.items())
    result.twice = len(order) - len(set(recorded.values()))
    for each in subscribers:
        received = each.sequences
        result.messages += len(received)
        result.dials += max(each.connections - 1, 0)
        result.streams_lost += len(recorded.keys() - set(received))
        result.streams_twice += len(received) - len(set(received))
        result.streams_out_of_order += sum(later < earlier for earlier, later in pairwise(received))
    try:
        await asyncio.to_thread(verify, url)
    except Exception as error:
        result.broken_chain = str(error)


def new_ledger(stack: ExitStack, folder: Path, *, postgres: bool) -> tuple[str, PostgresServer | None]:
    """Return the URL of a ledger, in SQLite or in a PostgreSQL server of its own, and that server."""
    if not postgres:
        return f"sqlite:///{folder / 'ledger.sqlite3'}", None
    database = stack.enter_context(own_server())
    return database.url(database.new_database()), database


def new_server(stack: ExitStack, ledger: str, *options: str) -> Restartable:
    """Start a server that can be started again on its port and ledger."""
    arguments = ("--workers", str(WORKERS), "--ledger", ledger, *options)
    return Restartable(lambda listen: stack.enter_context(spawned_server("--listen", listen, *arguments, standby=True)))


def kill_worker(server: SpawnedServer, choose: random.Random) -> float:
    """Kill a worker; return the seconds until its replacement serves."""
    worker = choose.choice(server.workers)
    known = {entry["worker"] for entry in server.events if entry["event"] == "serving"}
    start = time.monotonic()
    os.kill(worker.pid, signal.SIGKILL)
    server.wait_for("serving", lambda entry: entry["worker"] not in known)
    return time.monotonic() - start
