"""Memory of workers that have answered calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from bench.latency import Server
from bench.performance.measuring import (
    ECHO,
    MLSERVER,
    CallsFailed,
    Contest,
    alternate,
    callers_process,
    new_order,
    plural,
)
from bench.performance.processes.callers import INFER, PREDICT
from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.servers import dejavu, echo, mlserver, what_if_response
from bench.performance.setting import Setting

NAME = "memory"
CASE = "after calls"
MEGABYTES_A_MEBIBYTE = 2**20 / 1e6

CALLERS = 16


def contender_of(workers: int) -> str:
    """Return the contender of a number of workers."""
    return f"Dejavu, {plural(workers, 'worker')}"


def after_calls(
    setting: Setting, start: Callable[[], AbstractContextManager[Server]], protocol: str = PREDICT
) -> Callable[[], dict[str, float]]:
    """Return a function that starts a server, calls it, and measures its memory (PSS) in MB."""

    def take() -> dict[str, float]:
        with callers_process(setting) as callers, start() as server:
            order = new_order(server, CALLERS, setting.size(800, 2 * CALLERS), protocol=protocol)
            if failed := callers.ask(order).failed:
                raise CallsFailed(f"{failed} of {order.calls} calls to {order.address} failed")
            megabytes = MEGABYTES_A_MEBIBYTE * server.pss_mib()
            return {
                "worker_mb": megabytes / (1 + len(server.more_workers)),
                "workers_mb": megabytes,
                "all_mb": MEGABYTES_A_MEBIBYTE * server.all_pss_mib(),
            }

    return take


def measure(setting: Setting, run: Run) -> None:
    """Measure memory; servers have all CPUs, as their speed does not matter."""
    setting = replace(setting, servers=setting.servers | setting.callers)
    with dejavu(setting) as server:
        response = what_if_response(server)
    contests = [Contest(CASE, ECHO, after_calls(setting, partial(echo, setting, response)))]
    for workers in setting.sizes((1, 2, 4), (1, 2)):
        start = partial(dejavu, setting, workers=workers)
        contests.append(Contest(CASE, contender_of(workers), after_calls(setting, start)))
    if setting.mlserver:
        contests.append(Contest(CASE, MLSERVER, after_calls(setting, partial(mlserver, setting), INFER)))
    alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="Memory",
    text=(
        f"Proportional set size (PSS) after what-ifs of {CALLERS} callers, in MB of 10⁶ bytes: each process counts its"
        " part of shared pages. All processes are the workers, the supervisor and the fork server."
    ),
    columns={"worker_mb": "a worker, MB", "workers_mb": "all workers, MB", "all_mb": "all processes, MB"},
    measure=measure,
    plot="memory",
)
