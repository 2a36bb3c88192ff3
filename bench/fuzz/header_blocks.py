"""Floods a server with header blocks that never end, while others call it: they must be answered, and memory bounded.

    python -m bench.fuzz.header_blocks [--seconds 30] [--connections 20] [--indexed]

Starts a server with two workers. Each connection calls a health check, which needs no token, and then continues one
header block until the server cuts it; a new connection follows. Other callers open a connection for each call. Exits
with 1 if a call of these fails, if a worker dies, or if one takes more memory than the margin. With --indexed, fields
take one byte: the server alone does not withstand that (docs/security.md, "Strangers").
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import psutil
from bench.fuzz import wire
from tests.support.processes.servers import spawned_server

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.prediction_service_pb2_grpc import PredictionServiceStub

CHECK, PREDICT = "/grpc.health.v1.Health/Check", "/dejavu.v1.PredictionService/Predict"

MARGIN_MEBIBYTES = 1000.0
"""Allowed growth of a worker: it took several thousand before such connections were cut, and 150 to 740 since. Several
connections are read for a tenth of a second before they are cut, or longer on a busy machine."""

CALL_SECONDS = 30.0
"""Deadline of the calls of others, generous for busy machines: without the cuts there was no answer for as long."""

LOOK_SECONDS = 0.05


class Attack:
    """State of a run.

    Attributes:
        sent: bytes of header blocks that were sent.
        cut: connections that the server has cut.
        codes: number of calls of others by code.
        largest: largest memory of each worker, in MiB.
    """

    def __init__(self, address: str, *, indexed: bool) -> None:
        self._address = address
        self._part = wire.more_of_block(3, indexed=indexed)
        self.sent = self.cut = 0
        self.codes = Counter[str]()
        self.largest = Counter[int]()

    async def flood(self) -> None:
        """Flood on one connection after the other."""
        host, _, port = self._address.rpartition(":")
        while True:
            with contextlib.suppress(ConnectionError):
                reader, writer = await asyncio.open_connection(host, int(port))
                tasks = [asyncio.create_task(self._send(writer)), asyncio.create_task(_read_to_end(reader))]
                try:
                    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    self.cut += 1
                finally:
                    for task in tasks:
                        task.cancel()
                    writer.transport.abort()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(wire.call(CHECK, wire.prefixed(b"")) + wire.begun_block(3, PREDICT))
            while True:
                writer.write(self._part)
                await writer.drain()
                self.sent += len(self._part)

    async def call(self) -> None:
        """Call as another caller, over a new connection each time."""
        while True:
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.insecure_channel(self._address, options) as channel:
                code = grpc.StatusCode.OK
                try:
                    request = pb.PredictRequest(pattern=[1.0] * 18)
                    await PredictionServiceStub(channel).Predict(request, timeout=CALL_SECONDS)
                except grpc.aio.AioRpcError as error:
                    code = error.code()
            self.codes[code.name] += 1
            await asyncio.sleep(0.1)

    async def measure(self, workers: Sequence[psutil.Process]) -> None:
        """Measure the memory of the workers."""
        while True:
            for worker in workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    used = worker.memory_info().rss // 1024**2
                    self.largest[worker.pid] = max(self.largest[worker.pid], used)
            await asyncio.sleep(LOOK_SECONDS)


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(65536):
            pass


async def attack(
    address: str, workers: Sequence[psutil.Process], connections: int, seconds: float, *, indexed: bool
) -> Attack:
    """Attack a server for some time; return the state at the end."""
    run = Attack(address, indexed=indexed)
    work = [run.flood() for _ in range(connections)] + [run.call() for _ in range(4)] + [run.measure(workers)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.gather(*work)
    return run


def main(arguments: Sequence[str] | None = None, show: Callable[[str], Any] = print) -> int:
    """Run the program; return the exit code."""
    parser = argparse.ArgumentParser(description="floods a server with header blocks that never end")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--indexed", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        ledger = f"sqlite:///{Path(folder) / 'ledger.sqlite3'}"
        with spawned_server("--workers", "2", "--ledger", ledger) as server:
            address, workers = server.address, server.workers
            before = {worker.pid: worker.memory_info().rss // 1024**2 for worker in workers}
            run = asyncio.run(attack(address, workers, options.connections, options.seconds, indexed=options.indexed))
            died = [worker.pid for worker in workers if worker not in server.workers]
    grown = {pid: run.largest[pid] - most for pid, most in before.items()}
    show(f"flood            {run.sent / 1e6:.0f} MB in header blocks; connections cut: {run.cut}")
    show(f"other callers    {run.codes['OK']} calls answered; failed: {run.codes.total() - run.codes['OK']}")
    show(f"workers          grew by {', '.join(str(most) for most in grown.values())} MiB; died: {len(died)}")
    kept = run.cut and run.codes["OK"] and set(run.codes) == {"OK"} and not died
    return 0 if kept and max(grown.values()) <= MARGIN_MEBIBYTES else 1


if __name__ == "__main__":
    sys.exit(main())
