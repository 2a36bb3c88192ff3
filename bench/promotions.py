"""Promotes and rolls back models on two servers with one ledger, while clients publish and subscribe.

Run with `python -m bench.promotions --rounds 100` from the project's folder. Every other round promotes the challenger,
a variant of the shipped bundle, the others roll back; in one round in ten a worker is killed (kill -9) while the change
is made. The clients and their comparison with the ledger are those of `bench.kills`. Checks besides:

- Every recorded forecast was made by the champion at its sequence, every answer is in the ledger with its model, and
  every what-if was answered by a model that was the champion.
- No change is refused, but one whose model a killed worker was loading: that one is made again after the time that the
  refusal states. At the end all workers agree.

Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import grpc
from bench.clients import (
    CATCH_UP_SECONDS,
    PASSING,
    WORKERS,
    Answer,
    LoadResult,
    kill_worker,
    new_ledger,
    new_server,
    running_clients,
)
from bench.result import program
from tests.support.builders.bundles import publish_variant
from tests.support.processes.servers import SpawnedServer

from dejavu.v1 import model_service_pb2 as models_pb
from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.model_service_pb2_grpc import ModelServiceStub
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub
from dejavu_ledger import Ledger
from dejavu_ledger.queries.model_changes import KnownRoster, read_changes
from dejavu_ledger.records import IssuedForecast
from dejavu_server.coordination.model_workers import REPORT_COUNTS
from dejavu_store.bundle_store import ModelStore
from dejavu_store.stages import ModelAction

KILL_EVERY: Final = 10

WISH_SECONDS: Final = int(REPORT_COUNTS.total_seconds())
"""Time for which a model that a worker was loading when it ended is not loaded again."""

CALL_SECONDS: Final = 30.0
"""Deadline of a publisher's call: a slow call on a busy machine is no failure; the result has the longest duration."""


@dataclass
class PromotionResult(LoadResult):
    """Result of a run of promotions.

    Attributes:
        change_seconds: from the request for each change to its answer.
        not_by_champion: recorded forecasts that were not made by the champion at their sequence.
        misquoted: answers that the ledger does not have, or has with a different game or model.
        never_champion: what-ifs answered by a model that was never the champion.
        disagreeing: workers whose model at the end is not the champion → their model.
        failed_changes: changes that were refused, by reason.
    """

    MUST_BE_EMPTY: ClassVar[tuple[str, ...]] = (
        *LoadResult.MUST_BE_EMPTY,
        *("not_by_champion", "misquoted", "never_champion", "disagreeing", "failed_changes"),
    )
    change_seconds: list[float] = field(default_factory=list)
    not_by_champion: int = 0
    misquoted: int = 0
    never_champion: int = 0
    disagreeing: dict[str, str] = field(default_factory=dict)
    failed_changes: Counter[str] = field(default_factory=Counter)


class Operator:
    """Changes models through any of the servers; repeats a call if the server has ended."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], choose: random.Random) -> None:
        self._stubs: list[Any] = [ModelServiceStub(each) for each in channels]
        self._choose = choose

    async def _call(self, method: str, request: Any) -> None:
        while True:
            try:
                await getattr(self._choose.choice(self._stubs), method)(request, timeout=CATCH_UP_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in PASSING:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def promote(self, version: str) -> None:
        """Stage a model and make it the champion."""
        await self._call("LoadModel", models_pb.LoadModelRequest(model_version=version, reason="bench"))
        await self._call("PromoteModel", models_pb.PromoteModelRequest(model_version=version, force=True))

    async def roll_back(self, version: str) -> None:
        """Make the previous model the champion instead of this one."""
        await self._call("RollbackModel", models_pb.RollbackModelRequest(from_version=version))


async def run(options: argparse.Namespace, folder: Path) -> PromotionResult:
    """Run the rounds and check the results."""
    result, choose = PromotionResult(), random.Random(options.seed)
    challenger = publish_variant(folder / "challenger", 0.3)
    ModelStore.open(folder / "store").put(folder / "challenger")
    async with AsyncExitStack() as stack:
        processes = stack.enter_context(ExitStack())
        url, _ = new_ledger(processes, folder, postgres=options.postgres)
        servers = [new_server(processes, url, "--model-store", str(folder / "store")) for _ in range(2)]
        addresses = [each.address for each in servers]
        channels = [await stack.enter_async_context(grpc.aio.insecure_channel(each)) for each in addresses]
        operator = Operator(channels, choose)
        async with running_clients(result, url, addresses, options.seed, CALL_SECONDS) as clients:
            async for number in clients.rounds(options.rounds):
                killed = choose.choice(servers).server
                kill = asyncio.create_task(_kill(killed, choose)) if _kills(number) else None
                began = time.monotonic()
                change = operator.roll_back if number % 2 else operator.promote
                try:
                    if not await _changed(change, challenger, killing=kill is not None):
                        await asyncio.sleep(WISH_SECONDS)  # as the refusal says
                        await change(challenger)
                except grpc.aio.AioRpcError as error:
                    result.failed_changes[f"{error.code().name}: {error.details()}"] += 1
                result.change_seconds.append(time.monotonic() - began)
                if kill is not None:
                    result.back_seconds.append(await kill)
        served_by = await served(addresses)
        result.twice = result.changed_on_retry = 0  # a new champion answers a repeated request with a revision
        await judge_champions(result, url, clients.answers, served_by)
    return result


async def _kill(server: SpawnedServer, choose: random.Random) -> float:
    """Kill a worker within the next 0.3 s; return the seconds until its replacement serves."""
    await asyncio.sleep(0.3 * choose.random())
    return await asyncio.to_thread(kill_worker, server, choose)


def _kills(number: int) -> bool:
    """Return whether a worker is killed in a round: in one of KILL_EVERY, promotions and rollbacks in turn."""
    tens, place = divmod(number, KILL_EVERY)
    return place == KILL_EVERY - 1 - tens % 2


async def _changed(change: Callable[[str], Awaitable[None]], version: str, *, killing: bool) -> bool:
    """Change the champion; return False if a worker is killed while it loads the model, which refuses the change."""
    try:
        await change(version)
    except grpc.aio.AioRpcError as error:
        if killing and f"is not retried for {WISH_SECONDS} s" in (error.details() or ""):
            return False
        raise
    return True


async def served(addresses: Sequence[str]) -> dict[str, str]:
    """Return the model with which each worker answers, by its name."""
    served: dict[str, str] = {}
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with asyncio.timeout(CATCH_UP_SECONDS):
        while len(served) < len(addresses) * WORKERS:
            for address in addresses:
                async with grpc.aio.insecure_channel(address, options) as channel:
                    call = PredictionServiceStub(channel).Predict(
                        pb.PredictRequest(pattern=[random.uniform(-20, 20) for _ in range(18)])
                    )
                    answer = await call
                    metadata = dict(await call.trailing_metadata())
                    served[str(metadata["dejavu-worker"])] = answer.forecast.model_version
    return served


async def judge_champions(result: PromotionResult, url: str, answers: Sequence[Answer], served: dict[str, str]) -> None:
    """Compare the models of answers with the champions in the ledger.

    Args:
        result: receives the findings.
        url: the ledger.
        answers: all answers.
        served: worker → the model that it uses at the end.
    """
    ledger = await Ledger.open(url)
    recorded: dict[int, IssuedForecast] = {}
    try:
        last = 0
        while page := await ledger.read_after(last, 1000):
            recorded |= {entry.sequence: entry for entry in page if isinstance(entry, IssuedForecast)}
            last = page[-1].sequence
        changes = await ledger.read(read_changes)
        roster = await ledger.read(KnownRoster().read)
    finally:
        await ledger.close()
    switches = [each for each in changes if each.action in {ModelAction.PROMOTE, ModelAction.ROLLBACK}]
    starts, champions = [each.sequence for each in switches], [each.model_version for each in switches]
    for sequence, entry in recorded.items():
        place = bisect_left(starts, sequence) - 1
        result.not_by_champion += place < 0 or champions[place] != entry.forecast.model_version
    for answer in answers:
        if answer.sequence:
            found = recorded.get(answer.sequence)
            quoted = None if found is None else (found.game_id, found.forecast.model_version)
            result.misquoted += quoted != (answer.game_id, answer.version)
        else:
            result.never_champion += answer.version not in champions
    result.rounds |= Counter(each.action.value for each in switches)
    result.disagreeing = {worker: version for worker, version in served.items() if version != roster.champion}


if __name__ == "__main__":
    sys.exit(program(__doc__, run, rounds=100, postgres=False))
