"""Waiting times of a caller of what-ifs while another caller sends batches of 1,000."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from bench.latency import Callers, Server
from bench.load import Timings
from bench.overload.load import percentile
from bench.performance.measuring import (
    DEJAVU,
    ECHO,
    MLSERVER,
    CallsFailed,
    Contest,
    alternate,
    callers_process,
    new_order,
)
from bench.performance.processes.callers import BATCH, INFER, CallOrder
from bench.performance.processes.echo import Answers
from bench.performance.samples import Run
from bench.performance.sections.section import Section
from bench.performance.servers import dejavu, echo_of_many, mlserver, what_if_response
from bench.performance.setting import Setting

NAME = "beside"
CASE = "batches of 1,000"
BATCHES = 3
"""Number of batches that are sent one after the other, while the other caller continues."""


def during(calls: Timings, others: Timings) -> list[float]:
    """Return the durations of the calls that overlap one of the others, in seconds."""
    spans = [(begun, begun + taken) for begun, taken in zip(others.begun, others.each, strict=True)]
    return [
        taken
        for begun, taken in zip(calls.begun, calls.each, strict=True)
        if any(begun < end and begun + taken > begin for begin, end in spans)
    ]


def waits(one: Callers, other: Callers, single: CallOrder, batch: CallOrder) -> Callable[[], dict[str, float]]:
    """Return a function that measures a caller alone, then together with batches.

    The requests are the same in all rounds: building new ones would delay the caller, which is on the same CPU.
    """

    def take() -> dict[str, float]:
        alone = one.ask(single)
        with ThreadPoolExecutor(1) as pool:
            batches = pool.submit(other.ask, batch)
            beside = one.ask(single)
            batched = batches.result()
        if failed := alone.failed + beside.failed + batched.failed:
            raise CallsFailed(f"{failed} calls to {single.address} failed beside batches")
        p99, longest = percentile(sorted(alone.each), 99), max(during(beside, batched))
        return {
            "alone_p99_ms": 1e3 * p99,
            "alone_longest_ms": 1e3 * max(alone.each),
            "longest_ms": 1e3 * longest,
            "batch_ms": 1e3 * max(batched.each),
            "longest_over_p99": longest / p99,
        }

    return take


def measure(setting: Setting, run: Run) -> None:
    """Measure the waits during batches."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(callers_process(setting)) for _ in range(2))
        server = stack.enter_context(dejavu(setting))
        plain = stack.enter_context(echo_of_many(setting, Answers(what_if_response(server).hex())))
        targets: list[tuple[str, Server, dict[str, str], str]] = [
            (ECHO, plain, {}, BATCH),
            (DEJAVU, server, {}, BATCH),
        ]
        if setting.mlserver:
            targets.append((MLSERVER, stack.enter_context(mlserver(setting)), {"protocol": INFER}, INFER))
        contests = []
        for contender, target, changes, protocol in targets:
            single = new_order(target, 1, setting.size(600, 200), **changes)
            batch = new_order(target, 1, setting.size(BATCHES, 1), protocol=protocol, batch=setting.size(1000, 100))
            contests.append(Contest(CASE, contender, waits(one, other, single, batch)))
        alternate(setting, run, NAME, contests)


SECTION = Section(
    name=NAME,
    title="Callers beside batches",
    text=(
        "One caller of what-ifs, first alone, then while another process sends batches of 1,000, one after the other."
        " The longest wait is the duration of the slowest call that overlaps a batch; some hundred calls a round do."
        " The longest of its 600 calls alone shows pauses of the machine itself."
    ),
    columns={
        "alone_p99_ms": "p99 alone, ms",
        "alone_longest_ms": "longest alone, ms",
        "batch_ms": "longest batch, ms",
        "longest_ms": "longest wait beside, ms",
        "longest_over_p99": "longest wait over p99 alone",
    },
    measure=measure,
)
