"""Closed-loop callers of Predict in a separate process: each sends its next call when the previous one is answered.

`bench.latency` runs it with `python -m bench.load`. Every line of standard input is an Order; every line of standard
output is the resulting Timings, both as JSON. All servers are called by the same code, with requests serialized in
advance.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, TypeVar

import grpc
import uvloop

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu_feed.pattern import QUARTER_SECONDS
from dejavu_feed.teams import TEAMS
from dejavu_models.types import Horizon

SERVICE = pb.DESCRIPTOR.services_by_name["PredictionService"].full_name
METHOD = f"/{SERVICE}/Predict"

TEAM_CODES = sorted(TEAMS)
LEVELS = [tenths / 10 for tenths in range(1, 10)]


@dataclass(frozen=True, slots=True)
class Order:
    """Calls to make.

    Attributes:
        address: HOST:PORT of the server.
        callers: number of concurrent callers, each with its own connection.
        calls: number of calls that they share.
        first: number of the first request; each number has its own pattern and, if `named`, its own game.
        named: whether the requests name a game.
        extras: whether they request every extra: explanation, team strength, nine quantiles.
        minutes: minutes of the game, used in turn; the horizon is halftime before the half, then the final.
        seed: seed of the patterns.
        moments: whether they ask for half a minute after the pattern.
    """

    address: str
    callers: int
    calls: int
    first: int
    named: bool
    extras: bool
    minutes: Sequence[int]
    seed: int
    moments: bool = False


OrderT = TypeVar("OrderT", bound=Order)


@dataclass(frozen=True, slots=True)
class Timings:
    """Timings of an order.

    Attributes:
        seconds: time from the first call to the last response.
        each: latency of every successful call, in seconds.
        failed: number of failed calls.
        begun: when each of the successful calls began, in seconds of a clock that all processes have in common.
    """

    seconds: float
    each: list[float]
    failed: int
    begun: list[float] = field(default_factory=list)


def request(number: int, order: Order) -> pb.PredictRequest:
    """Return the request with a number; deterministic."""
    rng = random.Random(f"{order.seed}-{number}")
    minute = order.minutes[number % len(order.minutes)]
    walk = accumulate(rng.choice((-3, -2, 0, 0, 2, 3)) for _ in range(minute))
    game_id = f"99{number:08d}" if order.named else ""  # no NBA game id starts with 99
    plain = pb.PredictRequest(
        game_id=game_id,
        pattern=walk,
        horizon=HORIZON_HALFTIME if minute <= Horizon.HALFTIME.last_slot else HORIZON_FINAL,
    )
    if order.moments:
        seconds = 60 * minute + 30
        plain.moment.period = 1 + seconds // QUARTER_SECONDS
        plain.moment.seconds_left = QUARTER_SECONDS - seconds % QUARTER_SECONDS
        plain.moment.differential = round(plain.pattern[-1])
    if order.extras:
        home, away = rng.sample(TEAM_CODES, 2)
        plain.MergeFrom(
            pb.PredictRequest(return_explanation=True, home_team=home, away_team=away, quantile_levels=LEVELS)
        )
    return plain


async def ask(order: Order) -> Timings:
    """Run an order; connect before the measurement starts."""
    numbers = range(order.first, order.first + order.calls)
    return await timed(order, METHOD, [request(number, order).SerializeToString() for number in numbers])


async def timed(
    order: Order, method: str, bodies: Sequence[bytes], is_complete: Callable[[bytes], bool] = lambda _: True
) -> Timings:
    """Make the calls of an order; connect before the measurement starts.

    Args:
        order: has the server, and the number of callers that share the calls.
        method: path of the method.
        bodies: the serialized requests, one for each call.
        is_complete: returns whether a response has everything requested; other calls count as failed.
    """
    requests = iter(bodies)
    each: list[float] = []
    begun: list[float] = []
    failed = 0

    async def caller(channel: grpc.aio.Channel, remaining: Iterator[bytes]) -> None:
        nonlocal failed
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        for body in remaining:
            start = time.perf_counter()
            try:
                response = await call(body, timeout=30.0)
            except grpc.aio.AioRpcError:
                failed += 1
                continue
            taken = time.perf_counter() - start
            if is_complete(response):
                each.append(taken)
                begun.append(start)
            else:
                failed += 1

    async with AsyncExitStack() as stack:
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(order.address, options))
            for _ in range(order.callers)
        ]
        async with asyncio.timeout(30):
            await asyncio.gather(*(channel.channel_ready() for channel in channels))
        start = time.perf_counter()
        await asyncio.gather(*(caller(channel, requests) for channel in channels))
        return Timings(time.perf_counter() - start, each, failed, begun)


async def answer_orders(kind: type[OrderT], ask: Callable[[OrderT], Coroutine[Any, Any, Timings]]) -> None:
    """Run the orders from standard input, one after the other."""
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(asdict(await ask(kind(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    uvloop.run(answer_orders(Order, ask))
