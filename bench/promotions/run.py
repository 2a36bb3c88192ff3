"""Promotes and rolls back models on two servers with one ledger, while clients publish and subscribe.

Every other round promotes the challenger, the others roll back; in one round in ten a worker is killed (kill -9) while
the change is made. Publishers request what-ifs and forecasts of games, some of them repeatedly; subscribers follow the
stream. The results are compared with the ledger (judge.py): no call may fail, every recorded forecast must be made by
the champion at its sequence, every answer must be in the ledger, and at the end all workers must agree. With
`--postgres` the ledger is in a separate PostgreSQL server.

The challenger is a variant of the shipped bundle.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final

import grpc
from bench.kills import Subscriber, behind, unless_failed
from bench.promotions.judge import Answer, PromotionResult, judge, median_ms
from tests.support.builders.bundles import publish_variant
from tests.support.processes.postgres import own_server
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu.v1 import bundle_pb2
from dejavu.v1 import model_service_pb2 as models_pb
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_client import AsyncDejavuClient
from dejavu_client.errors import DejavuClientError
from dejavu_models.registry.store.store import ModelStore

PAUSE_SECONDS: Final = 0.03
"""Mean pause of a publisher after each answer."""

CALLS_BETWEEN: Final = 40
"""Calls that are answered between two changes."""

CALL_SECONDS: Final = 30.0
"""Deadline of a publisher's call."""

KILL_EVERY: Final = 10
SECONDS: Final = 120.0
"""Longest time of every wait."""

_PASSING: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


class Load:
    """Publishers, and the answers that they received.

    Args:
        target: addresses of the servers.
        seed: seed of the games.

    Attributes:
        answers: all answers.
        seconds: duration of each named call.
        errors: errors of calls.
    """

    def __init__(self, target: str, seed: int) -> None:
        self._target = target
        self._seed = seed
        self.answers: list[Answer] = []
        self.seconds: list[float] = []
        self.errors = Counter[str]()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Let every publisher finish its call."""
        self._stop.set()

    async def more(self, number: int) -> None:
        """Wait for a number of further answers."""
        target = len(self.answers) + number
        async with asyncio.timeout(SECONDS):
            while len(self.answers) < target:  # noqa: ASYNC110 - many publishers
                await asyncio.sleep(0.01)

    async def publish(self, number: int) -> None:
        """Run a publisher until it is stopped."""
        choose = random.Random(f"{self._seed}-{number}")
        games: list[tuple[str, list[float]]] = []
        # A slow call on a busy machine does not count as failed; the result has the longest duration.
        async with AsyncDejavuClient(self._target, timeout=CALL_SECONDS) as client:
            while not self._stop.is_set():
                pattern = [float(choose.randint(-20, 20)) for _ in range(18)]
                kind = choose.random()
                game_id = ""
                if kind < 0.6 or not games:
                    game_id = f"99{number:02d}{len(games):06d}"
                    games.append((game_id, pattern))
                elif kind < 0.8:
                    game_id, pattern = choose.choice(games)
                began = time.monotonic()
                try:
                    forecast = await client.predict(pattern, game_id=game_id)
                except DejavuClientError as error:
                    self.errors[repr(error)] += 1
                else:
                    self.answers.append(Answer(game_id, forecast.sequence, forecast.model_version))
                    if game_id:
                        self.seconds.append(time.monotonic() - began)
                await asyncio.sleep(PAUSE_SECONDS * 2 * choose.random())


class Operator:
    """Changes models through any of the servers; repeats a call if the server has ended."""

    def __init__(self, stubs: list[ModelServiceStub], choose: random.Random) -> None:
        self._stubs: list[Any] = list(stubs)
        self._choose = choose

    async def call(self, method: str, request: Any) -> Any:
        """Return the answer to a change; repeat it while a server is not available."""
        while True:
            try:
                return await getattr(self._choose.choice(self._stubs), method)(request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _PASSING:
                    raise
                await asyncio.sleep(0.05)

    async def register(self, manifest: bytes) -> None:
        """Register a bundle that is in the store."""

        async def header() -> Any:
            yield models_pb.RegisterBundleRequest(header=bundle_pb2.BundleHeader(manifest=manifest))

        [_] = [answer async for answer in self._stubs[0].RegisterBundle(header())]

    async def promote(self, version: str) -> None:
        """Stage a model and make it the champion."""
        await self.call("LoadModel", models_pb.LoadModelRequest(model_version=version, reason="bench"))
        await self.call("PromoteModel", models_pb.PromoteModelRequest(model_version=version, force=True))

    async def roll_back(self, version: str) -> None:
        """Make the previous model the champion instead of this one."""
        await self.call("RollbackModel", models_pb.RollbackModelRequest(from_version=version))


async def run(options: argparse.Namespace, folder: Path) -> PromotionResult:
    """Run the rounds and check the results."""
    result = PromotionResult()
    challenger = await asyncio.to_thread(publish_variant, folder / "challenger", 0.3)
    store = ModelStore.open(folder / "store")
    await asyncio.to_thread(store.put, folder / "challenger")
    with ExitStack() as databases:
        url = f"sqlite:///{folder / 'ledger.sqlite3'}"
        if options.postgres:
            database = await asyncio.to_thread(databases.enter_context, own_server())
            url = database.url(await asyncio.to_thread(database.new_database))
        await _run_rounds(options, folder, url, challenger, result)
    return result


async def _run_rounds(
    options: argparse.Namespace, folder: Path, url: str, challenger: str, result: PromotionResult
) -> None:
    """Run the rounds on a ledger and a store with the challenger, and check the results."""
    choose = random.Random(options.seed)
    arguments = ("--workers", str(options.workers), "--ledger", url, "--model-store", str(folder / "store"))
    with ExitStack() as servers_stack:
        servers = [
            await asyncio.to_thread(servers_stack.enter_context, spawned_server(*arguments, standby=True))
            for _ in range(options.servers)
        ]
        addresses = await asyncio.to_thread(lambda: [each.address for each in servers])
        target = ",".join(addresses)
        load = Load(target, options.seed)
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(grpc.aio.insecure_channel(each)) for each in addresses]
            operator = Operator([ModelServiceStub(each) for each in channels], choose)
            await operator.register((folder / "challenger" / "manifest.json").read_bytes())
            subscribers = [Subscriber(target) for _ in range(options.subscribers)]
            following = [
                asyncio.create_task(each.follow_by_client() if number % 2 else each.follow_by_stub())
                for number, each in enumerate(subscribers)
            ]
            await asyncio.gather(*(each.stands.wait() for each in subscribers))
            publishing = [asyncio.create_task(load.publish(number)) for number in range(options.publishers)]
            seconds = []
            for number in range(options.rounds):
                await load.more(CALLS_BETWEEN)
                kill = asyncio.create_task(_kill(servers, choose)) if _kills(number) else None
                change = operator.roll_back if number % 2 else operator.promote
                seconds.append(await _timed(_counted(result, change, challenger)))
                if kill is not None:
                    result.back_seconds.append(await kill)
                if not options.json:
                    print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
            await load.more(CALLS_BETWEEN)
            load.stop()
            await asyncio.gather(*publishing)
            last = max((each.sequence for each in load.answers), default=0)
            try:
                async with asyncio.timeout(SECONDS):
                    await unless_failed(following, asyncio.gather(*(each.reaches(last) for each in subscribers)))
            except TimeoutError:  # the judge counts their missing forecasts
                print(f"\n{behind(subscribers, last)}", file=sys.stderr)
                if os.environ.get("HANG"):
                    await asyncio.sleep(3000)
            for task in following:
                task.cancel()
            await asyncio.wait(following)
            served_by = await served(addresses, options.workers)
    result.errors = dict(load.errors)
    result.slowest_seconds = max(load.seconds, default=0.0)
    result.median_call_ms = median_ms(load.seconds)
    result.median_change_ms, result.slowest_change_ms = median_ms(seconds), 1000 * max(seconds, default=0.0)
    await judge(result, url, load.answers, subscribers, served_by)


def _kills(number: int) -> bool:
    """Return whether a worker is killed in a round: in one of KILL_EVERY, promotions and rollbacks in turn."""
    tens, place = divmod(number, KILL_EVERY)
    return place == KILL_EVERY - 1 - tens % 2


def _counted(
    result: PromotionResult, change: Callable[[str], Awaitable[None]], version: str
) -> Callable[[], Awaitable[None]]:
    """Return a function that makes a change, and counts it if it is refused."""

    async def make() -> None:
        try:
            await change(version)
        except grpc.aio.AioRpcError as error:
            reason = f"{error.code().name}: {error.details()}"
            result.failed_changes[reason] = result.failed_changes.get(reason, 0) + 1

    return make


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.monotonic()
    await work()
    return time.monotonic() - began


async def _kill(servers: list[SpawnedServer], choose: random.Random) -> float:
    """Kill a worker within the next 0.3 s; return the seconds until its replacement serves."""
    server = choose.choice(servers)
    worker = choose.choice(server.workers)
    known = {entry["worker"] for entry in server.events if entry.get("event") == "serving"}
    await asyncio.sleep(0.3 * choose.random())
    began = time.monotonic()
    os.kill(worker.pid, signal.SIGKILL)
    await asyncio.to_thread(server.wait_for, "serving", lambda entry: entry["worker"] not in known)
    return time.monotonic() - began


async def served(addresses: list[str], workers: int) -> dict[str, str]:
    """Return the model with which each worker answers, by its name."""
    served: dict[str, str] = {}
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with asyncio.timeout(SECONDS):
        while len(served) < len(addresses) * workers:
            for address in addresses:
                async with grpc.aio.insecure_channel(address, options) as channel:
                    call = PredictionServiceStub(channel).Predict(
                        pb.PredictRequest(pattern=[random.uniform(-20, 20) for _ in range(18)])
                    )
                    answer = await call
                    metadata = dict(await call.trailing_metadata())
                    served[str(metadata["dejavu-worker"])] = answer.forecast.model_version
    return served
