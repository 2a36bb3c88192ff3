"""Start of a server, and memory of one that has answered calls."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import grpc
from bench.callers import INFER, PREDICT, Order, call
from bench.performance.measuring import (
    DEJAVU,
    ECHO,
    MLSERVER,
    CallsFailed,
    Contest,
    Section,
    Setting,
    alternate,
    mlserver,
    plural,
    what_if_response,
)
from bench.performance.samples import Run
from bench.servers import RECONNECT_SOON, Server, create_ledger, dejavu_server, echo_server, process_on
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.processes.connections import free_port
from tests.support.processes.servers import spawned_server

START_CASE, MEMORY_CASE = "until it serves", "after calls"
AS_BY_DEFAULT, ONE_WORKER = "Dejavu, as by default", "Dejavu, one worker"
SECONDS = 60.0
CALLERS = 16
MEGABYTES_A_MEBIBYTE = 2**20 / 1e6


def seconds_to_serving(*options: str, standby: bool) -> dict[str, float]:
    """Start a `dejavu-server` in a new interpreter; return the seconds until its health service says SERVING."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = f"sqlite:///{folder}/ledger.sqlite3"
        asyncio.run(create_ledger(ledger))
        address = f"127.0.0.1:{free_port()}"
        start = time.perf_counter()
        arguments = ("--listen", address, "--ledger", ledger, *options)
        with spawned_server(*arguments, standby=standby, new_interpreter=True):
            wait_until_serving(address)
            return {"seconds": time.perf_counter() - start}


def wait_until_serving(address: str) -> None:
    """Wait until the health service of an address says SERVING.

    Raises:
        grpc.RpcError: if it does not within SECONDS.
    """
    with grpc.insecure_channel(address, [*RECONNECT_SOON, ("grpc.use_local_subchannel_pool", 1)]) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        told = health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS, wait_for_ready=True)
        next(each for each in told if each.status == health_pb2.HealthCheckResponse.SERVING)


def seconds_to_enter(start: Callable[[], AbstractContextManager[object]]) -> Callable[[], dict[str, float]]:
    """Return a function that measures the seconds from the start of a server until it has answered."""

    def take() -> dict[str, float]:
        before = time.perf_counter()
        with start():
            return {"seconds": time.perf_counter() - before}

    return take


def measure_start(setting: Setting, run: Run) -> None:
    """Measure starts."""
    cpus = setting.servers | setting.callers
    contests = [
        Contest(START_CASE, ECHO, seconds_to_enter(partial(echo_server, cpus))),
        Contest(START_CASE, ONE_WORKER, partial(seconds_to_serving, "--workers", "1", standby=False)),
        Contest(START_CASE, AS_BY_DEFAULT, partial(seconds_to_serving, standby=True)),
    ]
    if setting.mlserver:
        contests.append(Contest(START_CASE, MLSERVER, seconds_to_enter(partial(mlserver, setting))))
    alternate(setting, run, START.name, contests)


def of_workers(workers: int) -> str:
    """Return the contender of a number of workers."""
    return f"{DEJAVU}, {plural(workers, 'worker')}"


def after_calls(
    setting: Setting, start: Callable[[], AbstractContextManager[Server]], method: str = PREDICT
) -> Callable[[], dict[str, float]]:
    """Return a function that starts a server, calls it, and measures its memory (PSS) in MB."""

    def take() -> dict[str, float]:
        with process_on(setting.callers) as callers, start() as server:
            order = Order(server.address, CALLERS, setting.size(800, 2 * CALLERS), method=method)
            if failed := callers.submit(call, order).result().failed:
                raise CallsFailed(f"{failed} of {order.calls} calls to {order.address} failed")
            megabytes = MEGABYTES_A_MEBIBYTE * server.pss_mib()
            return {
                "worker_mb": megabytes / len(server.serving),
                "workers_mb": megabytes,
                "all_mb": MEGABYTES_A_MEBIBYTE * server.all_pss_mib(),
            }

    return take


def measure_memory(setting: Setting, run: Run) -> None:
    """Measure memory; servers have all CPUs, as their speed does not matter."""
    setting = replace(setting, servers=setting.servers | setting.callers)
    with dejavu_server(setting.servers) as server:
        response = what_if_response(server)
    contests = [Contest(MEMORY_CASE, ECHO, after_calls(setting, partial(echo_server, setting.servers, response)))]
    for workers in setting.sizes((1, 2, 4), (1, 2)):
        start = partial(dejavu_server, setting.servers, workers=workers)
        contests.append(Contest(MEMORY_CASE, of_workers(workers), after_calls(setting, start)))
    if setting.mlserver:
        contests.append(Contest(MEMORY_CASE, MLSERVER, after_calls(setting, partial(mlserver, setting), INFER)))
    alternate(setting, run, MEMORY.name, contests)


START = Section(
    name="start",
    title="Start",
    text=(
        "Until the health service says SERVING, with a ledger that exists, on all CPUs; by default there are two"
        " workers and a fork server. MLServer, on the CPU of servers: until it says that its model is ready."
    ),
    columns={"seconds": "seconds"},
    measure=measure_start,
    base=ECHO,
)
MEMORY = Section(
    name="memory",
    title="Memory",
    text=(
        f"Proportional set size (PSS) after what-ifs of {CALLERS} callers, in MB of 10⁶ bytes. All processes are the"
        " workers, the supervisor and the fork server."
    ),
    columns={"worker_mb": "a worker, MB", "workers_mb": "all workers, MB", "all_mb": "all processes, MB"},
    measure=measure_memory,
)
