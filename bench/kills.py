"""Kills workers and supervisors with SIGKILL, again and again, while clients publish and subscribe.

Run with `python -m bench.kills` from the project's folder; `make nightly` runs `--rounds 50`, with one server and with
`--servers 2` on one ledger. Each round kills a worker of a real server or, in one round in five, its supervisor. With
`--postgres` the ledger is in a PostgreSQL server, which is killed in one round in ten. Meanwhile clients request
forecasts, and others subscribe to the stream: half of them with the Python client, half with bare stubs, which hide no
repeated or lost message. At the end the results are checked against the ledger:

- No acknowledged forecast is missing or duplicated.
- Every stream has every forecast once and in the ledger's order.
- A client with the documented retries sees no error when a worker dies, nor when a whole server dies while another one
  runs. Calls that fail between the death of the only supervisor and the start of the next server, or while the
  database is down, are counted separately and retried.
- The hash chain is intact, and no worker outlives its supervisor.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import grpc
import psutil
from bench.result import Result
from bench.rounds import program
from tests.support.processes.postgres import own_server
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError
from dejavu_server.ledger import Ledger
from dejavu_server.ledger.audit.verification import verify

THINKING_SECONDS = 0.05
"""Mean pause of a publisher after each response; limits the load, since every subscriber gets each forecast."""

CALLS_BETWEEN_KILLS = 80
CATCH_UP_SECONDS = 120.0
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}

_T = TypeVar("_T")


class Publishers:
    """Clients that request forecasts of games, repeat some requests, and send what-ifs in between.

    Attributes:
        acknowledged: game → sequence in the response.
        calls: number of successful calls.
        slowest: duration of the slowest successful call, in seconds.
        changed: number of repeated requests that returned a different sequence.
        errors: errors of calls while a server was running.
        without_server: types of errors of calls while no server was running.
    """

    def __init__(self, address: str, seed: int) -> None:
        self._address = address
        self._seed = seed
        self.acknowledged: dict[str, int] = {}
        self.calls = 0
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

    async def answers(self, number: int) -> None:
        """Wait for a number of further responses."""
        target = self.calls + number
        async with asyncio.timeout(CATCH_UP_SECONDS):
            while self.calls < target:
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
                forecast = await client.predict(pattern, game_id=game_id)
            except DejavuClientError as error:
                if self._outage or before != (False, self._outages):
                    self.without_server[type(error).__name__] += 1
                else:
                    self.errors[repr(error)] += 1
                await asyncio.sleep(THINKING_SECONDS)
                continue
            self.calls += 1
            self.slowest = max(self.slowest, time.monotonic() - start)
            self._answered.set()
            if game_id and self.acknowledged.setdefault(game_id, forecast.sequence) != forecast.sequence:
                self.changed += 1
            return


class Subscriber:
    """Follows the stream from its start, and resumes after every lost connection.

    Attributes:
        sequences: sequences of all forecasts received, in order of arrival.
        connections: number of connections made.
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
        async with AsyncDejavuClient(self._address, channels=1) as client:
            async with aclosing(client.stream_predictions(heartbeats=True)) as events:
                async for event in events:
                    self._take(event)
            self.connections = client.stats.methods["StreamPredictions"].count

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


class Victim:
    """A server whose processes are killed; restarted on the same port and ledger."""

    def __init__(self, stack: ExitStack, ledger: str, workers: int) -> None:
        self._stack = stack
        self._arguments = ("--workers", str(workers), "--ledger", ledger)
        self._server = stack.enter_context(spawned_server(*self._arguments, standby=True))
        self.address = self._server.address
        self.orphans = 0
        self.logs = [self._server]

    def kill_worker(self, choose: random.Random) -> float:
        """Kill a worker; return the seconds until its replacement serves."""
        worker = choose.choice(self._server.workers)
        known = {entry["worker"] for entry in self._server.events if entry["event"] == "serving"}
        start = time.monotonic()
        os.kill(worker.pid, signal.SIGKILL)
        self._server.wait_for("serving", lambda entry: entry["worker"] not in known)
        return time.monotonic() - start

    def kill_supervisor(self) -> None:
        """Kill the supervisor, wait for its workers to exit, and start another server in its place."""
        workers = psutil.Process(self._server.process.pid).children()
        self._server.process.kill()
        _, alive = psutil.wait_procs(workers, timeout=20)
        self.orphans += sum(worker.status() != psutil.STATUS_ZOMBIE for worker in alive)
        self._server = self._stack.enter_context(
            spawned_server("--listen", self.address, *self._arguments, standby=True)
        )
        self.logs.append(self._server)
        _ = self._server.address


async def run(options: argparse.Namespace, folder: Path) -> Result:
    """Run the rounds and check the results."""
    choose = random.Random(options.seed)
    with ExitStack() as stack:
        database = await asyncio.to_thread(stack.enter_context, own_server()) if options.postgres else None
        url = f"sqlite:///{folder / 'ledger.sqlite3'}"
        if database is not None:
            url = database.url(await asyncio.to_thread(database.new_database))
        victims = [await asyncio.to_thread(Victim, stack, url, options.workers) for _ in range(options.servers)]
        addresses = [each.address for each in victims]
        publishers = Publishers(",".join(addresses), options.seed)
        # Stubs use the first address that answers: half of them begin with the other end of the list.
        turned = (",".join(addresses), ",".join(reversed(addresses)))
        subscribers = [Subscriber(turned[number // 2 % 2]) for number in range(options.subscribers)]
        following = [
            asyncio.create_task(each.follow_by_client() if number % 2 else each.follow_by_stub())
            for number, each in enumerate(subscribers)
        ]
        await unless_failed(following, asyncio.gather(*(each.stands.wait() for each in subscribers)))
        publishing = [asyncio.create_task(publishers.publish(number)) for number in range(options.publishers)]
        result = Result()
        rounds = Counter[str]()
        for number in range(options.rounds):
            victim = victims[choose.randrange(len(victims))]
            await unless_failed([*following, *publishing], publishers.answers(CALLS_BETWEEN_KILLS))
            if database is not None and number % 10 == 9:
                rounds["database"] += 1
                with publishers.outage():
                    await asyncio.to_thread(database.kill)
                    await asyncio.to_thread(database.start)
                    await publishers.answers(1)  # the ledger is open again
            elif number % 5 == 4:
                rounds["supervisor"] += 1
                with publishers.outage() if len(victims) == 1 else nullcontext():
                    await asyncio.to_thread(victim.kill_supervisor)
            else:
                rounds["worker"] += 1
                result.back_seconds.append(await asyncio.to_thread(victim.kill_worker, choose))
            if not options.json:
                print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
        await publishers.answers(CALLS_BETWEEN_KILLS)
        publishers.stop()
        await asyncio.gather(*publishing)
        last = max(publishers.acknowledged.values())
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await unless_failed(following, asyncio.gather(*(each.reaches(last) for each in subscribers)))
        except TimeoutError:  # the judge counts their missing forecasts
            print(f"\n{behind(subscribers, last)}", file=sys.stderr)
        for task in following:
            task.cancel()
        await asyncio.wait(following)
        await judge(result, url, publishers, subscribers)
        result.rounds = dict(rounds)
        result.orphans = sum(each.orphans for each in victims)
    return result


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


def behind(subscribers: Sequence[Subscriber], last: int) -> str:
    """Describe the subscribers that have not reached a sequence, with their positions and connections."""
    lag = [(n, each.sequences[-1:], each.connections) for n, each in enumerate(subscribers)]
    return f"subscribers that did not reach {last}, where they are, connections: {[x for x in lag if x[1] < [last]]}"


async def judge(result: Result, url: str, publishers: Publishers, subscribers: Sequence[Subscriber]) -> None:
    """Compare responses and streams with the ledger."""
    ledger = await Ledger.open(url)
    order: list[tuple[int, str]] = []
    try:
        while page := await ledger.read_after(order[-1][0] if order else 0, 1000):
            order.extend((entry.sequence, entry.game_id) for entry in page)
    finally:
        await ledger.close()
    recorded = dict(order)
    counts = Counter(game_id for _, game_id in order)
    result.entries = len(order)
    result.calls = publishers.calls
    result.slowest_seconds = publishers.slowest
    result.acknowledged = len(publishers.acknowledged)
    result.missing = sum(recorded.get(sequence) != game for game, sequence in publishers.acknowledged.items())
    result.twice = sum(count - 1 for count in counts.values())
    result.changed_on_retry = publishers.changed
    result.errors = dict(publishers.errors)
    result.errors_without_server = dict(publishers.without_server)
    expected = [sequence for sequence, _ in order]
    for each in subscribers:
        received = each.sequences
        result.messages += len(received)
        result.dials += each.connections - 1
        result.streams_lost += len(set(expected) - set(received))
        result.streams_twice += len(received) - len(set(received))
        result.streams_out_of_order += sum(later < earlier for earlier, later in pairwise(received))
    try:
        verify(url)
    except Exception as error:
        result.broken_chain = str(error)


def report(result: Result, seconds: float) -> str:
    """Format the results for people."""
    back = sorted(result.back_seconds)
    rounds = ", ".join(f"{count} of a {process}" for process, count in result.rounds.items())
    lines = [
        ("kills", f"{sum(result.rounds.values())}: {rounds}; {seconds:.0f} s in all"),
        ("calls answered", f"{result.calls}; failed: {result.errors or 0}; slowest: {result.slowest_seconds:.2f} s"),
        ("  without a server", f"{sum(result.errors_without_server.values())} failed and were asked again"),
        ("acknowledged", f"{result.acknowledged}; missing: {result.missing}; twice: {result.twice}"),
        ("  asked again", f"answered otherwise: {result.changed_on_retry}"),
        ("streamed", f"{result.messages} forecasts, dialled again {result.dials} times"),
        (
            "  of each stream",
            f"lost: {result.streams_lost}; twice: {result.streams_twice}; out of order: {result.streams_out_of_order}",
        ),
        ("ledger", f"{result.entries} entries; chain: {result.broken_chain or 'intact'}"),
        ("orphaned workers", f"{result.orphans}"),
    ]
    if back:
        lines.append(("worker back after", f"{statistics.median(back):.2f} s (median), {back[-1]:.2f} s (longest)"))
    return "\n".join(f"{name:20} {text}" for name, text in lines)


def main(arguments: Sequence[str] | None = None, show: Callable[[str], None] = print) -> int:
    """Run the program; return the exit code."""

    def add_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--servers", type=int, default=1, help="number of servers with one ledger")
        parser.add_argument("--postgres", action="store_true", help="keep the ledger in PostgreSQL, and kill that too")

    description = "kills workers and supervisors under load"
    return program(arguments, show, description=description, run=run, report=report, add_options=add_options)


if __name__ == "__main__":
    sys.exit(main())
