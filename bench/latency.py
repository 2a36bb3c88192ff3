"""Compares Predict with a bare grpc.aio echo of the same messages: latency, calls per second, CPU, memory.

Also compares a Predict at a moment, and one that requests every extra (explanation, team strength, nine quantiles), to
a plain one; given `--before`, also what-ifs and named calls to those of another installation.

Run with `python -m bench.latency` from the project's folder. A `dejavu-server --workers 1` and the echo server run as
separate processes pinned to one CPU; the callers are a third process pinned to another. The cases alternate within
every round, so a busy machine slows all of them equally: compare runs by their ratios, not by milliseconds. Exits with
1 if any call fails. With `--most-cpu 2` it also exits with 1 if a what-if takes more than twice the echo's CPU at the
highest number of callers; with `--most-extra 3`, if a what-if with every extra takes more than three times the echo's.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import grpc
import psutil
from bench.load import METHOD, Order, Timings, request
from tests.support.processes.servers import spawned_server

from dejavu_models.registry.registry import default_bundle
from dejavu_models.types import MAX_SLOTS
from dejavu_server.ledger import Ledger

ECHO, WHAT_IF, EXTRAS, NAMED, RETRY = "echo", "what-if", "every extra", "named", "named, a retry"
MOMENT = "at a moment"
WHAT_IF_BEFORE, NAMED_BEFORE, RETRY_BEFORE = "what-if, before", "named, before", "a retry, before"
KINDS = (ECHO, WHAT_IF, MOMENT, EXTRAS, NAMED, RETRY)
KINDS_BEFORE = (WHAT_IF_BEFORE, NAMED_BEFORE, RETRY_BEFORE)

START_SECONDS = 180.0
"""How long all workers of a server may take to start, on one CPU that others may use too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Results of one kind of call in one round; per call, except for the rate.

    Attributes:
        callers: number of concurrent callers.
        kind: kind of call, one of KINDS or KINDS_BEFORE.
        p50_ms, p99_ms: latency as the caller sees it.
        calls_a_second: over all callers.
        cpu_us: CPU time of the server's process, user and system, in microseconds.
        failed: number of failed calls.
    """

    callers: int
    kind: str
    p50_ms: float
    p99_ms: float
    calls_a_second: float
    cpu_us: float
    failed: int


COLUMNS = {
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "calls_a_second": "calls a second",
    "cpu_us": "server CPU, µs a call",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test.

    Attributes:
        address: HOST:PORT it serves on.
        process: the process that serves, or the first of them.
        others: its other processes; for a `dejavu-server` the supervisor and the fork server.
        more_workers: further processes that serve.
    """

    address: str
    process: psutil.Process
    others: tuple[psutil.Process, ...] = ()
    more_workers: tuple[psutil.Process, ...] = ()

    def cpu_seconds(self) -> float:
        """Return the CPU time that the serving processes have used so far, in seconds."""
        return sum(cpu_seconds(each.pid) for each in (self.process, *self.more_workers))

    def pss_mib(self) -> float:
        """Return the memory of the serving processes in MiB, with their share of shared pages."""
        return sum(float(each.memory_full_info().pss) for each in (self.process, *self.more_workers)) / 2**20

    def all_pss_mib(self) -> float:
        """Return the memory of all its processes, in MiB."""
        return self.pss_mib() + sum(float(other.memory_full_info().pss) for other in self.others) / 2**20


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


class Callers:
    """The process that makes the calls (see `bench.load`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, order: Order) -> Timings:
        """Run an order; return its timings."""
        return Timings(**json.loads(tell(self._process, json.dumps(asdict(order)))))


def tell(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to a helper; return the line that it writes then.

    Raises:
        RuntimeError: if it has exited.
    """
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("a helper was started without pipes")
    print(line, file=process.stdin, flush=True)
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError("a helper exited; see its error above")
    return answer


@contextmanager
def helper(module: str, cpus: set[int], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module of this folder as a process until its standard input is closed."""
    command = [sys.executable, "-m", module, *arguments]
    with pinned_to(cpus):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:  # on exit, closes the pipes and waits for the process
        yield process


@contextmanager
def pinned_to(cpus: set[int]) -> Iterator[None]:
    """Pin processes started inside the block to these CPUs."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def create_ledger(ledger: str) -> None:
    """Create an empty ledger."""
    await (await Ledger.open(ledger)).close()


@contextmanager
def dejavu_server(
    cpus: set[int], bundle: Path, *more: str, python: Path | None = None, workers: int = 1, ledger: str = ""
) -> Iterator[Server]:
    """Run a server.

    Args:
        cpus: the CPUs that it may use.
        bundle: folder of its model.
        more: further options.
        python: interpreter of another installation.
        workers: number of workers.
        ledger: URL of its ledger; empty for a temporary one.
    """
    # The command begins with the interpreter of this installation; the shell drops it and runs `python` instead.
    within = () if python is None else ("sh", "-c", 'shift; exec "$0" "$@"', str(python))
    with ExitStack() as stack:
        ledger = ledger or f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/ledger.sqlite3"
        asyncio.run(create_ledger(ledger))  # so that the worker does not load the code that creates one
        with pinned_to(cpus):
            arguments = ("--workers", str(workers), "--ledger", ledger, "--bundle", str(bundle), "--allow-unfit", *more)
            server = stack.enter_context(spawned_server(*arguments, standby=True, within=within))
        address = str(server.wait_for("listening", seconds=START_SECONDS)["address"])
        [worker, *more_workers] = serving = server.workers
        supervisor = psutil.Process(server.process.pid)
        others = (supervisor, *(each for each in supervisor.children() if each not in serving))
        yield Server(address, worker, others, tuple(more_workers))


@contextmanager
def echo_server(cpus: set[int], answer: bytes, *address: str) -> Iterator[Server]:
    """Run an echo server that returns these bytes; given the address of another one, it shares its port."""
    with helper_server("bench.echo", cpus, answer.hex(), *address) as server:
        yield server


@contextmanager
def helper_server(module: str, cpus: set[int], line: str, *arguments: str) -> Iterator[Server]:
    """Run a helper that reads a line, then serves on the address that it writes."""
    with helper(module, cpus, *arguments) as process:
        yield Server(tell(process, line).strip(), psutil.Process(process.pid))


def order_of(kind: str, address: str, callers: int, first: int, options: argparse.Namespace) -> Order:
    """Return the order for one kind of call."""
    return Order(
        address=address,
        callers=callers,
        calls=options.calls,
        first=first,
        named=kind in (NAMED, RETRY, NAMED_BEFORE, RETRY_BEFORE),
        extras=kind == EXTRAS,
        moments=kind == MOMENT,
        minutes=options.minutes,
        seed=options.seed,
    )


def one_answer(address: str, options: argparse.Namespace) -> bytes:
    """Return a server's serialized response to a what-if."""
    return response_to(address, METHOD, request(0, order_of(WHAT_IF, address, 1, 0, options)).SerializeToString())


def response_to(address: str, method: str, body: bytes) -> bytes:
    """Return a server's serialized response to one call."""
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        return call(body, timeout=30.0, wait_for_ready=True)


def sample(callers: Callers, server: Server, kind: str, order: Order) -> Sample:
    """Measure one kind of call once."""
    before = server.cpu_seconds()
    taken = callers.ask(order)
    used = server.cpu_seconds() - before
    percentiles = statistics.quantiles(taken.each, n=100, method="inclusive") if len(taken.each) > 1 else [0.0] * 99
    return Sample(
        callers=order.callers,
        kind=kind,
        p50_ms=1e3 * percentiles[49],
        p99_ms=1e3 * percentiles[98],
        calls_a_second=len(taken.each) / taken.seconds,
        cpu_us=1e6 * used / order.calls,
        failed=taken.failed,
    )


def measure(callers: Callers, servers: dict[str, Server], options: argparse.Namespace) -> list[list[Sample]]:
    """Measure all rounds; the first one warms up, and records the forecasts that the others retry."""
    rounds = []
    first = dict.fromkeys(servers, 0)
    for number in range(options.rounds + 1):
        samples = []
        # Alternate the direction, so that drift within a round affects all kinds equally.
        for kind in servers if number % 2 == 0 else reversed(servers):
            for count in options.callers:
                # Every round names new games, except for retries, which repeat the games of the first round.
                order = order_of(kind, servers[kind].address, count, first[kind], options)
                samples.append(sample(callers, servers[kind], kind, order))
                if kind not in (RETRY, RETRY_BEFORE):
                    first[kind] += options.calls
        rounds.append(samples)
    return rounds


def ratios(rounds: list[list[Sample]], count: int, kind: str, figure: str, base: str = ECHO) -> list[float]:
    """Return the ratio of two kinds' figures for each round in which the base's is not 0."""
    values = []
    for samples in rounds:
        by_kind = {each.kind: float(getattr(each, figure)) for each in samples if each.callers == count}
        if by_kind[base]:
            values.append(by_kind[kind] / by_kind[base])
    return values


def cell(rounds: list[list[Sample]], count: int, kind: str, figure: str) -> str:
    """Format a figure's median over the rounds, and its ratio to the echo's with minimum and maximum."""
    value = statistics.median(
        getattr(each, figure) for samples in rounds for each in samples if (each.callers, each.kind) == (count, kind)
    )
    text = f"{value:.2f}" if value < 100 else f"{value:.0f}"
    over = ratios(rounds, count, kind, figure)
    return text if kind == ECHO or not over else f"{text} {spread(over)}"


def spread(values: list[float]) -> str:
    """Format ratios: median, minimum and maximum."""
    return f"× {statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]" if values else "not measured"


def too_much(rounds: list[list[Sample]], count: int, kind: str, most: float | None) -> bool:
    """Return whether a kind's CPU exceeds `most` times the echo's, or was not measured."""
    values = ratios(rounds, count, kind, "cpu_us")
    return most is not None and (not values or statistics.median(values) > most)


def extra_cpu(rounds: list[list[Sample]], count: int) -> list[float]:
    """Return the CPU ratios of a what-if with every extra to a plain one."""
    return ratios(rounds, count, EXTRAS, "cpu_us", WHAT_IF)


def show(rounds: list[list[Sample]], memory: dict[str, float], counts: list[int]) -> None:
    """Print the tables."""
    print("medians of rounds; × the echo's of the same round: median [least, most]")
    for count in counts:
        print(f"\n{f'{count} callers' if count > 1 else '1 caller':16}", *(f"{each:>30}" for each in COLUMNS.values()))
        for kind in dict.fromkeys(each.kind for each in rounds[0]):
            print(f"{kind:16}", *(f"{cell(rounds, count, kind, figure):>30}" for figure in COLUMNS))
        print(
            "named, relative to what-ifs:"
            f" p50 {spread(ratios(rounds, count, NAMED, 'p50_ms', WHAT_IF))},"
            f" rate {spread(ratios(rounds, count, NAMED, 'calls_a_second', WHAT_IF))}"
        )
        print(f"server CPU with every extra, relative to a plain what-if: {spread(extra_cpu(rounds, count))}")
        at_moment = spread(ratios(rounds, count, MOMENT, "cpu_us", WHAT_IF))
        print(f"server CPU at a moment, relative to a plain what-if: {at_moment}")
    print(
        f"\nmemory (PSS): worker {memory['worker']:.0f} MiB (with all processes {memory['server']:.0f} MiB), "
        f"echo {memory['echo']:.0f} MiB"
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, nargs="+", default=[1, 16], help="numbers of concurrent callers")
    parser.add_argument("--calls", type=int, default=2000, help="calls of each kind per round")
    parser.add_argument("--rounds", type=int, default=10, help="measured rounds, after one warm-up round")
    parser.add_argument("--seed", type=int, default=0, help="seed of the patterns")
    parser.add_argument(
        "--bundle",
        type=Path,
        default=default_bundle(),
        metavar="DIR",
        help="model bundle (default: the one that ships)",
    )
    parser.add_argument(
        "--before",
        type=Path,
        metavar="PYTHON",
        help="interpreter of another installation, for example of an earlier commit; its calls are measured too",
    )
    parser.add_argument(
        "--most-cpu", type=float, metavar="RATIO", help="fail if a what-if takes more CPU than RATIO × the echo's"
    )
    parser.add_argument(
        "--most-extra",
        type=float,
        metavar="RATIO",
        help="fail if a what-if with every extra takes more CPU than RATIO × the echo's",
    )
    parser.add_argument(
        "--minutes", type=int, nargs="+", default=[18], metavar="M", help="minutes of the game, 1 to 47, used in turn"
    )
    parser.add_argument("--json", action="store_true", help="print every sample as JSON")
    options = parser.parse_args(arguments)
    if not all(1 <= minute <= MAX_SLOTS for minute in options.minutes):
        parser.error(f"argument --minutes: {options.minutes} are not all in 1 to {MAX_SLOTS}")

    available = sorted(os.sched_getaffinity(0))
    server_cpus, caller_cpus = {available[0]}, {available[-1]}
    with ExitStack() as stack:
        callers = Callers(stack.enter_context(helper("bench.load", caller_cpus)))
        server = stack.enter_context(dejavu_server(server_cpus, options.bundle, "--cache", "off"))
        echo = stack.enter_context(echo_server(server_cpus, one_answer(server.address, options)))
        servers = {**dict.fromkeys(KINDS, server), ECHO: echo}
        if options.before is not None:
            before = stack.enter_context(
                dejavu_server(server_cpus, options.bundle, "--cache", "off", python=options.before)
            )
            servers |= dict.fromkeys(KINDS_BEFORE, before)
        warm_up, *rounds = measure(callers, servers, options)
        memory = {"worker": server.pss_mib(), "server": server.all_pss_mib(), "echo": echo.pss_mib()}

    failed = sum(each.failed for samples in (warm_up, *rounds) for each in samples)
    most_callers = max(options.callers)
    broken = too_much(rounds, most_callers, WHAT_IF, options.most_cpu)
    broken |= too_much(rounds, most_callers, EXTRAS, options.most_extra)
    if options.json:
        report: dict[str, Any] = {"rounds": [[asdict(each) for each in samples] for samples in rounds]}
        print(json.dumps({**report, "pss_mib": memory, "failed": failed}))
    else:
        show(rounds, memory, options.callers)
        print(f"calls that failed: {failed}")
    return int(failed > 0 or broken)


if __name__ == "__main__":
    sys.exit(main())
