"""From the start of a server until it serves."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
from bench.overload.servers import RECONNECT_SOON, free_port
from bench.performance.measuring import ECHO, MLSERVER, Contest, alternate
from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.servers import mlserver
from bench.performance.setting import Setting
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.processes.servers import spawned_server

from bench import latency

NAME = "start"
CASE = "until it serves"
DEFAULT, ONE_WORKER = "Dejavu, as by default", "Dejavu, one worker"
SECONDS = 60.0
POLL_SECONDS = 0.01


def seconds_to_serving(setting: Setting, *options: str, standby: bool) -> dict[str, float]:
    """Start a `dejavu-server` in a new interpreter; return the seconds until its health service says SERVING."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = f"sqlite:///{folder}/ledger.sqlite3"
        asyncio.run(latency.create_ledger(ledger))
        address = f"127.0.0.1:{free_port()}"
        arguments = ("--listen", address, "--ledger", ledger, "--bundle", str(setting.bundle), "--allow-unfit")
        start = time.perf_counter()
        with spawned_server(*arguments, *options, standby=standby, new_interpreter=True):
            wait_until_serving(address)
            return {"seconds": time.perf_counter() - start}


def wait_until_serving(address: str) -> None:
    """Wait until the health service of an address says SERVING.

    Raises:
        grpc.RpcError: if it does not answer in SECONDS.
        TimeoutError: if it says something else for that long.
    """
    deadline = time.monotonic() + SECONDS
    with grpc.insecure_channel(address, [*RECONNECT_SOON, ("grpc.use_local_subchannel_pool", 1)]) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        serving = health_pb2.HealthCheckResponse.SERVING
        while health.Check(request, timeout=SECONDS, wait_for_ready=True).status != serving:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{address} does not serve after {SECONDS:g} s")
            time.sleep(POLL_SECONDS)


def seconds_to_enter(start: Callable[[], AbstractContextManager[object]]) -> Callable[[], dict[str, float]]:
    """Return a function that measures the seconds from the start of a server until it has answered."""

    def take() -> dict[str, float]:
        before = time.perf_counter()
        with start():
            return {"seconds": time.perf_counter() - before}

    return take


def measure(setting: Setting, run: Run) -> None:
    """Measure starts."""
    contests = [
        Contest(CASE, ECHO, seconds_to_enter(lambda: latency.echo_server(set(setting.servers | setting.callers), b""))),
        Contest(CASE, ONE_WORKER, lambda: seconds_to_serving(setting, "--workers", "1", standby=False)),
        Contest(CASE, DEFAULT, lambda: seconds_to_serving(setting, standby=True)),
    ]
    if setting.mlserver:
        contests.append(Contest(CASE, MLSERVER, seconds_to_enter(lambda: mlserver(setting))))
    alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="Start",
    text=(
        "From the start of the process until the health service says SERVING, with a ledger that exists, on all CPUs"
        " because there are no callers; by default there are two workers and a fork server. The echo serves once it has"
        " printed its address; MLServer, on the CPU of servers, once it says that its model is ready."
    ),
    columns={"seconds": "seconds"},
    measure=measure,
    base=ECHO,
)
