"""Clients that publish forecasts and follow the stream while servers are killed, restarted or change their model.

Publishers request forecasts with the Python client. Half of the subscribers use the Python client, half are bare stubs,
which hide no repeated or lost message. At the end everything is compared with the ledger (`judge`).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, TypeVar

import grpc

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import HALFTIME, AsyncDejavuClient
from dejavu_client.errors import DejavuClientError
from dejavu_ledger import Ledger
from dejavu_ledger.audit.verification import verify

THINKING_SECONDS = 0.05
"""Mean pause of a publisher after each response; limits the load, since every subscriber gets each forecast."""

CALLS_BETWEEN_ROUNDS = 80
CATCH_UP_SECONDS = 120.0
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}

_T = TypeVar("_T")


@dataclass
class LoadResult:
    """Result of a run under load: first the numbers of attempts, then the counts that must be 0 or empty."""

    rounds: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    slowest_seconds: float = 0.0
    errors_without_server: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    entries: int = 0
    messages: int = 0
    dials: int = 0
    back_seconds: list[float] = field(default_factory=list)
    missing: int = 0
    twice: int = 0
    changed_on_retry: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    streams_lost: int = 0
    streams_twice: int = 0
    streams_out_of_order: int = 0
    orphans: int = 0
    broken_chain: str = ""

    def breaches(self) -> list[str]:
        """Return the names of the failed checks."""
        checked = ("missing", "twice", "changed_on_retry", "errors", "streams_lost", "streams_twice")
        return [name for name in (*checked, "streams_out_of_order", "orphans", "broken_chain") if getattr(self, name)]

    def count_round(self, kind: str) -> None:
        """Count a round of a kind."""
        self.rounds[kind] = self.rounds.get(kind, 0) + 1


class Answer(NamedTuple):
    """An answer to a publisher; a what-if has no game, and sequence 0."""

    game_id: str
    sequence: int
    version: str


class Publishers:
    """Clients that request forecasts of games, repeat some requests, and send what-ifs in between.

    Args:
        address: addresses of the servers.
        seed: seed of the games.
        timeout: deadline of a call in seconds; 0: the client's default.

    Attributes:
        answers: all answers.
        acknowledged: game → sequence in the response.
        slowest: duration of the slowest successful call, in seconds.
        changed: number of repeated requests that returned a different sequence.
        errors: errors of calls while a server was running.
        without_server: types of errors of calls while no server was running.
    """

    def __init__(self, address: str, seed: int, timeout: float = 0.0) -> None:
        self._address = address
        self._seed = seed
        self._timeout = timeout or None
        self.answers: list[Answer] = []
        self.acknowledged: dict[str, int] = {}
        self.slowest = 0.0
        self.changed = 0
        self.errors = Counter[str]()
        self.without_server = Counter[str]()
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

    async def more(self, number: int) -> None:
        """Wait for a number of further answers."""
        target = len(self.answers) + number
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while len(self.answers) < target:
                self._answered.clear()
                await self._answered.wait()

    def stop(self) -> None:
        """Let every publisher finish its current call, then stop it."""
        self._stop.set()

    async def publish(self, number: int) -> None:
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
        while True:
            before, start = (self._outage, self._outages), time.monotonic()
            try:
                forecast = await client.predict(pattern, horizon=HALFTIME, game_id=game_id, timeout=self._timeout)
            except DejavuClientError as error:
                if self._outage or before != (False, self._outages):
                    self.without_server[type(error).__name__] += 1
                else:
                    self.errors[repr(error)] += 1
                await asyncio.sleep(THINKING_SECONDS)
                continue
            self.slowest = max(self.slowest, time.monotonic() - start)
            self.answers.append(Answer(game_id, forecast.sequence, forecast.model_version))
            self._answered.set()
            if game_id and self.acknowledged.setdefault(game_id, forecast.sequence) != forecast.sequence:
                self.changed += 1
            return


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
    """Publishers and subscribers of some servers, from `start` to `finish`.

    Args:
        addresses: the servers.
        options: options of the program, with those of `add_client_options`.
        timeout: deadline of the publishers' calls in seconds; 0: the client's default.
    """

    def __init__(self, addresses: Sequence[str], options: argparse.Namespace, timeout: float = 0.0) -> None:
        self._options = options
        # Stubs use the first address that answers: half of them begin with the other end of the list.
        turned = (",".join(addresses), ",".join(reversed(addresses)))
        self.publishers = Publishers(turned[0], options.seed, timeout)
        self.subscribers = [Subscriber(turned[number // 2 % 2]) for number in range(options.subscribers)]
        self._following: list[asyncio.Task[None]] = []
        self._publishing: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Subscribe, then publish."""
        self._following = [
            asyncio.create_task(each.follow_by_client() if number % 2 else each.follow_by_stub())
            for number, each in enumerate(self.subscribers)
        ]
        async with asyncio.timeout(CATCH_UP_SECONDS):
            await unless_failed(self._following, asyncio.gather(*(each.stands.wait() for each in self.subscribers)))
        publishers = range(self._options.publishers)
        self._publishing = [asyncio.create_task(self.publishers.publish(number)) for number in publishers]

    async def answers(self) -> None:
        """Wait for CALLS_BETWEEN_ROUNDS answers; raise if a client has failed."""
        await unless_failed([*self._following, *self._publishing], self.publishers.more(CALLS_BETWEEN_ROUNDS))

    async def finish(self) -> None:
        """Stop publishing, and wait until every subscriber has all forecasts; the judge counts those that lack some."""
        self.publishers.stop()
        await asyncio.gather(*self._publishing)
        last = max(self.publishers.acknowledged.values())
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await unless_failed(self._following, asyncio.gather(*(each.reaches(last) for each in self.subscribers)))
        except TimeoutError:
            behind = [
                (number, each.sequences[-1:], each.connections)
                for number, each in enumerate(self.subscribers)
                if each.sequences[-1:] < [last]
            ]
            print(f"\nsubscribers that did not reach {last}, where they are, connections: {behind}", file=sys.stderr)
        for task in self._following:
            task.cancel()
        await asyncio.wait(self._following)

    async def judge(self, result: LoadResult, url: str) -> None:
        """Compare responses and streams with the ledger; see `judge`."""
        await judge(result, url, self.publishers, self.subscribers)


async def unless_failed(tasks: Sequence[asyncio.Task[None]], awaitable: Awaitable[_T]) -> _T:
    """Wait for an awaitable; raise if one of the tasks ends first."""
    waiting = asyncio.ensure_future(awaitable)
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            waiting.cancel()
            task.result()
            raise RuntimeError(f"{task.get_name()} ended too early")
    return await waiting


async def judge(result: LoadResult, url: str, publishers: Publishers, subscribers: Sequence[Subscriber]) -> None:
    """Compare responses and streams with the ledger."""
    ledger = await Ledger.open(url)
    order: list[tuple[int, str]] = []
    try:
        while page := await ledger.read_after(order[-1][0] if order else 0, 1000):
            order.extend((entry.sequence, entry.game_id) for entry in page)
    finally:
        await ledger.close()
    recorded = dict(order)
    result.entries = len(order)
    result.calls = len(publishers.answers)
    result.slowest_seconds = publishers.slowest
    result.acknowledged = len(publishers.acknowledged)
    result.missing = sum(recorded.get(sequence) != game for game, sequence in publishers.acknowledged.items())
    result.twice = len(order) - len(set(recorded.values()))
    result.changed_on_retry = publishers.changed
    result.errors = dict(publishers.errors)
    result.errors_without_server = dict(publishers.without_server)
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


def add_client_options(
    *, rounds: int = 50, servers: int = 0, help_of_postgres: str = ""
) -> Callable[[argparse.ArgumentParser], None]:
    """Return a function that adds the options of a program with clients.

    Args:
        rounds: default of --rounds.
        servers: default of --servers; 0: there is no such option.
        help_of_postgres: text for --postgres; empty: there is no such option.
    """

    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=rounds)
        parser.add_argument("--publishers", type=int, default=8)
        parser.add_argument("--subscribers", type=int, default=100)
        parser.add_argument("--workers", type=int, default=2)
        if servers:
            parser.add_argument("--servers", type=int, default=servers, help="number of servers with one ledger")
        if help_of_postgres:
            parser.add_argument("--postgres", action="store_true", help=help_of_postgres)

    return add


def load_report(result: LoadResult, rounds: str, seconds: float) -> list[tuple[str, str]]:
    """Return the lines of a report that all programs with clients print: names and texts."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in result.rounds.items())
    lost, twice = result.streams_lost, result.streams_twice
    lines = [
        (rounds, f"{sum(result.rounds.values())}: {kinds}; {seconds:.0f} s in all"),
        ("calls answered", f"{result.calls}; failed: {result.errors or 0}; slowest: {result.slowest_seconds:.2f} s"),
        ("  without a server", f"{sum(result.errors_without_server.values())} failed and were asked again"),
        ("acknowledged", f"{result.acknowledged}; missing: {result.missing}; twice: {result.twice}"),
        ("  asked again", f"answered otherwise: {result.changed_on_retry}"),
        ("streamed", f"{result.messages} forecasts, dialled again {result.dials} times"),
        ("  of each stream", f"lost: {lost}; twice: {twice}; out of order: {result.streams_out_of_order}"),
        ("ledger", f"{result.entries} entries; chain: {result.broken_chain or 'intact'}"),
    ]
    return [*lines, *spread("worker back after", result.back_seconds)]


def spread(name: str, seconds: Sequence[float]) -> list[tuple[str, str]]:
    """Return the line of a report with median and maximum of some durations; none without durations."""
    if not seconds:
        return []
    return [(name, f"{statistics.median(seconds):.2f} s (median), {max(seconds):.2f} s (longest)")]


def aligned(lines: Sequence[tuple[str, str]]) -> str:
    """Return names and texts as text."""
    return "\n".join(f"{name:20} {text}" for name, text in lines)
