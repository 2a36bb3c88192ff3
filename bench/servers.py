"""Servers that benchmarks call, each pinned to some CPUs: `dejavu-server`, bare echoes and MLServer."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grpc
import psutil
import uvloop
from tests.support.processes.connections import free_port
from tests.support.processes.servers import SpawnedServer, spawned_server

from dejavu_ledger import Ledger

ROOT = Path(__file__).parents[1]

START_SECONDS = 180.0
"""How long all workers of a server may take to start, on one CPU that others may use too."""

POLL_SECONDS = 0.01

RECONNECT_SOON = [(f"grpc.{kind}_reconnect_backoff_ms", 100) for kind in ("initial", "min", "max")]
"""Options of a channel to a server that is starting: by default the second attempt to connect waits for a second."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test.

    Attributes:
        address: HOST:PORT it serves on.
        serving: the processes that serve.
        others: its other processes; for a `dejavu-server` the supervisor and the fork server.
    """

    address: str
    serving: tuple[psutil.Process, ...]
    others: tuple[psutil.Process, ...] = ()

    def cpu_seconds(self) -> float:
        """Return the CPU time that the serving processes have used so far, in seconds."""
        return sum(cpu_seconds(each.pid) for each in self.serving)

    def pss_mib(self) -> float:
        """Return the memory of the serving processes in MiB, with their share of shared pages."""
        return _pss_mib(self.serving)

    def all_pss_mib(self) -> float:
        """Return the memory of all its processes, in MiB."""
        return _pss_mib((*self.serving, *self.others))


def _pss_mib(processes: Collection[psutil.Process]) -> float:
    return sum(float(each.memory_full_info().pss) for each in processes) / 2**20


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far, in seconds.

    Uses the process's CPU clock, in nanoseconds: /proc counts in steps of 10 ms, a tenth of what a short round takes.

    Raises:
        OSError: if it has ended.
    """
    clock = ctypes.c_int()
    if failure := ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(failure, os.strerror(failure))
    return time.clock_gettime(clock.value)


def anonymous_mib(pid: int) -> float:
    """Return a process's anonymous memory in MiB. Its share of mapped files depends on other processes."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss_Anon:")) / 1024


@contextmanager
def pinned_to(cpus: Collection[int]) -> Iterator[None]:
    """Pin processes started inside the block to these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def process_on(cpus: Collection[int]) -> Iterator[ProcessPoolExecutor]:
    """Run a process on some CPUs that executes what is submitted to it, in order."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawned, os.sched_setaffinity, (0, cpus)) as process:
        process.submit(_start).result()
        yield process


def _start() -> None:
    event_loop()


@cache
def event_loop() -> asyncio.Runner:
    """Return the event loop of a process that runs one coroutine after the other."""
    return asyncio.Runner(loop_factory=uvloop.new_event_loop)


async def create_ledger(url: str) -> None:
    """Create an empty ledger."""
    await (await Ledger.open(url)).close()


@contextmanager
def pinned_server(cpus: Collection[int], *options: str, workers: int = 1, ledger: str = "") -> Iterator[SpawnedServer]:
    """Run a `dejavu-server` that computes every what-if: its cache is off.

    Args:
        cpus: the CPUs that it may use.
        options: further options.
        workers: number of workers.
        ledger: URL of its ledger; empty for a temporary one.
    """
    with ExitStack() as stack:
        ledger = ledger or f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/ledger.sqlite3"
        asyncio.run(create_ledger(ledger))  # so that the worker does not load the code that creates one
        arguments = ("--workers", str(workers), "--ledger", ledger, "--cache", "off", *options)
        with pinned_to(cpus):
            server = stack.enter_context(spawned_server(*arguments, standby=True))
        server.wait_for("listening", seconds=START_SECONDS)
        yield server


@contextmanager
def dejavu_server(cpus: Collection[int], *options: str, workers: int = 1, ledger: str = "") -> Iterator[Server]:
    """Run a `dejavu-server`, with its processes; arguments as of `pinned_server`."""
    with pinned_server(cpus, *options, workers=workers, ledger=ledger) as server:
        serving = server.workers
        supervisor = psutil.Process(server.process.pid)
        others = (supervisor, *(each for each in supervisor.children() if each not in serving))
        yield Server(server.address, tuple(serving), others)


@contextmanager
def echo_server(
    cpus: Collection[int], response: bytes = b"", event: bytes = b"", processes: int = 1, within: Sequence[str] = ()
) -> Iterator[Server]:
    """Run `bench.echo`; its processes share a port.

    Args:
        cpus: the CPUs that it may use.
        response: the serialized PredictResponse that it returns.
        event: the serialized event that it sends.
        processes: number of processes.
        within: command that executes each, for example `prlimit`.
    """
    address, serving = "127.0.0.1:0", []
    with ExitStack() as stack:
        for _ in range(processes):
            command = [*within, sys.executable, "-m", "bench.echo", address, response.hex(), event.hex()]
            with pinned_to(cpus):
                process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            serving.append(psutil.Process(process.pid))
        yield Server(address, tuple(serving))


@contextmanager
def mlserver(python: Path, cpus: Collection[int], bundle: Path) -> Iterator[Server]:
    """Run an MLServer of one process, which serves a bundle by `bench/performance/mlserver_model.py`.

    Args:
        python: a Python that has MLServer installed.
        cpus: the CPUs that it may use.
        bundle: folder of the bundle.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = (ROOT / "bench" / "performance" / "mlserver_model.py").read_text()
        Path(folder, "model.py").write_text(model)
        described = {"name": "dejavu", "implementation": "model.Dejavu", "parameters": {"uri": str(bundle)}}
        Path(folder, "model-settings.json").write_text(json.dumps(described))
        ports = {name: free_port() for name in ("grpc_port", "http_port", "metrics_port")}
        settings = {**ports, "parallel_workers": 0, "host": "127.0.0.1", "debug": False}
        Path(folder, "settings.json").write_text(json.dumps(settings))
        path = os.pathsep.join(str(ROOT / each) for each in ("common", "feed", "model_store"))
        with pinned_to(cpus):
            process = subprocess.Popen(
                [str(python), "-m", "mlserver.cli.main", "start", "."],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": path},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        try:
            address = f"127.0.0.1:{ports['grpc_port']}"
            _wait_until_mlserver_is_ready(address)
            yield Server(address, (psutil.Process(process.pid),))
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()


def _wait_until_mlserver_is_ready(address: str, seconds: float = 120.0) -> None:
    """Wait until an MLServer has loaded its models; it listens earlier."""
    with grpc.insecure_channel(address, RECONNECT_SOON) as channel:
        ready: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/inference.GRPCInferenceService/ServerReady"
        )
        deadline = time.monotonic() + seconds
        while ready(b"", timeout=seconds, wait_for_ready=True) == b"":  # a response without fields: not ready
            if time.monotonic() > deadline:
                raise TimeoutError(f"MLServer was not ready after {seconds:g} s")
            time.sleep(POLL_SECONDS)


def response_to(address: str, method: str, body: bytes) -> bytes:
    """Return a server's serialized response to one call."""
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        return call(body, timeout=30.0, wait_for_ready=True)
