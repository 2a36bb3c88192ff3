"""The page's gateway: browsers that follow its events."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.page.run import measure as follow
from bench.performance.measuring import CallsFailed, Contest, alternate, plural
from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.setting import Setting

NAME = "page"
GATEWAY = "gateway"
RATE = 10.0


def browsers_of(setting: Setting) -> int:
    """Return the number of browsers."""
    return setting.size(200, 8)


def case_of(browsers: int) -> str:
    """Return the case of a number of browsers."""
    return plural(browsers, "browser")


def measure(setting: Setting, run: Run) -> None:
    """Measure the gateway: it shares the CPU of servers with the server, and browsers have the CPU of callers."""
    browsers, events = browsers_of(setting), setting.size(40, 8)

    def take() -> dict[str, float]:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, setting.callers)  # browsers inherit it
        try:
            with tempfile.TemporaryDirectory() as folder:
                result = asyncio.run(follow(browsers, events, RATE, Path(folder), setting.servers))
        finally:
            os.sched_setaffinity(0, before)
        if result.wrong:
            raise CallsFailed(f"browsers lost, repeated or reordered {result.wrong} events")
        return {name: float(value) for name, value in asdict(result).items()}

    alternate(setting, run, NAME, [Contest(case_of(browsers), GATEWAY, take)])


SECTION = Section(
    name=NAME,
    title="The page's gateway",
    text=(
        f"Browsers in one process follow the gateway's server-sent events, {RATE:g} a second; delays are measured from"
        " the computation of a forecast, before its commit, to its arrival at the last browser. Then the gateway is"
        " killed: the last column is the time until every browser has resumed and has every event"
        " (`python -m bench.page`)."
    ),
    columns={
        "p50_ms": "p50, ms",
        "p99_ms": "p99, ms",
        "cpu_us": "gateway CPU, µs a delivery",
        "kib_connected": "KiB a browser",
        "back_seconds": "all resumed, s",
    },
    measure=measure,
)
