"""Batches of 1 to 1,000 what-ifs, compared with an echo of equal batches and MLServer."""

from __future__ import annotations

from contextlib import ExitStack

from bench.performance.measuring import (
    DEJAVU,
    ECHO,
    MLSERVER,
    Contest,
    alternate,
    callers_process,
    new_order,
    timed_calls,
)
from bench.performance.processes.callers import BATCH, COLUMNS, INFER
from bench.performance.processes.echo import Answers
from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.servers import dejavu, echo_of_many, mlserver_beside, what_if_response
from bench.performance.setting import Setting

NAME = "batches"
AS_COLUMNS = "Dejavu, columns"
SIZES = (1, 10, 50, 100, 1000)
FORECASTS = 2000
"""Number of forecasts per round in each case, except for small batches."""


def case_of(size: int) -> str:
    """Return the case of a size."""
    return f"batch of {size:,}"


def calls_of(setting: Setting, size: int) -> int:
    """Return the number of batches to send: fewer if they are large, at least 3."""
    return setting.size(min(200, max(FORECASTS // size, 3)), 2)


def measure(setting: Setting, run: Run) -> None:
    """Measure batches."""
    with ExitStack() as stack:
        callers = stack.enter_context(callers_process(setting))
        server = stack.enter_context(dejavu(setting))
        plain = stack.enter_context(echo_of_many(setting, Answers(what_if_response(server).hex())))
        peer = stack.enter_context(mlserver_beside(setting, server))
        contests = []
        for size in setting.sizes(SIZES, (1, 50, 1000)):
            case, calls = case_of(size), calls_of(setting, size)
            for contender, each in ((ECHO, plain), (DEJAVU, server)):
                order = new_order(each, 1, calls, protocol=BATCH, batch=size)
                contests.append(Contest(case, contender, timed_calls(callers, each, order)))
            order = new_order(server, 1, calls, protocol=COLUMNS, batch=size)
            contests.append(Contest(case, AS_COLUMNS, timed_calls(callers, server, order)))
            if peer:
                order = new_order(peer, 1, calls, protocol=INFER, batch=size)
                contests.append(Contest(case, MLSERVER, timed_calls(callers, peer, order)))
        alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="Batches",
    text=(
        "One caller, one worker, what-ifs at minute 18. The echo parses the same requests and returns as many stored"
        " results. Columns are PredictColumns. MLServer gets a batch as one tensor and makes its forecasts in one pass,"
        " with the same compiled models. A second of a core is a second of the server's CPU time."
    ),
    columns={
        "p50_ms": "p50, ms",
        "cpu_us": "server CPU, µs a call",
        "forecasts_a_core_second": "forecasts a second of a core",
    },
    measure=measure,
    base=ECHO,
    plot="batches",
)
