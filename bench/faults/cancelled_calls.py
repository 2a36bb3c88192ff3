"""Measures what cancelled calls and streams leave behind in a client and in a worker.

A season has some 100,000 of them: browsers and programs that leave, calls whose callers do not wait. grpc.aio never
frees what a task reads that is cancelled (https://github.com/grpc/grpc/issues/43360). The client avoids it; in a worker
grpc.aio itself cancels the task of a call whose caller leaves, so it keeps the read of its request or the write of its
answer.

Run with `python -m bench.faults.cancelled_calls [--number 100000]`; prints bytes per call, of the second half of them.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Awaitable, Callable
from tempfile import TemporaryDirectory

from bench.network.memory import Memory
from bench.start.processes import anonymous_mib
from tests.support.builders.calls import PATTERN
from tests.support.processes.servers import spawned_server

from dejavu_client import AsyncDejavuClient

MOST_BYTES = (100.0, 300.0)
"""Bytes that a cancelled call or stream may leave behind in a client and in a worker."""

_AT_ONCE = 20


async def left_behind(
    server_memory: Memory,
    number: int,
    end_one: Callable[[AsyncDejavuClient], Awaitable[None]],
    client: AsyncDejavuClient,
) -> tuple[float, float]:
    """Make calls and cancel them; return the bytes that each leaves behind in this process and in the worker."""
    sizes = list[tuple[float, float]]()
    for _ in range(2):  # the first half warms up
        for _ in range(number // 2 // _AT_ONCE):
            await asyncio.gather(*(end_one(client) for _ in range(_AT_ONCE)))
        await asyncio.sleep(1)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # without it what was freed in between counts too
        [worker] = await server_memory.still()
        sizes.append((anonymous_mib(os.getpid()), worker))
    (client_before, worker_before), (client_after, worker_after) = sizes
    half = number / 2 / 1024 / 1024
    return (client_after - client_before) / half, (worker_after - worker_before) / half


async def cancel_stream(client: AsyncDejavuClient) -> None:
    """Subscribe, read one message and leave."""
    stream = client.stream_predictions(heartbeats=True)
    await anext(stream)
    await stream.aclose()


async def cancel_games(client: AsyncDejavuClient) -> None:
    """Subscribe to games, read one message and leave."""
    stream = client.stream_games(heartbeats=True)
    await anext(stream)
    await stream.aclose()


async def cancel_call(client: AsyncDejavuClient) -> None:
    """Make a call and do not wait for its answer."""
    call = asyncio.create_task(client.predict(PATTERN))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


KINDS = {"subscriptions": cancel_stream, "subscriptions to games": cancel_games, "calls": cancel_call}


async def measure(number: int) -> dict[str, tuple[float, float]]:
    """Return the bytes that each kind of cancelled call leaves behind in a client and in a worker."""
    found = dict[str, tuple[float, float]]()
    for kind, end_one in KINDS.items():
        with (
            TemporaryDirectory() as folder,
            spawned_server("--workers", "1", "--ledger", f"sqlite:///{folder}/ledger.sqlite3") as server,
        ):
            async with AsyncDejavuClient(server.address) as client:
                found[kind] = await left_behind(Memory(server), number, end_one, client)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and compare with the limit; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--number", type=int, default=100_000, help="calls of each kind")
    options = parser.parse_args(arguments)
    found = asyncio.run(measure(options.number))
    print(f"{'bytes left behind by a cancelled one':40}{'client':>10}{'worker':>10}")
    for kind, (client, worker) in found.items():
        print(f"{kind:40}{client:10.0f}{worker:10.0f}")
    return int(any(left > most for pair in found.values() for left, most in zip(pair, MOST_BYTES, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
